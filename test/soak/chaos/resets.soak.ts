/** Row C4 in full: five minutes, or as long as 100,000 jobs take. */
import { it } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as resets from "../../support/chaos/resets.ts"
import * as Scale from "../../support/chaos/Scale.ts"

const chaos = Chaos.forTests()

it("C4: a random connection is reset every 100 ms for about five minutes", async () => {
  console.log(await resets.storm(chaos, { jobs: Scale.of(100_000), millis: 10, every: { millis: 100 } }))
})
