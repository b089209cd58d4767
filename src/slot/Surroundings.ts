/**
 * What the code of a computation finds around it in a process: the functions, classes and modules of `depends`, and what
 * `setup` left.
 */
import * as fs from "node:fs"
import * as nodeModule from "node:module"
import { pathToFileURL } from "node:url"
import * as ClassTable from "./ClassTable.ts"
import * as Definitions from "./Definitions.ts"
import * as Values from "./Values.ts"

/** The `depends` of a computation as a node keeps them in a file, as JSON. */
export interface DependsFile {
  readonly definitions: ReadonlyArray<Definitions.Definition>
  readonly modules: ReadonlyArray<{ readonly name: string; readonly path: string }>
}

/** What `setup` left. */
export interface State {
  readonly shared: unknown
  /** The globals that it made, by name. */
  readonly globals: Readonly<Record<string, unknown>>
}

/** What the code of a computation finds around it. */
export interface Surroundings {
  /** Functions, classes and modules by name. */
  readonly scope: Definitions.Scope
  readonly classes: ClassTable.ClassTable | undefined
  readonly shared: unknown
}

/** A process with nothing around the code. */
export const none: Surroundings = { scope: {}, classes: undefined, shared: undefined }

/** No `setup`, or one that left nothing. */
export const noState: State = { shared: undefined, globals: {} }

/** Modules that can be imported by name. */
const importable = new Map<string, string>()
let isHooked = false

/** Lets `import("stats")` find modules of `depends`. */
export const makeImportable = (modules: Iterable<readonly [name: string, url: string]>): void => {
  if (!isHooked) {
    isHooked = true
    nodeModule.registerHooks({
      resolve: (specifier, context, next) => {
        const url = importable.get(specifier)
        return url === undefined ? next(specifier, context) : { url, format: "module", shortCircuit: true }
      }
    })
  }
  for (const [name, url] of modules) importable.set(name, url)
}

/** A module cannot be imported by name any more. */
export const endImportable = (name: string): void => {
  importable.delete(name)
}

/** The modules of `depends` by name. */
export const importModules = async (modules: DependsFile["modules"]): Promise<Definitions.Scope> => {
  if (modules.length === 0) return {}
  process.setSourceMapsEnabled(true)
  makeImportable(modules.map(({ name, path }) => [name, pathToFileURL(path).href]))
  const scope: Record<string, unknown> = {}
  for (const { name, path } of modules) scope[name] = await import(pathToFileURL(path).href)
  return scope
}

/** Reads a file of `depends`; an empty path is none. */
export const readDepends = (dependsPath: string): DependsFile =>
  dependsPath === ""
    ? { definitions: [], modules: [] }
    : JSON.parse(fs.readFileSync(dependsPath, "utf8")) as DependsFile

/** The classes that modules export: the first of a name counts. */
const exportedBy = (modules: ReadonlyArray<object>): Definitions.Scope =>
  Object.assign({}, ...modules.toReversed()) as Definitions.Scope

/** Defines functions and classes; classes are those of `code`, or of the modules, where these export one of the name. */
export const define = (
  definitions: ReadonlyArray<Definitions.Definition>,
  modules: Definitions.Scope,
  code: Definitions.Scope | undefined
): Omit<Surroundings, "shared"> => {
  const exported = [...code === undefined ? [] : [code], ...Object.values(modules).map(Object)]
  const known = Object.fromEntries(
    Object.entries(exportedBy(exported)).filter(([, value]) => typeof value === "function")
  )
  const { classes, values } = Definitions.define(definitions, modules, known)
  return { scope: { ...modules, ...values }, classes: ClassTable.make(classes) }
}

/** A message for people: something that `setup` left cannot reach other processes. */
export class StateError extends Error {
  override readonly name = "LoadError"
}

/** The bytes of a state; throws an error that names what cannot be copied. */
export const encodeState = (
  state: State,
  classes: ClassTable.ClassTable | undefined,
  memory?: Array<SharedArrayBuffer>
): Uint8Array => {
  try {
    return Values.encode(state, "state", classes, memory)
  } catch (error) {
    if (!(error instanceof Values.NotCloneable)) throw error
    const isShared = error.path.startsWith("state.shared")
    const place = error.path.replace(/^state\.(shared|globals)/, isShared ? "the value that it returned" : "globalThis")
    throw new StateError(
      `what it left cannot be copied to the jobs' processes: ${place} is a ${error.type}; make it in setupSlot, which ` +
        "runs in every such process"
    )
  }
}

/** The state of some bytes. */
export const decodeState = (
  bytes: Uint8Array,
  classes: ClassTable.ClassTable | undefined,
  memory?: ReadonlyArray<SharedArrayBuffer>
): State => {
  const { globals, shared } = Values.decode(bytes, classes, memory) as State
  return { globals, shared }
}

/** A state with instances on its way to the threads of this process: by structured clone these would be none. */
export interface PassedState {
  readonly bytes: Uint8Array
  /** Its shared memory, which is not copied. */
  readonly memory: ReadonlyArray<SharedArrayBuffer>
}

/** What `setup` left, in memory. */
export type Given = State | PassedState

/** Makes a state ready for the threads of this process. */
export const passState = (state: State, classes: ClassTable.ClassTable | undefined): Given => {
  if (classes === undefined) return state
  const memory: Array<SharedArrayBuffer> = []
  return { bytes: encodeState(state, classes, memory), memory }
}

/** The state as a thread has it. */
export const takeState = (given: Given, classes: ClassTable.ClassTable | undefined): State =>
  "bytes" in given ? decodeState(given.bytes, classes, given.memory) : given

/** Makes globals of these names and values. */
export const defineGlobals = (globals: Readonly<Record<string, unknown>>): void => {
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, enumerable: true, writable: true })
  }
}

/** The globals there are now that were not there. */
export const newGlobals = (before: ReadonlySet<string>): Readonly<Record<string, unknown>> => {
  const names = Object.getOwnPropertyNames(globalThis).filter((name) => !before.has(name))
  return Object.fromEntries(names.map((name) => [name, Reflect.get(globalThis, name)]))
}
