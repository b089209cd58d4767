/**
 * Machines that are busy, whose clocks jump or are wrong, that sleep: rows E5, F1, F2 and F3 of `docs/reliability.md`,
 * for some seconds each.
 */
import { describe, expect, it } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as clocks from "../../support/chaos/clocks.ts"

const chaos = Chaos.forTests()

describe("time", () => {
  it("is kept by pulses when every core is busy: no node is taken for dead (E5)", async () => {
    await clocks.busyCores(chaos, { jobs: 60, millis: 100, pulseMillis: 1000 })
  })

  it("goes on for nodes and clients that slept; what a node says of jobs that were taken from it is not heard (F3)", async () => {
    await clocks.sleepers(chaos, { jobs: 240, millis: 20, cycles: 1, pulseMillis: 400, sleepMillis: 3000 })
  })
})

const missing = clocks.missing()

describe.skipIf(missing !== undefined)(`wall clocks${missing === undefined ? "" : ` (left out: ${missing})`}`, () => {
  it("are other ones where a test says so", () => {
    expect(clocks.hasOtherClock()).toBe(true)
  })

  it("that jump by up to ten years make nothing overdue, and nothing hangs (F1)", async () => {
    await clocks.jumpingClocks(chaos, { jobs: 270, millis: 10, count: 9, pulseMillis: 1000 })
  })

  it("that are four hours apart keep nobody out (F2)", async () => {
    await clocks.wrongClocks(chaos, { jobs: 40 })
  })
})
