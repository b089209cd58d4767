/** Many machines on one network, each with a `dispynode` of two slots, and one client that uses them all. */
import * as fs from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect } from "vitest"
import type { Outcome, Request } from "../fixtures/networks/many.ts"
import * as Leftovers from "./Leftovers.ts"
import type { Node } from "./networks/Host.ts"
import type { Networks } from "./networks/Topology.ts"

const client = fileURLToPath(new URL("../fixtures/networks/many.ts", import.meta.url))

/** What is to be done. */
interface ManyNodes {
  readonly nodes: number
  readonly jobs: number
  /** Text of the secret that client and nodes have; none without. */
  readonly secret?: string
}

/** What became of it. */
export interface Many extends Outcome {
  /** What the client wrote to stderr. */
  readonly log: string
  /** How often each job was run, by its number. */
  readonly runs: ReadonlyArray<number>
  /** Names of the machines that ran jobs. */
  readonly machines: ReadonlySet<string>
  /** Memory of each daemon after the jobs, in MiB; of shared pages its part. */
  readonly daemonMiB: ReadonlyArray<number>
  /** What daemons logged. */
  readonly logs: ReadonlyArray<string>
  /** Exit status of the daemons. */
  readonly statuses: ReadonlyArray<number | null>
  /** Files that the daemons left. */
  readonly left: ReadonlyArray<string>
}

const filesIn = (directory: string): ReadonlyArray<string> =>
  fs.readdirSync(directory, { recursive: true, withFileTypes: true }).flatMap((one) =>
    one.isDirectory() ? [] : [join(one.parentPath, one.name)]
  )

const numbersIn = (file: string): ReadonlyArray<number> => fs.readFileSync(file, "utf8").trim().split("\n").map(Number)

/** What the slots of the client program left: how often each job was run, and on which machines. */
export const tracesIn = (directory: string, jobs: number): Pick<Many, "runs" | "machines"> => {
  const runs = Array.from({ length: jobs }, () => 0)
  const machines = new Set<string>()
  for (const name of fs.readdirSync(directory)) {
    machines.add(name.split("-")[0]!)
    for (const id of numbersIn(join(directory, name))) runs[id]!++
  }
  return { runs, machines }
}

/** Memory of a process, of shared pages its part. */
const pssMiB = (pid: number): number =>
  Number(/^Pss:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]) / 1024

/** Starts the nodes, then the client, then ends all. */
export const run = async (networks: Networks, { jobs, nodes: count, secret }: ManyNodes): Promise<Many> => {
  const lan = await networks.network("lan")
  const host = await networks.host("client", lan)
  const directory = join(host.directory, "jobs")
  fs.mkdirSync(directory)
  const secretFile = join(host.directory, "secret")
  if (secret !== undefined) fs.writeFileSync(secretFile, secret, { mode: 0o600 })
  const security = secret === undefined ? ["--insecure"] : ["--secret-file", secretFile]
  const nodes: Array<Node> = []
  // Two at a time: that many machines share the cores here.
  const start = async (number: number): Promise<void> => {
    if (number >= count) return
    const one = await networks.host(`node${number}`, lan)
    nodes.push(await one.node([...one.addressArgs, "--cpus", "2", ...security]))
    await start(number + 2)
  }
  await Promise.all([start(0), start(1)])
  const options = { nodes: "*", ...(secret === undefined ? {} : { secretFile }) }
  const request: Request = { options, nodeCount: count, jobs, directory }
  const ended = await host.run(process.execPath, [client, JSON.stringify(request)])
  if (ended.status !== 0) throw new Error(`the client ended with ${ended.status}: ${ended.stderr}${ended.stdout}`)
  const daemonMiB = Leftovers.running().flatMap(({ command, pid }) =>
    command.startsWith(process.execPath) && command.includes("programs/dispynode") ? [pssMiB(pid)] : []
  )
  const machinesOf = fs.readdirSync(dirname(host.directory)).filter((name) => name.startsWith("node"))
  const statuses = await Promise.all(nodes.map((node) => node.stop()))
  return {
    ...JSON.parse(ended.stdout) as Outcome,
    log: ended.stderr,
    ...tracesIn(directory, jobs),
    daemonMiB,
    logs: nodes.map((node) => node.log()),
    statuses,
    left: machinesOf.flatMap((name) => filesIn(join(dirname(host.directory), name)))
  }
}

/** Asserts that every node had a part, that each job was run once and gave its result, and that nothing is left. */
export const expectComplete = (many: Many): void => {
  const { left, log, logs, machines, nodes, runs, statuses, wrong } = many
  expect(nodes).toHaveLength(statuses.length)
  expect(machines.size).toBe(statuses.length)
  expect(runs.flatMap((times, id) => times === 1 ? [] : [`job ${id} ran ${times} times`])).toEqual([])
  expect(wrong).toBe(0)
  expect(log).toBe("")
  // Its security, the computation, its end.
  for (const one of logs) expect(one.trim().split("\n").length).toBeLessThanOrEqual(3)
  expect(statuses.filter((status) => status !== 0)).toEqual([])
  expect(left).toEqual([])
}

/** The figures, in a line. */
export const describe = ({ daemonMiB, foundMillis, jobsMillis, readyMillis, rssMiB, runs }: Many): string =>
  [
    `found after ${Math.round(foundMillis)} ms, ready after ${Math.round(readyMillis)} ms`,
    `${Math.round(runs.length / jobsMillis * 1000)} jobs/s`,
    `client ${Math.round(rssMiB)} MiB, daemons ${Math.round(Math.max(...daemonMiB))} MiB at most`
  ].join("; ")
