import * as fc from "fast-check"
import { expect, it } from "vitest"
import * as JobRing from "../../../src/domain/node/JobRing.ts"

it("does what an array does", () => {
  const command = fc.record({
    what: fc.constantFrom("push", "push", "push", "pushFront", "shift", "pop", "remove"),
    value: fc.nat(9)
  })
  fc.assert(fc.property(fc.array(command, { size: "max", maxLength: 200 }), (commands) => {
    const ring = JobRing.make<number>()
    let model: Array<number> = []
    for (const { value, what } of commands) {
      if (what === "push") {
        JobRing.push(ring, value)
        model.push(value)
      } else if (what === "pushFront") {
        JobRing.pushFront(ring, value)
        model.unshift(value)
      } else if (what === "shift") expect(JobRing.shift(ring)).toBe(model.shift())
      else if (what === "pop") expect(JobRing.pop(ring)).toBe(model.pop())
      else {
        expect(JobRing.remove(ring, (item) => item === value)).toEqual(model.filter((item) => item === value))
        model = model.filter((item) => item !== value)
      }
      expect(JobRing.toArray(ring)).toEqual(model)
      expect(JobRing.at(ring, value)).toBe(model[value])
      expect(ring.length).toBe(model.length)
    }
  }))
})
