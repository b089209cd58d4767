import { describe, expect, it } from "vitest"
import * as RedialSchedule from "../../../src/domain/discovery/RedialSchedule.ts"

describe("a node that is not let in", () => {
  it("dials again soon, then more and more seldom, every ten seconds at last", () => {
    const longest = Array.from({ length: 9 }, (_, failures) => RedialSchedule.pauseMillis(failures + 1, 1))
    expect(longest).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000])
    expect(RedialSchedule.pauseMillis(1_000_000, 1)).toBe(10_000)
  })

  it("comes at random times, half of the way before the last", () => {
    expect([0, 0.5].map((random) => RedialSchedule.pauseMillis(7, random))).toEqual([5000, 7500])
  })
})
