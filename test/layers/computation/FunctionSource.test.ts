import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import fc from "fast-check"
import { execFileSync } from "node:child_process"
import * as vm from "node:vm"
import { NotAFunction, UnsupportedFunction } from "../../../src/domain/ComputationError.ts"
import type * as FunctionSource from "../../../src/layers/computation/FunctionSource.ts"
import {
  analyse,
  type AnyFunction,
  call,
  refusal,
  revive,
  sloppy,
  strict,
  trip
} from "../../support/ShippedFunctions.ts"

const reasonOf = (fn: AnyFunction, options: Partial<FunctionSource.Options> = {}): string => {
  const error = refusal(fn, options)
  expect(error).toBeInstanceOf(UnsupportedFunction)
  return error.message
}

/** What a call gives or throws; functions by their text, since each call makes others. */
const outcome = async (fn: AnyFunction, args: ReadonlyArray<unknown>): Promise<unknown> => {
  try {
    const value = await call(fn, args)
    return typeof value === "function" ? String(value) : value
  } catch (error) {
    return String(error)
  }
}

/** Title, expression, arguments, result. */
const forms: Array<[string, string, Array<unknown>, unknown]> = [
  ["a function declaration", "function add(a, b) { return a + b }", [1, 2], 3],
  ["a function without name", "function(a) { return a }", [1], 1],
  ["an arrow function", "(n) => n * n", [3], 9],
  ["an arrow function without parentheses", "n => n", [3], 3],
  ["an arrow function that gives an object", "(n) => ({ n })", [3], { n: 3 }],
  ["an arrow function of an arrow function", "a => b => a + b", [1], expect.any(Function)],
  ["an arrow function with a body", "(n) => { return n }", [3], 3],
  ["an async function", "async function(n) { await 0; return n }", [3], 3],
  ["an async arrow function", "async (n) => (await Promise.resolve(n)) + 1", [3], 4],
  ["an async arrow without parentheses", "async n => n", [3], 3],
  ["a generator", "function*(n) { yield n; yield* [n, n]; return 0 }", [3], [3, 3, 3, 0]],
  ["an async generator", "async function*(n) { yield n; for await (const x of [1]) yield x; return 0 }", [3], [
    3,
    1,
    0
  ]],
  ["a method", "({ m(n) { return n + 1 } }).m", [1], 2],
  ["an async method", "({ async m(n) { return n + 1 } }).m", [1], 2],
  ["a generator method", "({ *m(n) { yield n; return n + 1 } }).m", [1], [1, 2]],
  ["an async generator method", "({ async *m(n) { yield n; return n + 1 } }).m", [1], [1, 2]],
  ["a method with a computed name", "((k) => ({ [k + 1](n) { return n + 1 } }).k1)('k')", [1], 2],
  ["a method named by a symbol", "({ [Symbol.iterator](n) { return n + 1 } })[Symbol.iterator]", [1], 2],
  ["a method with a quoted name", "({ 'a name'(n) { return n + 1 } })['a name']", [1], 2],
  ["a method named by a number", "({ 42(n) { return n + 1 } })[42]", [1], 2],
  ["a method named get", "({ get(n) { return n + 1 } }).get", [1], 2],
  ["a method named async", "({ async(n) { return n + 1 } }).async", [1], 2],
  ["a method named static", "({ static(n) { return n + 1 } }).static", [1], 2],
  ["a method named function", "({ function(n) { return n + 1 } }).function", [1], 2],
  ["a method named __proto__", "({ __proto__(n) { return n + 1 } }).__proto__", [1], 2],
  ["a method named constructor", "({ constructor(n) { return n + 1 } }).constructor", [1], 2],
  ["a function that is a property", "({ delete: (n) => n + 1 }).delete", [1], 2],
  ["a static method", "(class { static m(n) { return n * 2 } }).m", [2], 4],
  ["a static async method", "(class { static async m(n) { return n * 2 } }).m", [2], 4],
  ["a static generator method", "(class { static *m(n) { yield n; return 0 } }).m", [2], [2, 0]],
  ["a static async generator method", "(class { static async *m(n) { yield n; return 0 } }).m", [2], [2, 0]],
  ["a method of a class", "(class { m(n) { return n * 3 } }).prototype.m", [2], 6],
  ["a private method", "(class { static #x(n) { return n + 1 } static get() { return this.#x } }).get()", [1], 2],
  ["default parameters", "(a, b = a + 1, c = () => b) => [a, b, c()]", [1], [1, 2, 2]],
  ["destructured parameters", "({ a, b: [c = 5, ...rest], ...d }) => [a, c, rest, d]", [{ a: 1, b: [] }], [
    1,
    5,
    [],
    {}
  ]],
  ["computed keys in a pattern", "(k, { [k]: v }) => v", ["x", { x: 1 }], 1],
  ["names with other letters", "(größe, 名, $_ð) => größe + 名 + $_ð", [1, 2, 3], 6],
  [
    "nested functions that use each other",
    "(n) => { const odd = (k) => k > 0 && even(k - 1); function even(k) { return k === 0 || odd(k - 1) } return even(n) }",
    [4],
    true
  ],
  [
    "nested classes",
    "(n) => { class A { #p = n; x = this.#p; get p() { return this.#p + A.s } static { this.s = 2 } }; " +
    "return new (class extends A { q = super.p })().q }",
    [1],
    3
  ],
  [
    "labels",
    "(n) => { outer: for (let i = 0; ; i++) { for (;;) { if (i < n) continue outer; break outer } } return n }",
    [2],
    2
  ],
  ["this, which is undefined", "function() { return this }", [], undefined],
  ["arguments", "function() { return arguments.length }", [1, 2], 2],
  ["new.target", "function() { return new.target }", [], undefined],
  ["catch bindings", "() => { try { throw [1] } catch ([e]) { try { throw e } catch { return e } } }", [], 1],
  [
    "hoisted variables and functions",
    "function () { x = 1; { var x } for (var i of [1]) for (var j in {}); if (0) var k; return [x, i, j, k, f()]; function f() { return 2 } }",
    [],
    [1, 1, undefined, undefined, 2]
  ],
  [
    "a use before the declaration",
    "() => { try { x } catch (error) { return error.name } let x }",
    [],
    "ReferenceError"
  ],
  ["typeof of what does not exist", "() => typeof nowhere", [], "undefined"],
  ["a guarded global", "() => typeof window !== 'undefined' ? window.x : 'node'", [], "node"],
  ["switch scopes", "(n) => { switch (n) { case 1: { const a = 2; return a } default: let b = 3; return b } }", [2], 3],
  [
    "for scopes",
    "(n) => { let s = 0; for (let i = 0, k = n; i < k; i++) s += i; for (const x of [1]) s += x; for (const y in { a: 1 }) s += y.length; return s }",
    [3],
    5
  ],
  ["the globals of Node", "() => [typeof process.pid, Buffer.from('a').length, new URL('http://a').host]", [], [
    "number",
    1,
    "a"
  ]],
  [
    "properties, labels and keys that look free",
    "(o) => { loop: for (;;) { break loop } return { loop: o.loop, missing: o?.missing, ['k' + o.loop]: 1 } }",
    [{ loop: 1 }],
    { loop: 1, missing: undefined, k1: 1 }
  ],
  ["templates", "(n) => `${n} ${String.raw`\\${n}`}`", [1], "1 \\${n}"],
  ["imports of Node's modules", "async () => (await import('node:path')).basename('/a/b')", [], "b"],
  ["comments", "/* a */ function /* b */ f(/* c */ n /* d */) { // e\n return n // f\n}", [1], 1],
  ["a comment at the end of an expression", "(n) => n // the end", [1], 1],
  ["recent syntax", "(n) => [n ** 2, n ?? 1, n?.x, 1n, /a(?<b>.)/v.exec('ab').groups.b]", [2], [
    4,
    2,
    undefined,
    1n,
    "b"
  ]],
  ["optional catch, spread, sequences", "(...n) => [...n, (0, n[0])]", [1], [1, 1]],
  ["a function of the Function constructor", "Function('a', 'b', 'return a + b')", [1, 2], 3]
]

const sloppyForms: Array<[string, string, Array<unknown>, unknown]> = [
  ["a function with octal literals", "function () { return 010 }", [], 8],
  ["an arrow function with octal literals", "() => 010", [], 8],
  ["a function declared in a block", "function () { { function inner() { return 1 } } return inner() }", [], 1],
  ["this, which is the global object", "function() { return this === globalThis }", [], true],
  ["names that are words of modules", "function (let, await, yield) { return let + await + yield }", [1, 2, 3], 6]
]

describe("FunctionSource", () => {
  for (const [title, text, args, result] of forms) {
    it(`ships ${title}`, async () => {
      expect(await trip(strict(text), args)).toEqual(result)
    })
  }

  for (const [title, text, args, result] of sloppyForms) {
    it(`ships what is not strict: ${title}`, async () => {
      expect(await trip(sloppy(text), args)).toEqual(result)
    })
  }

  it("ships functions of the file that it is used in", async () => {
    const square = async (n: number): Promise<number> => {
      const { sep } = await import("node:path")
      return sep.length * n * n
    }
    expect(await trip(square, [3])).toBe(9)
  })

  it("knows the global dispy", () => {
    expect(Effect.runSync(analyse(strict("() => dispy.jobId"))).name).toBe("anonymous")
  })

  it("tells name, kind and parameters", () => {
    const told = (fn: Function) => {
      const { source: _, uses: _uses, ...rest } = Effect.runSync(analyse(fn))
      return rest
    }
    expect(told(strict("async function* f(a, { b } = {}, ...c) {}"))).toEqual({
      name: "f",
      isAsync: true,
      isGenerator: true,
      params: ["a", "{ b } = {}", "...c"]
    })
    expect(told(strict("({ [`a ${1}`](n) {} })[`a 1`]"))).toEqual({
      name: "a 1",
      isAsync: false,
      isGenerator: false,
      params: ["n"]
    })
    expect(told(strict("x => 1")).name).toBe("anonymous")
  })

  it("keeps the mode of the function: strict unless it was sloppy", async () => {
    expect(await trip(strict("function () { return this }"), [])).toBe(undefined)
    expect(await trip(sloppy("function () { return this }"), [])).toBe(globalThis)
    await expect(trip(strict("(o) => { o.x = 1 }"), [Object.freeze({ x: 0 })])).rejects.toThrow(TypeError)
  })

  it("keeps the function's name and lines", async () => {
    const { source } = Effect.runSync(
      analyse(strict("function fails() {\n  const a = 1\n  throw new Error('m' + a)\n}"))
    )
    const compiled: any = vm.compileFunction(`return (${source}\n)`, [], { filename: "dispy:fails" })()
    expect(compiled.name).toBe("fails")
    expect(() => compiled()).toThrow(
      expect.objectContaining({ stack: expect.stringContaining("at fails (dispy:fails:3:9)") })
    )
    expect(revive(Effect.runSync(analyse(strict("({ [`a ${1}`](n) {} })['a 1']"))).source).name).toBe("a 1")
  })

  it("lets an arrow function call itself by its name", async () => {
    const fib = (n: number): number => n < 2 ? n : fib(n - 1) + fib(n - 2)
    expect(await trip(fib, [10])).toBe(55)
    expect(refusal(strict("({ fact(n) { return n * fact(n - 1) } }).fact")).message).toContain(
      "fact (line 1, column 22)"
    )
  })

  it("accepts what is captured or shipped along", async () => {
    const captures = { outer: 2, table: new Map([[1, "one"]]) }
    expect(await trip(strict("(n) => table.get(n) + outer"), [1], captures)).toBe("one2")
    expect(refusal(strict("() => [outer, Helper, missing]"), { captures, depends: ["Helper"] })).toMatchObject({
      variables: [{ name: "missing", line: 1, column: 23 }]
    })
  })

  it("refuses captures whose names are no variables", () => {
    for (const name of ["a-b", "1a", "class", "await x", "eval", ""]) {
      expect(reasonOf(() => 1, { captures: { [name]: 1 } })).toContain("is no name of a variable")
    }
  })

  it("refuses what is no function, or has no source, and says why", () => {
    expect(refusal({} as Function)).toBeInstanceOf(NotAFunction)
    expect(reasonOf(Math.max)).toBe(
      "function max cannot be sent: it is a native function, which has no source; write a function that calls it"
    )
    expect(reasonOf(strict("(() => 1).bind(null)"))).toContain("it is a bound function, whose source is hidden")
    expect(reasonOf(new Proxy(() => 1, {}))).toContain("native function")
    expect(reasonOf(strict("class A {}"))).toContain("it is a class")
    const accessors = strict("Object.getOwnPropertyDescriptor({ get a() { return 1 }, set a(_) {} }, 'a')")
    expect(reasonOf(accessors.get)).toContain("it is a getter")
    expect(reasonOf(accessors.set)).toContain("it is a setter")
    expect(reasonOf(strict("({ a() { return super.a() } })").a)).toContain("it uses super")
    expect(reasonOf(() => import.meta.url)).toContain("it uses import.meta")
    expect(reasonOf(strict("() => () => this"))).toContain("the this of the place where it was written")
    expect(reasonOf(strict("(class { #x = 1; read() { return this.#x } }).prototype.read"))).toContain("it uses #x")
    expect(reasonOf(sloppy("function (o) { with (o) { return a } }"))).toContain("it uses with")
    expect(reasonOf(strict("() => import('./other.js')"))).toContain(`it imports "./other.js"`)
  })

  it("ships functions that Node itself has stripped of their types", () => {
    const code =
      `const f = (n: number, o?: { a: string }): number => { const x: Array<number> = [n]; return x[0] as number }
      console.log(f.toString())`
    const text = execFileSync(process.execPath, ["--no-warnings", "--input-type=module-typescript", "-e", code])
      .toString()
    expect(revive(Effect.runSync(analyse(strict(text))).source)(7)).toBe(7)
  })

  it("keeps generated functions the same after the round trip", async () => {
    const names = fc.constantFrom("a", "b", "c")
    const { expression } = fc.letrec<{ expression: string }>((tie) => ({
      expression: fc.oneof(
        { maxDepth: 4, withCrossShrink: true },
        names,
        fc.integer({ min: -9, max: 9 }).map((n) => `(${n})`),
        fc.tuple(tie("expression"), fc.constantFrom("+", "-", "*"), tie("expression")).map((parts) =>
          `(${parts.join(" ")})`
        ),
        fc.tuple(names, tie("expression"), tie("expression")).map(([n, x, y]) => `((${n}) => ${x})(${y})`),
        fc.tuple(names, tie("expression"), tie("expression")).map(([n, x, y]) =>
          `(function ${n}(${n} = ${x}) { return ${y} })()`
        ),
        fc.tuple(names, tie("expression")).map(([n, x]) => `(({ ${n} }) => ${x})({ ${n}: 1 })`),
        fc.tuple(names, tie("expression")).map(([n, x]) =>
          `[1].map((${n}) => { var d = ${x}; let e = d; return e })[0]`
        ),
        fc.tuple(tie("expression"), tie("expression")).map(([x, y]) => `({ m(a) { return ${x} } }).m(${y})`)
      )
    }))
    const shapes = fc.constantFrom(
      (x: string) => `(a, b, c) => ${x}`,
      (x: string) => `function (a, b, c) { return ${x} }`,
      (x: string) => `async (a, b, c) => ${x}`,
      (x: string) => `function* named(a, b, c) { yield 1; return ${x} }`,
      (x: string) => `({ method(a, b, c) { return ${x} } }).method`
    )
    await fc.assert(
      fc.asyncProperty(shapes, expression, async (shape, x) => {
        const fn = strict(shape(x))
        const { source } = await Effect.runPromise(analyse(fn))
        expect(await outcome(revive(source), [1, 2, 3])).toEqual(await outcome(fn, [1, 2, 3]))
      }),
      { numRuns: 500 }
    )
  })
})
