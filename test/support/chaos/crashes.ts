/** Rows B1, B2 and B6: nodes and slots that are killed, crash, exit and freeze, while jobs run. */
import { expect } from "vitest"
import * as Chance from "./Chance.ts"
import type { Chaos } from "./Chaos.ts"
import type { ChaosNode } from "./ChaosNode.ts"
import * as CountedClient from "./CountedClient.ts"
import * as Faults from "./Faults.ts"
import * as Invariants from "./Invariants.ts"
import * as Ledger from "./Ledger.ts"

/** How long a row goes on, and how hard. */
export interface Scale {
  readonly jobs: number
  /** What a job takes, asleep. */
  readonly millis: number
  /** What is between faults, in the mean where they come at random. */
  readonly every: CountedClient.Pace
}

/** B1: a random one of four nodes is killed again and again, and started again after half of the time between. */
export const killedNodes = async (chaos: Chaos, { every, jobs, millis }: Scale): Promise<string> => {
  const chance = Chance.make()
  const nodes = await chaos.nodes(4, "--cpus", "2")
  const client = await chaos.client(nodes.map(({ address }) => address), {
    jobs,
    millis,
    window: 100,
    options: { reentrant: true }
  })
  const faults: Faults.Faults = []
  await chaos.until(client.allDone, async () => {
    await CountedClient.pace(client, every, 0.5)
    // In half of all cases one that surely has something to do.
    const busy = nodes.find(({ name }) => name === Ledger.latest(client.ledger)?.node)
    const victim = chance.next() < 0.5 || faults.length === 0 ? busy : undefined
    await (victim ?? chance.pick(nodes)).restart(faults, "SIGKILL", () => CountedClient.pace(client, every, 0.5))
  })
  const report = await client.close()
  const figures = Invariants.check({ report, client, faults, mayRunAgain: true, seed: chance.seed })
  expect(figures.finished).toBe(jobs)
  expect(figures.executions).toBeGreaterThan(jobs)
  return Invariants.describe("B1", figures)
}

/** B2: a random slot is killed again and again. Its job ends and says so, or runs again; nobody else's does. */
export const killedSlots = async (chaos: Chaos, { every, jobs, millis }: Scale): Promise<string> => {
  const chance = Chance.make()
  const nodes = await chaos.nodes(2, "--cpus", "2")
  const client = await chaos.client(nodes.map(({ address }) => address), { jobs, millis, window: 50 })
  const faults: Faults.Faults = []
  await chaos.until(client.allDone, async () => {
    await CountedClient.pace(client, every)
    const slots = chance.pick(nodes).slots()
    const busy = Ledger.latest(client.ledger)?.pid
    // In half of all cases one that surely has something to do.
    const victim = chance.next() < 0.5 || slots.length === 0 ? busy : undefined
    const pid = victim ?? chance.pick(slots)
    const fault = Faults.begin(faults, pid)
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // It ended by itself.
    }
    // It begins nothing after this: the process is dead when the signal was sent.
    Faults.end(fault)
  })
  const report = await client.close()
  const figures = Invariants.check({
    report,
    client,
    faults,
    mayRunAgain: false,
    errors: ["JobCrashed"],
    seed: chance.seed
  })
  expect(figures.finished).toBeLessThan(jobs)
  // One job per fault at most, and most slots that are killed are spare or had nothing to do.
  expect(jobs - figures.finished).toBeLessThanOrEqual(faults.length)
  for (const node of nodes) expect(node.log()).not.toContain("bug")
  return Invariants.describe("B2", figures)
}

/** Ways in which a node goes. */
const modes = ["SIGTERM", "SIGKILL", "SIGSEGV", "SIGSTOP"] as const

/** Pulses until a node that is silent is lost, at most. */
const deadPulses = 5.5

/** B6: each node lives for a random time, then exits, is killed, crashes or freezes. One that froze goes on later. */
export const mortalNodes = async (
  chaos: Chaos,
  { every, jobs, millis, mostFaults = Infinity, pulseMillis }: Scale & {
    readonly pulseMillis: number
    /** After so many, no more. Default: as many as there are while jobs run. */
    readonly mostFaults?: number
  }
): Promise<string> => {
  const chance = Chance.make()
  const nodes = await chaos.nodes(modes.length, "--cpus", "2", "--drain-grace", "1")
  const client = await chaos.client(nodes.map(({ address }) => address), {
    jobs,
    millis,
    window: 60,
    options: { reentrant: true, pulseInterval: pulseMillis }
  })
  const faults: Faults.Faults = []
  const pulsesToDeath: Array<number> = []
  const freeze = async (node: ChaosNode): Promise<void> => {
    const fault = Faults.begin(faults, node.name)
    node.signal("SIGSTOP")
    const lostAt = await client.nodeIs(node.address, "Closed", fault.from)
    pulsesToDeath.push((lostAt - fault.from) / pulseMillis)
    node.signal("SIGCONT")
    // It may tell what it had for the client, until that takes it anew and gives the old lease back.
    await client.nodeIs(node.address, "Initialized", lostAt)
    Faults.end(fault)
  }
  let begun = 0
  const live = async (node: ChaosNode, first: typeof modes[number]): Promise<void> => {
    let mode = first
    await chaos.until(client.allDone, async () => {
      await CountedClient.pace(client, every, chance.exponential(1))
      if (begun === mostFaults) return await client.allDone
      begun++
      if (mode === "SIGSTOP") await freeze(node)
      else {
        await node.restart(faults, mode, () => CountedClient.pace(client, every, 0.1))
        await client.nodeIs(node.address, "Initialized", faults.at(-1)!.from)
      }
      mode = chance.pick(modes)
    })
  }
  await Promise.all(nodes.map((node, n) => live(node, modes[n]!)))
  const report = await client.close()
  const figures = Invariants.check({ report, client, faults, mayRunAgain: true, seed: chance.seed })
  expect(figures.finished).toBe(jobs)
  // Not before: a node that is slow is not dead. How long after is the machine's matter; the soak looks at it.
  expect(pulsesToDeath.length).toBeGreaterThan(0)
  expect(Math.min(...pulsesToDeath)).toBeGreaterThan(4)
  const sorted = pulsesToDeath.toSorted((a, b) => a - b)
  const late = sorted.filter((pulses) => pulses > deadPulses).length
  const longest = sorted.at(-1)!.toFixed(2)
  return Invariants.describe(
    "B6",
    figures,
    `${sorted.length} froze, lost after ${longest} pulses at most (${late} late)`
  )
}
