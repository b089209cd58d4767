/**
 * The process in which a node's owner has `init()` of a module of his run before
 * any job (`dispynode --init FILE`). What it returns, or leaves as new globals, is
 * written to a file that every slot reads. Arguments: the module, the file for the
 * values. It answers one line of JSON on descriptor 3, stays while the module has a
 * `close()` to be called, and calls that when standard input ends.
 */
import * as fs from "node:fs"
import { pathToFileURL } from "node:url"
import * as Stack from "./Stack.ts"
import * as Values from "./Values.ts"

/** What the node is told. */
export interface InitReport {
  /** What `init` returned if that was a number, else 0. */
  readonly status: number
  /** What it threw, or what cannot be given to jobs; empty for nothing. */
  readonly problem: string
  /** Names of the globals. */
  readonly names: ReadonlyArray<string>
  /** Those of them that are texts or numbers, for programs. */
  readonly environment: Readonly<Record<string, string>>
}

type Owned = Partial<Record<"init" | "close", unknown>>

const [, , file = "", target = ""] = process.argv
const before = new Set(Object.getOwnPropertyNames(globalThis))

const functionOf = (
  module: Owned & { readonly default?: Owned },
  name: "init" | "close"
): (() => unknown) | undefined => {
  const found = module[name] ?? module.default?.[name]
  if (found === undefined) return undefined
  if (typeof found !== "function") throw new TypeError(`its export ${name} is not a function`)
  return found as () => unknown
}

const collect = (result: unknown): Record<string, unknown> => {
  const values: Record<string, unknown> = {}
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    if (!before.has(name)) values[name] = (globalThis as Record<string, unknown>)[name]
  }
  if (typeof result !== "object" || result === null) return values
  for (const [name, value] of Object.entries(result)) {
    if (before.has(name) || name === "dispy") throw new Error(`init returns ${name}, which is a global already`)
    values[name] = value
  }
  return values
}

/** Each by itself, so that an error names the one that cannot be sent. */
const encode = (values: Record<string, unknown>): Uint8Array => {
  for (const [name, value] of Object.entries(values)) Values.encode(value, name)
  return Values.encode(values, "init")
}

const environmentOf = (values: Record<string, unknown>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) =>
      /^[A-Za-z_]\w*$/.test(name) && (typeof value === "string" || typeof value === "number")
        ? [[name, String(value)]]
        : []
    )
  )

const report = (told: InitReport): void => fs.writeSync(3, `${JSON.stringify(told)}\n`) as unknown as void

const fail = (status: number, problem: string): never => {
  report({ status, problem, names: [], environment: {} })
  process.exit(1)
}

try {
  const module = await import(pathToFileURL(file).href) as Owned
  const init = functionOf(module, "init")
  const close = functionOf(module, "close")
  if (init === undefined && close === undefined) fail(1, "it exports neither init nor close")
  const result: unknown = await init?.()
  if (typeof result === "number" && result !== 0) fail(result, "")
  const values = collect(result)
  fs.writeFileSync(target, encode(values), { mode: 0o600 })
  report({ status: 0, problem: "", names: Object.keys(values), environment: environmentOf(values) })
  if (close === undefined) process.exit(0)
  process.stdin.on("end", () => {
    Promise.resolve().then(close).then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`close() of ${file} failed: ${Stack.describe(error)}\n`)
        process.exit(1)
      }
    )
  }).resume()
} catch (error) {
  fail(1, Stack.describe(error))
}
