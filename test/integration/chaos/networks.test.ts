/**
 * What networks do between a client and a node, each on a machine of its own: rows C1, C2, C3, C5 and C9 of
 * `docs/reliability.md`, a few cycles each.
 */
import { afterAll, it } from "vitest"
import * as networks from "../../support/chaos/networks.ts"
import { untilIdle } from "../../support/Leftovers.ts"
import * as Networks from "../../support/Networks.ts"

afterAll(untilIdle)

Networks.suite("every job has one outcome, and none runs twice without need", ["iptables"], (lan) => {
  it("when a node is cut off for a second (C1)", async () => {
    const scale = { jobs: 120, millis: 20, seconds: 1, cycles: 2, pulseMillis: 1000, direction: "both" } as const
    await networks.partitions(lan(), scale)
  })

  it("when a node is cut off for longer than five pulses (C1)", async () => {
    const scale = { jobs: 120, millis: 20, seconds: 4, cycles: 1, pulseMillis: 500, direction: "both" } as const
    await networks.partitions(lan(), scale)
  })

  it.each(["in", "out"] as const)("when packets of a node get lost %s one way only (C2)", async (direction) => {
    const scale = { jobs: 120, millis: 20, seconds: 4, cycles: 1, pulseMillis: 500, direction }
    await networks.partitions(lan(), scale)
  })

  it("when a node is killed and no packet tells it, which is noticed with nothing to send (C3)", async () => {
    await networks.halfOpen(lan(), { cycles: 1, pulseMillis: 500 })
  })

  it("when packets get lost and take their time (C5)", async () => {
    await networks.badLine(lan(), { jobs: 400, lossPercent: 5, delayMillis: 50, jitterMillis: 20, pulseMillis: 2000 })
  })

  it("when the client gets another address (C9)", async () => {
    await networks.movedClient(lan(), { jobs: 160, millis: 10, cycles: 2, pulseMillis: 1000 })
  })
})
