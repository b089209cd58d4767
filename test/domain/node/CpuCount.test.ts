/** How many slots a node offers. */
import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as CpuCount from "../../../src/domain/node/CpuCount.ts"

describe("CpuCount", () => {
  it("takes all cores for 0, leaves cores free for negative numbers, and takes positive ones as they are", () => {
    const counts = [0, 1, 4, -1, -3].map((requested) => CpuCount.resolve(requested, 4))
    expect(counts.map(Result.getOrThrow)).toEqual([4, 1, 4, 3, 1])
  })

  it("says why it refuses a number", () => {
    const reasons = [5, -4, -9, 1.5].map((requested) => Result.getOrThrow(Result.flip(CpuCount.resolve(requested, 4))))
    expect(reasons).toEqual([
      "5 is more than there are: this machine has 4 cores",
      "-4 leaves no core to work with: this machine has 4 cores; use a number above -4",
      "-9 leaves no core to work with: this machine has 4 cores; use a number above -4",
      "1.5 is not a whole number"
    ])
  })
})
