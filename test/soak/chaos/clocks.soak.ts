/** Rows E5, F1, F2 and F3 in full: on two cores ten minutes, two minutes, seconds, and an hour and three quarters. */
import { describe, it, vi } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as clocks from "../../support/chaos/clocks.ts"
import * as Scale from "../../support/chaos/Scale.ts"

vi.setConfig({ testTimeout: 3 * 3_600_000 })

const chaos = Chaos.forTests()

describe("time", () => {
  it("E5: every core is busy for ten minutes, more than once over, and no node is taken for dead", async () => {
    console.log(await clocks.busyCores(chaos, { jobs: Scale.of(4000), millis: 100, pulseMillis: 1000 }))
  })

  it("F3: a node's machine and a client's sleep for 60 s, 50 times each", async () => {
    const cycles = Scale.of(50)
    const scale = { jobs: cycles * 300, millis: 20, cycles, pulseMillis: 1000, sleepMillis: 60_000 }
    console.log(await clocks.sleepers(chaos, scale))
  })
})

const missing = clocks.missing()

describe.skipIf(missing !== undefined)(`wall clocks${missing === undefined ? "" : ` (left out: ${missing})`}`, () => {
  it("F1: clocks jump 100 times during 10,000 jobs", async () => {
    console.log(
      await clocks.jumpingClocks(chaos, {
        jobs: Scale.of(10_000),
        millis: 10,
        count: Scale.of(100),
        pulseMillis: 1000
      })
    )
  })

  it("F2: clocks are four hours apart", async () => {
    console.log(await clocks.wrongClocks(chaos, { jobs: 1000 }))
  })
})
