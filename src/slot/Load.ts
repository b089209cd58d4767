/**
 * Loads a computation's code into this process, with what it takes along: a function's source, a bundled module, or a
 * program to be run.
 */
import * as fs from "node:fs"
import { pathToFileURL } from "node:url"
import type { PrepareSlot, SlotCode, SlotSurroundings } from "../domain/wire/SlotFrames.ts"
import * as Definitions from "./Definitions.ts"
import * as JobGlobal from "./JobGlobal.ts"
import * as Stack from "./Stack.ts"
import * as Surroundings from "./Surroundings.ts"
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

/** Compiles a function's source text with the values that it captured and what is around it. */
export const compile = (
  name: string,
  source: string,
  encodedCaptures: Uint8Array,
  { classes, scope: around }: Pick<Surroundings.Surroundings, "scope" | "classes"> = Surroundings.none
): Call => {
  const captures = Values.decode(encodedCaptures, classes) as Definitions.Scope
  const scope = { ...helpers, ...around, ...captures }
  return asCall(Definitions.evaluate(name, "return (", source, ")", scope), `the source of ${name}`)
}

type Exports = Readonly<Record<string, unknown>>

/** The module of some code; undefined for code of another kind. */
const importCode = async ({ codePath, kind }: SlotCode): Promise<Exports | undefined> => {
  if (kind !== "module") return undefined
  process.setSourceMapsEnabled(true)
  return await import(pathToFileURL(codePath).href) as Exports
}

const exportOf = (module: Exports, exportName: string): Call => {
  if (!(exportName in module)) {
    const names = Object.keys(module).filter((name) => name !== "__dispyClasses").join(", ")
    const known = names === "" ? "nothing" : names
    throw new LoadError(`the module has no export "${exportName}"; it exports ${known}`)
  }
  return asCall(module[exportName], `the module's export "${exportName}"`)
}

const callOf = (code: SlotCode, module: Exports | undefined, around: Surroundings.Surroundings): Call =>
  module === undefined
    ? compile(code.name, fs.readFileSync(code.codePath, "utf8"), fs.readFileSync(code.capturesPath), around)
    : exportOf(module, code.exportName)

/** Code that is ready to be called. */
export interface Loaded {
  readonly call: Call
  readonly around: Surroundings.Surroundings
}

/** Code and what is around it, which `setup` left in part. */
interface Surrounded {
  readonly module: Exports | undefined
  readonly around: Surroundings.Surroundings
  readonly state: Surroundings.State
}

/** Defines what is around the code; classes that its module exports are those of the code itself. */
const surround = async (
  code: SlotCode,
  told: SlotSurroundings,
  given: Surroundings.Given | undefined
): Promise<Surrounded> => {
  if (told.globalsPath !== "") Surroundings.defineGlobals(readGlobals(told.globalsPath))
  const { definitions, modules: files } = Surroundings.readDepends(told.dependsPath)
  const modules = await Surroundings.importModules(files)
  const module = await importCode(code)
  const classes = module?.["__dispyClasses"] as Definitions.Scope | undefined
  const defined = Surroundings.define(definitions, modules, classes)
  const state = given === undefined
    ? readState(told.statePath, defined.classes)
    : Surroundings.takeState(given, defined.classes)
  Surroundings.defineGlobals(state.globals)
  return { module, around: { ...defined, shared: state.shared }, state }
}

/** What the node's owner wants all jobs to have. */
const readGlobals = (file: string): Surroundings.State["globals"] =>
  Values.decode(fs.readFileSync(file)) as Surroundings.State["globals"]

const readState = (statePath: string, classes: Surroundings.Surroundings["classes"]): Surroundings.State =>
  statePath === "" ? Surroundings.noState : Surroundings.decodeState(fs.readFileSync(statePath), classes)

/**
 * Loads code with what is around it. `state` is what `setup` left when it is in this process already; otherwise it is
 * read where `told` says.
 */
export const loadCode = async (
  code: SlotCode,
  told: SlotSurroundings,
  state?: Surroundings.Given
): Promise<Loaded> => {
  const { around, module } = await surround(code, told, state)
  return { call: callOf(code, module, around), around }
}

/** Arguments of `setup`, `setupSlot` and `cleanup`. */
export const setupArgs = (
  argsPath: string,
  classes: Surroundings.Surroundings["classes"]
): ReadonlyArray<unknown> => argsPath === "" ? [] : Values.decodeArgs(fs.readFileSync(argsPath), classes)

/** A call outside of any job has nobody to send provisional results to. */
const ignore = (): void => {}

/** Calls one of the three; throws what it threw, or why it counts as failed. */
export const callSetup = async (call: Call, args: ReadonlyArray<unknown>): Promise<unknown> => {
  const result = await call(args, ignore)
  if (typeof result !== "number") return result
  if (result !== 0) throw new LoadError(`it returned ${result}, and a number other than 0 means that it failed`)
  return undefined
}

const runSetupSlot = async (
  code: SlotCode,
  prepare: PrepareSlot,
  around: Surroundings.Surroundings,
  onBegin: () => void
): Promise<void> => {
  JobGlobal.installOutside(prepare, around.shared)
  try {
    const call = callOf(code, await importCode(code), around)
    const args = setupArgs(prepare.setupArgsPath, around.classes)
    onBegin()
    await callSetup(call, args)
  } catch (error) {
    throw new LoadError(`setupSlot failed: ${Stack.describeWithPlace(error)}`)
  }
}

const loadAny = async (prepare: PrepareSlot, given: Surroundings.Given | undefined): Promise<Loaded> => {
  if (prepare.kind !== "program") return loadCode(prepare, prepare, given)
  const { around, state } = await surround(prepare, prepare, given)
  // Loading `child_process` costs start-up time and makes every job's output worth a second look: not for the others.
  return { call: (await import("./Program.ts")).load(prepare, state.globals), around }
}

/**
 * Loads what `prepare` names and runs `setupSlot`, of whose beginning `onSetupSlot` hears; throws what the user's code
 * threw, or a `LoadError`.
 */
export const load = async (
  prepare: PrepareSlot,
  onSetupSlot: () => void,
  state?: Surroundings.Given
): Promise<Loaded> => {
  const loaded = await loadAny(prepare, state)
  if (prepare.setupSlot !== null) await runSetupSlot(prepare.setupSlot, prepare, loaded.around, onSetupSlot)
  return loaded
}
