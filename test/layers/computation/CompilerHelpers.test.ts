import { describe, expect, it } from "@effect/vitest"
import { transformSync } from "esbuild"
import { refusal, sloppy, strict, trip } from "../../support/ShippedFunctions.ts"

describe("CompilerHelpers", () => {
  const compiled = (code: string, options: Parameters<typeof transformSync>[1]) =>
    sloppy(`() => { ${transformSync(`const f = ${code}`, { loader: "ts", ...options }).code}; return f }`)()

  it("gives compiled functions the helpers of esbuild that they use", async () => {
    const named = compiled(
      "function f(n: number) { const inner = () => n; return inner.name + (class Local {}).name }",
      { keepNames: true }
    )
    expect(String(named)).toContain("__name(")
    expect(await trip(named, [1])).toBe("innerLocal")
    const old = { target: "es2015", supported: { generator: true } } as const
    const fields = compiled(
      "async function f(n: number) { class A { x = n; static y = 2 } return new A().x + A.y }",
      old
    )
    expect(String(fields)).toMatch(/__publicField[^]*/)
    expect(await trip(fields, [1])).toBe(3)
    const rest = compiled("(o: any) => { const { a, ...others } = o; return { ...others, b: 2, ...o.more } }", old)
    expect(await trip(rest, [{ a: 1, c: 3, more: { d: 4 } }])).toEqual({ c: 3, b: 2, d: 4, more: { d: 4 } })
    const log = "const log: string[] = []; const open = (name: string) => ({ [Symbol.dispose]() { log.push(name) } })"
    const using = compiled(
      `() => { ${log}; { using a = open("a"); using b = open("b"); log.push("body") } return log }`,
      { target: "node22" }
    )
    expect(String(using)).toContain("__using(")
    expect(await trip(using, [])).toEqual(["body", "b", "a"])
  })

  it("gives compiled functions the helpers of TypeScript that they use", async () => {
    const awaited = strict(
      `(n) => __awaiter(void 0, void 0, void 0, function* () { const m = yield Promise.resolve(n); try { yield Promise.reject(m) } catch (e) { return e + 1 } })`
    )
    expect(await trip(awaited, [1])).toBe(2)
    const spread = strict(
      `(o) => [Object.assign(__rest(o, ["a"]), __assign({ z: 1 }, o)), __spreadArray([1], [2], false)]`
    )
    expect(await trip(spread, [{ a: 1, b: 2 }])).toEqual([{ a: 1, b: 2, z: 1 }, [1, 2]])
    expect(refusal(strict("() => __generator(1)")).message).toContain(
      "let it target ES2022 or newer"
    )
  })
})
