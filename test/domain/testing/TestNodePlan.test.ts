import { Result } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { addressOf, plan } from "../../../src/domain/testing/TestNodePlan.ts"

const reasonOf = (nodes: unknown): string => {
  const read = plan(nodes as never)
  return Result.isFailure(read) ? read.failure.message : "none"
}

describe("the nodes of a test", () => {
  it("are two without a word, so many, or these", () => {
    expect(Result.getOrThrow(plan(undefined)).map(({ name }) => name)).toEqual(["node-1", "node-2"])
    expect(Result.getOrThrow(plan(0))).toEqual([])
    expect(Result.getOrThrow(plan(["alpha", { name: "beta.example", cpus: 8 }]))).toEqual([
      { name: "alpha", cpus: 2 },
      { name: "beta.example", cpus: 8 }
    ])
  })

  it.each([
    [1.5, "1.5 is not a whole number from 0 to 1000"],
    [1001, "1001 is not a whole number from 0 to 1000"],
    ["alpha", "alpha is neither a number nor a list of names"],
    [["alpha", "Alpha"], "alpha is there twice"],
    [["a b"], "\"a b\" is not a host name"],
    [["local"], "local is the node that a cluster starts for itself"],
    [["10.0.0.1"], "10.0.0.1 is an address"],
    [[null], "null is no node"],
    [[{ cpus: 1 }], "undefined is not a host name"],
    [[{ name: "a", cpus: 0 }], "cpus 0 of a is not a whole number above 0"],
    [[{ name: "a", cores: 2 }], "cores is no key of a node; the keys are name, cpus"]
  ])("are refused when they cannot be: %j", (nodes, reason) => {
    expect(reasonOf(nodes)).toContain(`option nodes: ${reason}`)
  })

  it("have an address each", () => {
    fc.assert(fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 5000 })), (numbers) => {
      const addresses = numbers.map(addressOf)
      expect(new Set(addresses).size).toBe(numbers.length)
      for (const address of addresses) expect(address).toMatch(/^10\.0\.\d{1,2}\.([1-9]\d?|1\d\d|2[0-4]\d|250)$/)
    }))
  })
})
