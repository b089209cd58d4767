/** Row B4: a durable client is killed at 200 moments; every job has its one outcome, and none runs twice. */
import * as fs from "node:fs"
import { join } from "node:path"
import { describe, it } from "vitest"
import * as DurablePrograms from "../support/DurablePrograms.ts"
import * as Nodes from "../support/Nodes.ts"

const { daemon, directory } = Nodes.forTests()

const seeds = Array.from({ length: 200 }, (_, i) => 1000 + i)

describe("a durable program that is killed at any moment", () => {
  it("has each outcome exactly once in the end, 200 times", { timeout: 3_600_000 }, async () => {
    const nodes = await Promise.all([1, 2].map(() => daemon("--msg-timeout", "1", "--cpus", "2")))
    for (const seed of seeds) {
      const home = join(directory(), `seed-${seed}`)
      fs.mkdirSync(home)
      await DurablePrograms.killSomeTime(() => home, nodes.map(({ address }) => address), seed)
      fs.rmSync(home, { recursive: true })
    }
  })
})
