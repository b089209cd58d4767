/** What CPU profiles say, as text: the functions with the most time of their own, per step, in client and daemon. */
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"

/** The parts of a `.cpuprofile` that are needed. */
interface CpuProfile {
  readonly nodes: ReadonlyArray<{
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }>
  readonly samples: ReadonlyArray<number>
  readonly timeDeltas: ReadonlyArray<number>
}

const shown = 25

const nameOf = ({ functionName, lineNumber, url }: CpuProfile["nodes"][number]["callFrame"]): string => {
  const place = url.replace(/^file:\/\//, "").replace(/^.*\/(node_modules|dist|src|bench)\//, "$1/")
  const name = functionName === "" ? "(anonymous)" : functionName
  return place === "" ? name : `${name} ${place}:${lineNumber + 1}`
}

/** Adds the self times of one profile, in microseconds by function. */
const addTimes = (profile: CpuProfile, times: Map<string, number>): void => {
  const names = new Map(profile.nodes.map((node) => [node.id, nameOf(node.callFrame)]))
  profile.samples.forEach((id, i) => {
    const name = names.get(id)!
    times.set(name, (times.get(name) ?? 0) + (profile.timeDeltas[i + 1] ?? 0))
  })
}

const summarizeTimes = (title: string, times: Map<string, number>): string => {
  const idle = times.get("(idle)") ?? 0
  const all = [...times.values()].reduce((sum, time) => sum + time, 0)
  times.delete("(idle)")
  const busy = all - idle
  const lines = [...times].sort((a, b) => b[1] - a[1]).slice(0, shown).map(([name, time]) =>
    `${(100 * time / busy).toFixed(1).padStart(6)} %  ${name}`
  )
  return [`${title}: busy ${(busy / 1e6).toFixed(2)} s of ${(all / 1e6).toFixed(2)} s`, ...lines].join("\n")
}

/** Summaries of all profiles below a directory, one per directory that has some. */
export const summarize = async (directory: string): Promise<string> => {
  const parts: Array<string> = []
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const profiles = entries.filter((entry) => entry.name.endsWith(".cpuprofile"))
  for (const [parent, files] of Map.groupBy(profiles, (entry) => entry.parentPath)) {
    const times = new Map<string, number>()
    for (const file of files) addTimes(JSON.parse(await readFile(join(parent, file.name), "utf8")) as CpuProfile, times)
    parts.push(summarizeTimes(parent, times))
  }
  return parts.join("\n\n")
}
