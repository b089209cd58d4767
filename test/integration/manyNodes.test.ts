/** Several machines on one network that a client finds by itself; `test/soak/manyNodes.soak.ts` has a hundred. */
import { afterAll, it } from "vitest"
import { untilIdle } from "../support/Leftovers.ts"
import * as ManyNodes from "../support/ManyNodes.ts"
import * as Networks from "../support/Networks.ts"

afterAll(untilIdle)

Networks.suite("six nodes with a secret", [], (networks) => {
  it("are all found and run 3,000 jobs, each of them once, and nothing is left behind", async () => {
    ManyNodes.expectComplete(
      await ManyNodes.run(networks(), { nodes: 6, jobs: 3000, secret: "correct horse battery staple" })
    )
  })
})
