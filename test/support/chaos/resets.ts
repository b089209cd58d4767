/** Row C4: a random connection is reset again and again, control and bulk. Nothing is lost, and nothing runs twice. */
import { expect } from "vitest"
import * as FaultyLink from "../FaultyLink.ts"
import * as Chance from "./Chance.ts"
import type { Chaos } from "./Chaos.ts"
import * as CountedClient from "./CountedClient.ts"
import * as Invariants from "./Invariants.ts"

/** How long, and how hard. */
export interface Storm {
  readonly jobs: number
  readonly millis: number
  /** What is between resets. */
  readonly every: CountedClient.Pace
}

/** Runs it; jobs are not allowed to run twice. */
export const storm = async (chaos: Chaos, { every, jobs, millis }: Storm): Promise<string> => {
  const chance = Chance.make()
  const nodes = await chaos.nodes(2, "--cpus", "2")
  const links = await Promise.all(nodes.map(({ port }) => FaultyLink.start(port)))
  try {
    const client = await chaos.client(links.map(({ address }) => address), { jobs, millis, window: 100 })
    const from = performance.now()
    let resets = 0
    await chaos.until(client.allDone, async () => {
      await CountedClient.pace(client, every)
      if (chance.pick(links).resetOne(chance.next())) resets++
    })
    const seconds = (performance.now() - from) / 1000
    const report = await client.close()
    const figures = Invariants.check({
      report,
      client,
      faults: [],
      mayRunAgain: false,
      seed: chance.seed
    })
    expect([figures.finished, figures.executions]).toEqual([jobs, jobs])
    expect(resets).toBeGreaterThan(0)
    const connections = links.reduce((sum, link) => sum + link.connections(), 0)
    expect(connections).toBeGreaterThan(links.length)
    // A pause each, and no node was given up.
    expect(client.nodes.filter(({ status }) => status === "Closed")).toHaveLength(nodes.length)
    const cpu = report.cpuMicros / 1e4 / seconds
    return Invariants.describe(
      "C4",
      figures,
      `${resets} resets and ${connections} connections in ${seconds.toFixed(0)} s, client ${cpu.toFixed(1)} % of a core`
    )
  } finally {
    for (const link of links) link.close()
  }
}
