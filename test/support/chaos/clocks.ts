/**
 * Rows E5, F1, F2 and F3: machines that are busy, whose clocks jump or are wrong, that sleep. What client and nodes wait
 * for is measured by the monotonic clock, and in pulses.
 */
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { expect } from "vitest"
import { descendants } from "../DaemonProcess.ts"
import * as Chance from "./Chance.ts"
import type { Chaos } from "./Chaos.ts"
import { pause } from "./ChaosNode.ts"
import * as Faults from "./Faults.ts"
import * as Invariants from "./Invariants.ts"

/** E5: all cores are busy, with jobs and with others' programs, and more than once over. No node is taken for dead. */
export const busyCores = async (
  chaos: Chaos,
  { jobs, millis, pulseMillis }: { readonly jobs: number; readonly millis: number; readonly pulseMillis: number }
): Promise<string> => {
  const nodes = await chaos.nodes(2, "--cpus", "2")
  // Of others' programs some are as important as the nodes, and some less.
  const busy = Array.from(
    { length: 2 * availableParallelism() },
    (_, n) => spawn("nice", ["-n", String(n % 2 * 10), "sh", "-c", "while :; do :; done"], { stdio: "ignore" })
  )
  try {
    const client = await chaos.client(nodes.map(({ address }) => address), {
      jobs,
      millis,
      isBusy: true,
      window: 16,
      options: { pulseInterval: pulseMillis }
    })
    const from = Faults.now()
    await client.allDone
    const seconds = (Faults.now() - from) / 1000
    const report = await client.close()
    const figures = Invariants.check({ report, client, faults: [], mayRunAgain: false })
    expect([figures.finished, figures.executions]).toEqual([jobs, jobs])
    expect(client.nodes.filter(({ status }) => status === "Closed")).toHaveLength(nodes.length)
    const gaps = nodes.map(({ address }) => {
      const times = report.pulses.filter((pulse) => pulse.address === address).map(({ at }) => at)
      return Math.max(...times.slice(1).map((at, n) => (at - times[n]!) / pulseMillis))
    })
    expect(report.pulses.length).toBeGreaterThan(0)
    const [longest, pulses] = [Math.max(...gaps), report.pulses.length]
    return Invariants.describe(
      "E5",
      figures,
      `${seconds.toFixed(0)} s, ${pulses} pulses of ${(2 * seconds * 1000 / pulseMillis).toFixed(0)}, longest time` +
        ` between two ${longest.toFixed(2)} pulses`
    )
  } finally {
    for (const one of busy) one.kill("SIGKILL")
  }
}

/** Where the library is that changes the clock for programs that load it; undefined where it is not installed. */
const library = (): string | undefined =>
  fs.globSync("/usr/lib/*/faketime/libfaketime.so.1")[0] ?? fs.globSync("/usr/lib/faketime/libfaketime.so.1")[0]

/** Why clocks cannot be changed here; undefined when they can. */
export const missing = (): string | undefined =>
  library() === undefined ? "there is no faketime (apt-get install faketime)" : undefined

/** What makes a program's wall clock that of a file; its monotonic clock stays as it is. */
const clockOf = (file: string): Record<string, string> => ({
  LD_PRELOAD: library()!,
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_NO_CACHE: "1",
  FAKETIME_DONT_FAKE_MONOTONIC: "1",
  DONT_FAKE_MONOTONIC: "1"
})

const set = (file: string, offset: string): void => {
  // In one piece: the clock is read all the time.
  fs.writeFileSync(`${file}.new`, `${offset}\n`)
  fs.renameSync(`${file}.new`, file)
}

/** Sets of clocks. */
const jumps = ["+1s", "-1s", "+1h", "-1h", "+1d", "-1d", "+10y", "-10y", "+0"] as const

/** F1: the wall clocks of the client and of a node jump, by a second to ten years. Nothing is overdue, nothing hangs. */
export const jumpingClocks = async (
  chaos: Chaos,
  { count, jobs, millis, pulseMillis }: {
    readonly jobs: number
    readonly millis: number
    readonly count: number
    readonly pulseMillis: number
  }
): Promise<string> => {
  const chance = Chance.make()
  const clocks = ["client", "n0"].map((name) => join(chaos.directory(), `${name}.clock`))
  for (const clock of clocks) set(clock, "+0")
  const node = await chaos.node("n0", { env: clockOf(clocks[1]!) })
  const other = await chaos.node("n1")
  const client = await chaos.client([node.address, other.address], {
    jobs,
    millis,
    window: 20,
    options: { pulseInterval: pulseMillis, timeout: "2 minutes" }
  }, clockOf(clocks[0]!))
  const seen = (): string => node.log()
  for (let jump = 0; jump < count; jump++) {
    await client.until(client.done() + jobs / (count + 1))
    set(chance.pick(clocks), jumps[jump % jumps.length]!)
  }
  await client.allDone
  const report = await client.close()
  const figures = Invariants.check({ report, client, faults: [], mayRunAgain: false, seed: chance.seed })
  expect([figures.finished, figures.executions]).toEqual([jobs, jobs])
  expect(client.nodes.filter(({ status }) => status === "Closed")).toHaveLength(2)
  expect(seen()).not.toContain("broke")
  return Invariants.describe("F1", figures, `${count} jumps of ${jumps.join(", ")}`)
}

/** F2: the clocks of client and node are four hours apart. Who knows the secret is let in, and jobs have a duration. */
export const wrongClocks = async (chaos: Chaos, { jobs }: { readonly jobs: number }): Promise<string> => {
  const [fast, slow, secret] = ["fast", "slow", "secret"].map((name) => join(chaos.directory(), name))
  set(fast!, "+2h")
  set(slow!, "-2h")
  fs.writeFileSync(secret!, "correct horse battery staple", { mode: 0o600 })
  const node = await chaos.node("n0", { env: clockOf(fast!), args: ["--secret-file", secret!] })
  const options = { secretFile: secret! }
  const client = await chaos.client([node.address], { jobs, millis: 5, window: 10, options }, clockOf(slow!))
  await client.allDone
  const report = await client.close()
  const figures = Invariants.check({ report, client, faults: [], mayRunAgain: false })
  expect([figures.finished, figures.executions]).toEqual([jobs, jobs])
  // By the clocks of the client and of the node: they are as far apart as they were set.
  const hours = report.clocks.map(({ started, submitted }) => (started - submitted) / 3_600_000)
  expect(hours.length).toBeGreaterThan(0)
  for (const apart of hours) expect(Math.abs(apart)).toBeLessThan(4.1)
  return Invariants.describe("F2", figures)
}

/** Stops or continues a daemon with all that it started, as a machine that goes to sleep. */
const signalTree = (pid: number, signal: "SIGSTOP" | "SIGCONT"): void => {
  for (const one of [pid, ...descendants(pid)]) {
    try {
      process.kill(one, signal)
    } catch {
      // It ended meanwhile.
    }
  }
}

/**
 * F3: a node's machine sleeps and wakes up, then the client's. The node was given up meanwhile, and what it says of its
 * jobs is not heard; a client that slept has missed one tick, and goes on with the lease it had.
 */
export const sleepers = async (
  chaos: Chaos,
  { cycles, jobs, millis, pulseMillis, sleepMillis }: {
    readonly jobs: number
    readonly millis: number
    readonly cycles: number
    readonly pulseMillis: number
    readonly sleepMillis: number
  }
): Promise<string> => {
  const nodes = await chaos.nodes(2, "--cpus", "2", "--msg-timeout", "1")
  const client = await chaos.client(nodes.map(({ address }) => address), {
    jobs,
    millis,
    window: 20,
    options: { reentrant: true, pulseInterval: pulseMillis }
  })
  const faults: Faults.Faults = []
  const [first] = nodes
  for (let cycle = 0; cycle < cycles; cycle++) {
    await client.until(client.done() + jobs / cycles / 3)
    const fault = Faults.begin(faults, first!.name)
    signalTree(first!.pid(), "SIGSTOP")
    const lostAt = await client.nodeIs(first!.address, "Closed", fault.from)
    await pause(Math.max(0, sleepMillis - (Faults.now() - fault.from)))
    signalTree(first!.pid(), "SIGCONT")
    await client.nodeIs(first!.address, "Initialized", lostAt)
    Faults.end(fault)
    await client.until(client.done() + jobs / cycles / 3)
    const lost = client.nodes.filter(({ status }) => status === "Closed").length
    client.signal("SIGSTOP")
    await pause(sleepMillis)
    client.signal("SIGCONT")
    await client.until(client.done() + jobs / cycles / 6)
    expect(client.nodes.filter(({ status }) => status === "Closed")).toHaveLength(lost)
  }
  await client.allDone
  const report = await client.close()
  const figures = Invariants.check({ report, client, faults, mayRunAgain: true })
  expect(figures.finished).toBe(jobs)
  return Invariants.describe("F3", figures, `${cycles} times each, for ${sleepMillis / 1000} s`)
}

/** Whether programs can have another clock here: the library is there and this Node heeds it. */
export const hasOtherClock = (): boolean => {
  if (missing() !== undefined) return false
  const env = { ...process.env, LD_PRELOAD: library()!, FAKETIME: "+10y", DONT_FAKE_MONOTONIC: "1" }
  const year = execFileSync(process.execPath, ["-p", "new Date().getFullYear()"], { env, encoding: "utf8" })
  return Number(year) > new Date().getFullYear() + 8
}
