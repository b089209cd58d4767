/** Loads a computation's code into this process: a function's source, a bundled module, or a program to be run. */
import * as fs from "node:fs"
import { pathToFileURL } from "node:url"
import * as vm from "node:vm"
import type { PrepareSlot } from "../domain/wire/SlotFrames.ts"
import * as Values from "./Values.ts"

/**
 * Runs the computation once: returns its value or a promise of it, or throws. What a generator yields goes to `emit`,
 * whose errors are the job's.
 */
export type Call = (args: ReadonlyArray<unknown>, emit: Emit) => unknown

/** Takes a provisional result. */
export type Emit = (value: unknown) => void

/** A message for people at the other end: what is wrong with their code. */
export class LoadError extends Error {
  override readonly name = "LoadError"
}

/**
 * What compilers leave in a function's source text: esbuild's `__name` (also from tsx, vitest and bundlers with
 * `keepNames`) and `__publicField`.
 */
const helpers = {
  __name: (target: object, value: string) => Object.defineProperty(target, "name", { value, configurable: true }),
  __publicField: (target: object, key: PropertyKey, value: unknown) => {
    Object.defineProperty(target, key, { value, configurable: true, enumerable: true, writable: true })
    return value
  }
}

const asCall = (value: unknown, what: string): Call => {
  if (typeof value !== "function") throw new LoadError(`${what} is ${describe(value)}, not a function`)
  const call = value as (...args: ReadonlyArray<unknown>) => unknown
  if (isGenerator(call)) {
    return (args, emit) => exhaust(call(...args) as Iterator<unknown> | AsyncIterator<unknown>, emit)
  }
  return (args) => call(...args)
}

const describe = (value: unknown): string =>
  value === undefined ? "undefined" : value === null ? "null" : `of type ${typeof value}`

const isGenerator = (call: object): boolean => {
  const tag = Object.prototype.toString.call(call)
  return tag === "[object GeneratorFunction]" || tag === "[object AsyncGeneratorFunction]"
}

/** Runs a generator to its end: what it yields are provisional results, what it returns is the job's. */
const exhaust = (iterator: Iterator<unknown> | AsyncIterator<unknown>, emit: Emit): unknown => {
  const isAsync = Symbol.asyncIterator in iterator
  if (!isAsync) {
    const sync = iterator as Iterator<unknown>
    for (;;) {
      const next = sync.next()
      if (next.done === true) return next.value
      emit(next.value)
    }
  }
  const run = async (): Promise<unknown> => {
    for (;;) {
      const next = await iterator.next()
      if (next.done === true) return next.value
      emit(next.value)
    }
  }
  return run()
}

/** Compiles a function's source text with the values that it captured. */
export const compile = (name: string, source: string, encodedCaptures: Uint8Array): Call => {
  const captures = Values.decode(encodedCaptures) as Record<string, unknown>
  const scope = { ...helpers, ...captures }
  const prefix = "return ("
  const compiled = vm.compileFunction(`${prefix}${source}\n)`, Object.keys(scope), {
    filename: `dispy:${name}`,
    columnOffset: -prefix.length,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER
  })
  return asCall(compiled(...Object.values(scope)), `the source of ${name}`)
}

const loadFunction = ({ capturesPath, codePath, name }: PrepareSlot): Call =>
  compile(name, fs.readFileSync(codePath, "utf8"), fs.readFileSync(capturesPath))

const loadModule = async (prepare: PrepareSlot): Promise<Call> => {
  process.setSourceMapsEnabled(true)
  const module = await import(pathToFileURL(prepare.codePath).href) as Record<string, unknown>
  if (!(prepare.exportName in module)) {
    const names = Object.keys(module).join(", ")
    const known = names === "" ? "nothing" : names
    throw new LoadError(`the module has no export "${prepare.exportName}"; it exports ${known}`)
  }
  return asCall(module[prepare.exportName], `the module's export "${prepare.exportName}"`)
}

/** Gives jobs what the node's owner wants all of them to have. */
const defineGlobals = (file: string): void => {
  for (const [name, value] of Object.entries(Values.decode(fs.readFileSync(file)) as Record<string, unknown>)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, enumerable: true, writable: true })
  }
}

/** Loads what `prepare` names; throws what the user's code threw, or a `LoadError`. */
export const load = async (prepare: PrepareSlot): Promise<Call> => {
  if (prepare.globalsPath !== "") defineGlobals(prepare.globalsPath)
  if (prepare.kind === "function") return loadFunction(prepare)
  if (prepare.kind === "module") return loadModule(prepare)
  // Loading `child_process` costs start-up time and makes every job's output worth a second look: not for the others.
  return (await import("./Program.ts")).load(prepare)
}
