import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import * as DefinitionOrder from "../../src/domain/DefinitionOrder.ts"

const aFunction = (name: string, ...uses: Array<string>): DefinitionOrder.Defined => ({
  name,
  kind: "function",
  uses,
  usesFirst: []
})
const aClass = (name: string, usesFirst: Array<string> = [], uses: Array<string> = []): DefinitionOrder.Defined => ({
  name,
  kind: "class",
  uses: [...usesFirst, ...uses],
  usesFirst
})

const namesOf = (all: ReadonlyArray<DefinitionOrder.Defined>) => {
  const groups = DefinitionOrder.order(all)
  return "names" in groups ? groups : groups.map((group) => group.map(({ name }) => name))
}

describe("the order of definitions", () => {
  it("puts a base before what extends it, and what static members use before the class", () => {
    expect(
      namesOf([aClass("Circle", ["Shape"]), aClass("Shape", ["table"]), aFunction("table", "pi"), aFunction("pi")])
    )
      .toEqual([["pi"], ["table"], ["Shape"], ["Circle"]])
  })

  it("puts those that use each other into one group, functions first", () => {
    expect(namesOf([aClass("Leaf", ["Node"]), aClass("Node", [], ["grow"]), aFunction("grow", "Leaf")])).toEqual([
      ["grow", "Node", "Leaf"]
    ])
  })

  it("names classes that need each other to be defined, also by way of a function", () => {
    expect(namesOf([aClass("A", ["B"]), aClass("B", ["A"])])).toEqual({ names: ["A", "B"] })
    expect(namesOf([aClass("A", ["make"]), aFunction("make", "B"), aClass("B", ["A"])])).toEqual({ names: ["A", "B"] })
  })

  it("defines everything once and after what it needs, for random graphs", () => {
    const names = Array.from({ length: 12 }, (_, i) => `n${i}`)
    const some = fc.subarray(names, { maxLength: 4 })
    const one = fc.record({ isClass: fc.boolean(), uses: some, first: some })
    fc.assert(
      fc.property(fc.array(one, { minLength: 12, maxLength: 12 }), (specs) => {
        const all = specs.map(({ first, isClass, uses }, i) =>
          isClass ? aClass(names[i]!, first, uses) : aFunction(names[i]!, ...uses)
        )
        const groups = DefinitionOrder.order(all)
        const byName = new Map(all.map((each) => [each.name, each]))
        if ("names" in groups) {
          // Each needs the next while it is defined, directly or by functions.
          expect(groups.names.every((name) => byName.get(name)!.kind === "class")).toBe(true)
          return
        }
        const order = groups.flat().map(({ name }) => name)
        expect(order.toSorted()).toEqual(names.toSorted())
        const groupOf = new Map(groups.flatMap((group, i) => group.map(({ name }) => [name, i] as const)))
        for (const each of all) {
          for (const use of each.uses) expect(groupOf.get(use)!).toBeLessThanOrEqual(groupOf.get(each.name)!)
          for (const use of each.usesFirst) {
            if (use !== each.name) expect(order.indexOf(use)).toBeLessThan(order.indexOf(each.name))
          }
        }
      }),
      { numRuns: 1000 }
    )
  })
})
