/**
 * Nodes and slots that are killed, crash and freeze under way: rows B1, B2 and B6 of `docs/reliability.md`, for some
 * seconds each instead of minutes.
 */
import { describe, it } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as crashes from "../../support/chaos/crashes.ts"

const chaos = Chaos.forTests()

describe("every job has one outcome, and runs again only where a fault touched it", () => {
  it("while nodes are killed (B1)", async () => {
    await crashes.killedNodes(chaos, { jobs: 400, millis: 100, every: { jobs: 100 } })
  })

  it("while slots are killed: their jobs end as crashed, no other does (B2)", async () => {
    await crashes.killedSlots(chaos, { jobs: 240, millis: 100, every: { jobs: 20 } })
  })

  it("while nodes exit, are killed, crash and freeze: those that froze are heard no more (B6)", async () => {
    await crashes.mortalNodes(chaos, { jobs: 800, millis: 5, every: { jobs: 60 }, pulseMillis: 1000, mostFaults: 4 })
  })
})
