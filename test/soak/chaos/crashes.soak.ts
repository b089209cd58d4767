/** Rows B1, B2 and B6 in full: ten minutes, five minutes, ten minutes on two cores (B1: `npm run soak -- chaos/crashes -t B1`). */
import { describe, it } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as crashes from "../../support/chaos/crashes.ts"
import * as Scale from "../../support/chaos/Scale.ts"

const chaos = Chaos.forTests()

describe("every job has one outcome, and runs again only where a fault touched it", () => {
  it("B1: a node is killed every 2 s, about 300 times, during 200,000 jobs", async () => {
    console.log(await crashes.killedNodes(chaos, { jobs: Scale.of(200_000), millis: 20, every: { millis: 2000 } }))
  })

  it("B2: a slot is killed every 200 ms, about 1,500 times", async () => {
    console.log(await crashes.killedSlots(chaos, { jobs: Scale.of(100_000), millis: 10, every: { millis: 200 } }))
  })

  it("B6: nodes live for 5 s in the mean, then exit, are killed, crash or freeze", async () => {
    console.log(
      await crashes.mortalNodes(chaos, {
        jobs: Scale.of(100_000),
        millis: 20,
        every: { millis: 5000 },
        pulseMillis: 1000
      })
    )
  })
})
