import { describe, expect, it } from "vitest"
import * as KillPlan from "../../../src/domain/node/KillPlan.ts"

const alone = { isThread: false, isShared: false }

describe("a kill plan", () => {
  it("asks a job that listens first, tells it halfway, and kills it at the grace", () => {
    expect(KillPlan.steps(1000, true, alone)).toEqual([
      { atMillis: 0, act: "abort" },
      { atMillis: 500, act: "terminate" },
      { atMillis: 1000, act: "kill" }
    ])
  })

  it("tells any other job at once, and kills it at the grace", () => {
    expect(KillPlan.steps(1000, false, alone)).toEqual([
      { atMillis: 0, act: "terminate" },
      { atMillis: 1000, act: "kill" }
    ])
  })

  it("kills at once without a grace", () => {
    expect(KillPlan.steps(0, true, alone)).toEqual([{ atMillis: 0, act: "kill" }])
  })

  it("gives a job among others some time also without a grace", () => {
    expect(KillPlan.steps(0, true, { isThread: false, isShared: true }).at(-1)).toEqual({
      atMillis: KillPlan.stopMillis,
      act: "kill"
    })
  })

  it("gives a thread time to stop before its process is killed, also without a grace", () => {
    const thread = { isThread: true, isShared: false }
    expect(KillPlan.steps(0, true, thread)).toEqual([
      { atMillis: 0, act: "terminate" },
      { atMillis: KillPlan.stopMillis, act: "kill" }
    ])
    expect(KillPlan.steps(10_000, true, thread)).toEqual([
      { atMillis: 0, act: "abort" },
      { atMillis: 5000, act: "terminate" },
      { atMillis: 10_000, act: "kill" }
    ])
  })

  it("asks a job among others for all of the grace, whether it listens or not", () => {
    expect(KillPlan.steps(1000, false, { isThread: false, isShared: true })).toEqual([
      { atMillis: 0, act: "abort" },
      { atMillis: 1000, act: "kill" }
    ])
    expect(KillPlan.steps(1000, false, { isThread: true, isShared: true })).toEqual([
      { atMillis: 0, act: "abort" },
      { atMillis: 1000, act: "terminate" },
      { atMillis: 1000 + KillPlan.stopMillis, act: "kill" }
    ])
  })
})
