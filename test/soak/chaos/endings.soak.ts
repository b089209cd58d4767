/** Rows B11 and E4 in full: on two cores B11 takes about seven minutes, E4 about ten. */
import { describe, expect, it } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as endings from "../../support/chaos/endings.ts"
import * as Scale from "../../support/chaos/Scale.ts"

const chaos = Chaos.forTests()

const graceMillis = 200

describe("nothing is left of a job and of what it started", () => {
  it.each(["cancel", "timeout", "node killed"] as const)("B11: grandchildren, 100 times: %s", async (way) => {
    const took = await endings.end(chaos, "grandchildren", way, { times: Scale.of(100), graceMillis })
    console.log(endings.describe("B11", `grandchildren, ${way},`, took))
    if (way !== "timeout") expect(took.toSorted((a, b) => a - b)[Math.floor(took.length * 0.95)]).toBeLessThan(1000)
  })

  it.each(endings.kinds)("E4: %s, cancelled 100 times", async (kind) => {
    const took = await endings.end(chaos, kind, "cancel", { times: Scale.of(100), graceMillis })
    console.log(endings.describe("E4", `${kind}, grace of ${graceMillis} ms,`, took))
    // One busy moment of the machine is none of a job's.
    expect(took.toSorted((a, b) => a - b)[took.length >> 1]).toBeLessThan(graceMillis + 100)
  })
})
