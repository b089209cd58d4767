import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import { readFileSync } from "node:fs"
import * as os from "node:os"
import path from "node:path"
import { FreeVariables } from "../../../src/domain/ComputationError.ts"
import type * as FunctionSource from "../../../src/layers/computation/FunctionSource.ts"
import { type AnyFunction, refusal, strict } from "../../support/ShippedFunctions.ts"

/** Each free variable with line and column of its first use. */
const freeIn = (fn: AnyFunction, options: Partial<FunctionSource.Options> = {}): Array<string> => {
  const error = refusal(fn, options)
  if (!(error instanceof FreeVariables)) throw error
  return error.variables.map(({ column, line, name }) => `${name} ${line}:${column}`)
}

describe("FreeNames", () => {
  it("names each free variable once, where it is used first", () => {
    const fn = strict("function f(a) {\n  const b = outer + a\n  return () => outer + b + other({ third, a })\n}")
    expect(freeIn(fn)).toEqual(["outer 2:13", "other 3:28", "third 3:36"])
  })

  const frees: Array<[string, string, Array<string>]> = [
    ["assignments to undeclared variables", "() => { x = 1; y++; [z] = [1]; ({ w } = {}) }", [
      "x 1:9",
      "y 1:16",
      "z 1:22",
      "w 1:35"
    ]],
    ["typeof of a value, used elsewhere", "() => typeof config === 'string' ? config : 1", ["config 1:36"]],
    ["defaults that cannot see the body", "function f(a = inner) { var inner = 1; return a + inner }", ["inner 1:16"]],
    ["variables of a block outside of it", "() => { { let a = 1; const b = a; class C {} } return [a, b, C] }", [
      "a 1:56",
      "b 1:59",
      "C 1:62"
    ]],
    ["a catch binding outside of it", "() => { try {} catch (e) {} return e }", ["e 1:36"]],
    ["names of inner function expressions", "() => { (function inner() {}); return inner }", ["inner 1:39"]],
    ["classes, their parents, keys and fields", "() => class A extends B { [k] = v; static { s } #p = A }", [
      "B 1:23",
      "k 1:28",
      "v 1:33",
      "s 1:45"
    ]],
    ["shorthand properties and tags", "() => [{ a }, tag`${b}`, c.d[e], f?.(g)]", [
      "a 1:10",
      "tag 1:15",
      "b 1:21",
      "c 1:26",
      "e 1:30",
      "f 1:34",
      "g 1:38"
    ]],
    ["labels are no variables", "() => { a: for (;;) { break a } return a }", ["a 1:40"]],
    ["the arguments of the surroundings", "() => arguments.length", ["arguments 1:7"]],
    ["CommonJS", "() => [require('fs'), module.exports, __dirname]", ["require 1:8", "module 1:23", "__dirname 1:39"]],
    ["names of Object.prototype", "() => hasOwnProperty('a') + toString()", ["hasOwnProperty 1:7", "toString 1:29"]],
    ["coverage counters", "() => { cov_1a2b().s[0]++; return 1 }", ["cov_1a2b 1:9"]],
    ["test globals", "() => expect(1)", ["expect 1:7"]]
  ]
  for (const [title, text, names] of frees) {
    it(`finds free variables: ${title}`, () => {
      expect(freeIn(strict(text))).toEqual(names)
    })
  }

  it("calls imports by the names which the user gave them", () => {
    expect(freeIn((file: string) => [readFileSync(file), os.cpus()]).map((free) => free.split(" ")[0])).toEqual([
      "readFileSync",
      "cpus"
    ])
    const error = refusal(() => path.sep)
    expect(error.message).toContain("a default import (line 1, column 7)")
  })

  it("explains free variables and the ways out of them", () => {
    const error = refusal(strict("function scale(n) {\n  return n * factor + require('x')\n}"))
    expect(error.message).toBe(
      "function scale uses variables from outside itself, which nodes do not have: factor (line 2, column 14), " +
        "require (line 2, column 23). Pass them as arguments; or send their values along: " +
        "Computation.fromFunction(scale, { captures: { factor, require } }); or, if functions or classes, list them in " +
        "the cluster's depends; or move the function to a module of its own, " +
        `whose imports are sent too: Computation.fromModule(new URL("./scale.ts", import.meta.url), "scale"). ` +
        `There is no require on a node: use await import("node:fs") inside the function.`
    )
  })

  it("finds every name that a generated function leaves open", () => {
    const free = fc.uniqueArray(fc.stringMatching(/^free[a-z]{1,4}$/), { minLength: 1, maxLength: 5 })
    const places = [
      "[X]",
      "{ k: X }",
      "X.y",
      "X()",
      "`${X}`",
      "typeof X.y",
      "(() => X)()",
      "new X()",
      "class extends X {}",
      "(a = X) => a"
    ]
    fc.assert(fc.property(free, fc.array(fc.constantFrom(...places), { minLength: 5, maxLength: 5 }), (names, at) => {
      const parts = names.map((name, i) =>
        `(${
          at[i]!.replace("X", name).replace(/^\{/, "({").replace(
            /\}$/,
            (end) => at[i]!.startsWith("{") ? `${end})` : end
          )
        })`
      )
      const fn = strict(`(bound) => { const local = bound; return [local, ${parts.join(", ")}] }`)
      expect(freeIn(fn).map((name) => name.split(" ")[0])).toEqual(names)
    }))
  })
})
