import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import { nearest } from "../../src/domain/Suggestion.ts"

describe("Suggestion", () => {
  it("finds the name that was meant", () => {
    const names = ["render", "renderAll", "resize", "default", "id"]
    expect(nearest("rendr", names)).toBe("render")
    expect(nearest("redner", names)).toBe("render")
    expect(nearest("Render", names)).toBe("render")
    expect(nearest("renderall", names)).toBe("renderAll")
    expect(nearest("di", names)).toBe("id")
  })

  it("suggests nothing rather than something far-fetched", () => {
    expect(nearest("main", ["render", "resize"])).toBe(undefined)
    expect(nearest("x", [])).toBe(undefined)
    expect(nearest("", ["render"])).toBe(undefined)
  })

  it("always finds a known name itself", () => {
    fc.assert(fc.property(fc.array(fc.string({ minLength: 1 }), { minLength: 1 }), fc.nat(), (names, at) => {
      const name = names[at % names.length]!
      expect(nearest(name, names)?.toLowerCase()).toBe(name.toLowerCase())
    }))
  })
})
