import { describe, expect, it } from "vitest"
import { nextChunkSize } from "../../../src/programs/client/MapItems.ts"

describe("the size of chunks", () => {
  it("grows at most fourfold, towards 5 ms of work", () => {
    expect(nextChunkSize(1, 1, 10, 10)).toBe(4)
    expect(nextChunkSize(400, 400, 4000, 400)).toBe(500)
  })

  it("is one item when items are long, and never less", () => {
    expect(nextChunkSize(8, 8, 800_000, 8)).toBe(1)
  })

  it("shrinks when items turn out to be long or large", () => {
    expect(nextChunkSize(100, 100, 50_000, 100)).toBe(10)
    expect(nextChunkSize(100, 100, 1, 100 * 1024 * 1024)).toBe(1)
  })

  it("has a bound for items that take no time", () => {
    expect(nextChunkSize(16_384, 16_384, 0, 16_384)).toBe(16_384)
  })
})
