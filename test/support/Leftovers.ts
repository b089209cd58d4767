/** Daemons and slots that a test started, and those that lost their parent. */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { expect } from "vitest"
import { eventually } from "./Eventually.ts"

/** Of processes that lost their parent, those of another clone may be somebody else's. */
const root = fileURLToPath(new URL("../../", import.meta.url))

interface OurProcess {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

const read = (pid: number): OurProcess | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
    return { pid, parent, command: readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim() }
  } catch {
    // It ended while we looked.
    return undefined
  }
}

/** Daemons and slots below this process, and those whose parent has died. */
export const running = (): ReadonlyArray<OurProcess> => {
  const all = readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? read(Number(name)) ?? [] : []))
  const parents = new Map(all.map((one) => [one.pid, one.parent]))
  const isOurs = (one: OurProcess): boolean => {
    let { parent } = one
    while (parent > 1 && parent !== process.pid) parent = parents.get(parent) ?? 0
    return parent === process.pid || (one.parent <= 1 && one.command.includes(root))
  }
  return all.filter((one) => /programs\/dispynode\.[jt]s|slot\/main\.[jt]s/.test(one.command) && isOurs(one))
}

/** Waits until every one of them has ended; fails with what is left. */
export const untilIdle = (): Promise<void> => eventually(() => expect(running()).toEqual([]))
