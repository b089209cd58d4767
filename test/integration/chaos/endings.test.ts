/** Nothing is left of jobs and of what they started: row B11 of `docs/reliability.md`; E4 is in `executor/kills.test.ts`. */
import { expect, it } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as endings from "../../support/chaos/endings.ts"

const chaos = Chaos.forTests()

it.each(["cancel", "timeout", "node killed"] as const)(
  "grandchildren, also in sessions of their own, are gone with their job: %s (B11)",
  async (way) => {
    expect(await endings.end(chaos, "grandchildren", way, { times: 2, graceMillis: 100 })).toHaveLength(2)
  }
)
