/** Sets of numbers as ranges are sets of numbers. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as NumberRanges from "../../../src/domain/recovery/NumberRanges.ts"

describe("NumberRanges", () => {
  it("has what was added, in as few ranges as possible", () => {
    const range = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.nat({ max: 6 }))
    fc.assert(fc.property(fc.array(range, { maxLength: 20 }), (ranges) => {
      const self = NumberRanges.make()
      const set = new Set<number>()
      for (const [first, more] of ranges) {
        NumberRanges.add(self, first, first + more)
        for (let number = first; number <= first + more; number++) set.add(number)
      }
      const sorted = [...set].toSorted((a, b) => a - b)
      expect(NumberRanges.toArray(self)).toEqual(sorted)
      expect(NumberRanges.size(self)).toBe(set.size)
      expect(Array.from({ length: 70 }, (_, number) => NumberRanges.has(self, number)))
        .toEqual(Array.from({ length: 70 }, (_, number) => set.has(number)))
      expect(self.bounds.length / 2).toBe(sorted.filter((number) => !set.has(number - 1)).length)
      expect(NumberRanges.from(sorted.toReversed()).bounds).toEqual(self.bounds)
    }))
  })
})
