/** 100 machines with two slots each on one network, and 100,000 jobs, without and with a secret; about 3 minutes on two cores. */
import { afterAll, expect, it } from "vitest"
import { untilIdle } from "../support/Leftovers.ts"
import * as ManyNodes from "../support/ManyNodes.ts"
import * as Networks from "../support/Networks.ts"

afterAll(untilIdle)

Networks.suite("100 nodes", [], (networks) => {
  it.each([
    ["without a secret", {}],
    ["with a secret", { secret: "correct horse battery staple" }]
  ])("are all found within 15 s and run 100,000 jobs once each, %s", async (_, security) => {
    const many = await ManyNodes.run(networks(), { nodes: 100, jobs: 100_000, ...security })
    console.log(ManyNodes.describe(many))
    ManyNodes.expectComplete(many)
    expect(many.readyMillis).toBeLessThan(15_000)
  })
})
