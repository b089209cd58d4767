/**
 * The simulation with many more seeds: 20,000, in about ten minutes. `SEEDS=1000 npm run soak -- test/soak/simulation`
 * runs so many, `SEED=17` one alone. They begin at 1, where `FIRST_SEED` does not say otherwise.
 */
import { afterAll, describe, expect, it } from "@effect/vitest"
import * as Seeds from "../simulation/Seeds.ts"

const numberOf = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise)

const asked = Seeds.asked()
const seeds = asked === undefined ? numberOf("SEEDS", 20_000) : 1
const first = asked ?? numberOf("FIRST_SEED", 1)
const block = 1000

describe("simulated clusters", () => {
  const total = Seeds.summary()
  const blocks = Array.from({ length: Math.ceil(seeds / block) }, (_, i) => ({
    from: first + i * block,
    count: Math.min(block, seeds - i * block)
  }))

  it.for(blocks)("keep their promises whatever fails: $count seeds from $from on", ({ count, from }) => {
    const failure = Seeds.run(total, from, count, "npm run soak -- test/soak/simulation")
    if (failure !== undefined) expect.fail(failure)
  })

  afterAll(() => console.log(Seeds.describe(total)))
})
