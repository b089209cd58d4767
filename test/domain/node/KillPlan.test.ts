import { describe, expect, it } from "vitest"
import * as KillPlan from "../../../src/domain/node/KillPlan.ts"

describe("a kill plan", () => {
  it("asks a job that listens first, tells it halfway, and kills it at the grace", () => {
    expect(KillPlan.steps(1000, true)).toEqual([
      { atMillis: 0, act: "abort" },
      { atMillis: 500, act: "terminate" },
      { atMillis: 1000, act: "kill" }
    ])
  })

  it("tells any other job at once, and kills it at the grace", () => {
    expect(KillPlan.steps(300, false)).toEqual([{ atMillis: 0, act: "terminate" }, { atMillis: 300, act: "kill" }])
  })

  it("kills at once without a grace", () => {
    for (const grace of [0, -1]) {
      for (const listens of [true, false]) {
        expect(KillPlan.steps(grace, listens)).toEqual([{ atMillis: 0, act: "kill" }])
      }
    }
  })
})
