/** Numbered messages that arrive again and out of order. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Numbered from "../../../src/domain/node/Numbered.ts"

describe("Numbered", () => {
  it("takes each number once, in whatever order they come and come again", () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 100 }), (numbers) => {
      const taken = Numbered.make()
      const seen = new Set<number>()
      for (const number of numbers) {
        expect(Numbered.take(taken, number)).toBe(!seen.has(number))
        seen.add(number)
      }
    }))
  })

  it("remembers no more than the numbers behind a gap", () => {
    const taken = Numbered.make()
    for (let number = 2; number <= 1000; number++) Numbered.take(taken, number)
    expect(taken.beyond.size).toBe(999)
    Numbered.take(taken, 1)
    expect(taken).toEqual({ through: 1000, beyond: new Set() })
  })
})
