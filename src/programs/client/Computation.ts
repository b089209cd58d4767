/**
 * What users can run: a function, an export of a module, a program. `pack` turns
 * it into what travels to the nodes.
 */
import { Effect } from "effect"
import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import type { Code, Lifecycle, LocalFiles } from "../../domain/Computation.ts"
import {
  type ComputationError,
  ComputationTooLarge,
  ModuleIsProgram,
  NotAFunction,
  NotCloneable
} from "../../domain/ComputationError.ts"
import { maxCodeBytes } from "../../domain/NodeInfo.ts"
import * as DependFiles from "../../layers/computation/DependFiles.ts"
import * as FunctionSource from "../../layers/computation/FunctionSource.ts"
import * as ModuleBundle from "../../layers/computation/ModuleBundle.ts"
import * as Program from "../../layers/computation/Program.ts"
import * as ClassTable from "../../slot/ClassTable.ts"
import * as Values from "../../slot/Values.ts"
import * as Depends from "./Depends.ts"

/** A function of any kind. */
// oxlint-disable-next-line typescript/no-explicit-any -- users' functions are contravariant in their parameters
export type AnyFunction = (...args: Array<any>) => unknown

/** A module's export: bundled with its imports and sent once. */
export interface ModuleComputation<F extends AnyFunction> {
  readonly _tag: "ModuleComputation"
  readonly module: URL | string
  readonly exportName: string
  /** Only in the types: the function behind the export. */
  readonly Function?: F
}

/** A program: run once per job with string arguments; the result is its exit status. */
export interface ProgramComputation {
  readonly _tag: "ProgramComputation"
  readonly program: string
}

/** A function with the values of outer variables that it uses. */
export interface FunctionComputation<F extends AnyFunction> {
  readonly _tag: "FunctionComputation"
  readonly function: F
  readonly captures: Record<string, unknown>
}

/** Everything a cluster can run; a bare string is a program. */
export type Input =
  | AnyFunction
  | string
  | ModuleComputation<AnyFunction>
  | ProgramComputation
  | FunctionComputation<AnyFunction>

/** Parameters that jobs of this computation take. */
export type Args<C extends Input> = C extends AnyFunction ? Parameters<C>
  : C extends FunctionComputation<infer F> ? Parameters<F>
  : C extends ModuleComputation<infer F> ? Parameters<F>
  : Array<string>

type Returned<T> = T extends Generator<unknown, infer R, never> ? R
  : T extends AsyncGenerator<unknown, infer R, never> ? R
  : Awaited<T>

/** What jobs of this computation result in; a number (exit status) for programs. */
export type Success<C extends Input> = C extends AnyFunction ? Returned<ReturnType<C>>
  : C extends FunctionComputation<infer F> ? Returned<ReturnType<F>>
  : C extends ModuleComputation<infer F> ? Returned<ReturnType<F>>
  : number

/**
 * An export of a module, bundled with everything it imports: local files, npm packages, TypeScript.
 *
 * @param module where the module is: `new URL("./render.ts", import.meta.url)`, or a path from the current directory
 * @param exportName name of the exported function; `"default"` for the default export
 * @example
 * ```ts
 * import { Computation } from "dispy"
 *
 * const render = Computation.fromModule<(row: number) => Uint8Array>(new URL("./render.ts", import.meta.url), "render")
 * ```
 */
export const fromModule = <F extends AnyFunction = AnyFunction>(
  module: URL | string,
  exportName = "default"
): ModuleComputation<F> => ({ _tag: "ModuleComputation", module, exportName })

/**
 * A program. With a path separator it is a file of this machine, which is sent to the nodes (`./simulate.sh`);
 * without it is a command that every node has on its PATH (`ffmpeg`).
 */
export const program = (path: string): ProgramComputation => ({ _tag: "ProgramComputation", program: path })

/**
 * A function that uses variables from outside itself: their values are copied and sent along once.
 *
 * @example
 * ```ts
 * import { Computation } from "dispy"
 *
 * const factor = 3
 * const scale = Computation.fromFunction((n: number) => n * factor, { captures: { factor } })
 * ```
 */
export const fromFunction = <F extends AnyFunction>(
  fn: F,
  options: { readonly captures: Record<string, unknown> }
): FunctionComputation<F> => ({ _tag: "FunctionComputation", function: fn, captures: options.captures })

type Yielded<T> = T extends Generator<infer Y, unknown, never> ? Y :
  T extends AsyncGenerator<infer Y, unknown, never> ? Y
  : unknown

/** Provisional results of jobs of this computation: what a generator yields. */
export type Provisional<C extends Input> = C extends AnyFunction ? Yielded<ReturnType<C>>
  : C extends FunctionComputation<infer F> ? Yielded<ReturnType<F>>
  : C extends ModuleComputation<infer F> ? Yielded<ReturnType<F>>
  : never

/** What runs beside the jobs: a function, with or without captures, or a module's export. */
export type LifecycleInput = AnyFunction | FunctionComputation<AnyFunction> | ModuleComputation<AnyFunction>

/** What goes along with a computation. */
export interface Around {
  readonly depends: ReadonlyArray<unknown>
  readonly setup: LifecycleInput | undefined
  readonly setupSlot: LifecycleInput | undefined
  readonly cleanup: LifecycleInput | undefined
  readonly setupArgs: ReadonlyArray<unknown>
  readonly setupTimeoutMillis: number
}

/** Code ready to travel. */
interface PackedCode {
  readonly name: string
  readonly code: Code
}

/** A computation ready to travel. */
export interface Packed extends PackedCode {
  readonly depends: Depends.Packed
  /** Classes whose instances arrive as such, at both ends. */
  readonly classes: ClassTable.ClassTable | undefined
  readonly lifecycle: Lifecycle | undefined
  /** Files that it takes along; undefined for none. */
  readonly files: LocalFiles | undefined
  /** Encoded; undefined for none. */
  readonly setupArgs: Uint8Array | undefined
}

/** What code can use of what goes along. */
interface Available {
  readonly depends: Depends.Packed
  readonly classes: ClassTable.ClassTable | undefined
}

const encodeFor = (
  what: string,
  encode: () => Uint8Array
): Effect.Effect<Uint8Array, NotCloneable> =>
  Effect.try({
    try: encode,
    catch: (cause) => {
      if (!(cause instanceof Values.NotCloneable)) throw cause
      return new NotCloneable({ what, path: cause.path, type: cause.type })
    }
  })

const packFunction = Effect.fnUntraced(function*(
  fn: AnyFunction,
  captures: Record<string, unknown>,
  { classes, depends }: Available
): Effect.fn.Return<PackedCode, ComputationError> {
  const { name, source } = yield* FunctionSource.analyse(fn, { captures, depends: depends.names })
  const encoded = yield* encodeFor(`captures of ${name}`, () => Values.encode(captures, "value", classes))
  return { name, code: { _tag: "FunctionCode", source, captures: encoded } }
})

/** Whether the module is the file with which this process was started. */
const isMainProgram = (module: URL | string): boolean => {
  const main = process.argv[1]
  if (main === undefined) return false
  const file = module instanceof URL || module.startsWith("file:") ? fileURLToPath(module) : resolve(module)
  return file === resolve(main)
}

const packModule = Effect.fnUntraced(function*(
  computation: ModuleComputation<AnyFunction>,
  { depends }: Available
): Effect.fn.Return<PackedCode, ComputationError> {
  const { exportName, module } = computation
  if (isMainProgram(module)) return yield* new ModuleIsProgram({ module: String(module) })
  const { code } = yield* ModuleBundle.bundle({
    module,
    exportName,
    classNames: depends.definitions.filter(({ kind }) => kind === "class").map(({ name }) => name),
    importable: depends.modules.map(({ name }) => name)
  })
  return { name: exportName, code: { _tag: "ModuleCode", code, exportName } }
})

const packProgram = Effect.fnUntraced(function*(path: string): Effect.fn.Return<PackedCode, ComputationError> {
  const found = yield* Program.resolve(path)
  return {
    name: found.name,
    code: {
      _tag: "ProgramCode",
      program: found.name,
      ...(found.bytes === undefined ? {} : { bytes: found.bytes }),
      ...(found.runner === undefined ? {} : { runner: found.runner })
    }
  }
})

/** Bytes that the code takes on its way. */
const sizeOf = (code: Code): number => {
  switch (code._tag) {
    case "FunctionCode":
      return code.source.length + code.captures.length
    case "ModuleCode":
      return code.code.length
    case "ProgramCode":
      return code.bytes?.length ?? 0
  }
}

/** Bytes that everything takes on its way. */
const totalOf = ({ code, depends, lifecycle, setupArgs }: Omit<Packed, "name" | "classes" | "files">): number => {
  const { cleanup, setup, setupSlot } = lifecycle ?? {}
  let size = setupArgs?.length ?? 0
  for (const one of [code, setup, setupSlot, cleanup]) size += one === undefined ? 0 : sizeOf(one)
  for (const { source } of depends.definitions) size += source.length
  for (const one of depends.modules) size += one.code.length
  return size
}

const packLifecycle = Effect.fnUntraced(function*(
  around: Around,
  available: Available
): Effect.fn.Return<Lifecycle | undefined, ComputationError> {
  const code: { setup?: Code; setupSlot?: Code; cleanup?: Code } = {}
  for (const role of ["setup", "setupSlot", "cleanup"] as const) {
    const input = around[role]
    if (input !== undefined) code[role] = (yield* packAny(input, available)).code
  }
  return Object.keys(code).length === 0 ? undefined : { ...code, timeoutMillis: around.setupTimeoutMillis }
})

/** Makes a computation ready to travel; what is wrong with it is found here, before anything is sent. */
export const pack = Effect.fnUntraced(function*(
  computation: Input,
  around: Around,
  maxFileBytes: number
): Effect.fn.Return<Packed, ComputationError> {
  const paths = around.depends.filter(Depends.isPath)
  const depends = yield* Depends.pack(around.depends.filter((entry) => !Depends.isPath(entry)))
  const available = { depends, classes: ClassTable.make(depends.classes) }
  const { code, name } = yield* packAny(computation, available)
  const lifecycle = yield* packLifecycle(around, available)
  const { classes } = available
  const setupArgs = around.setupArgs.length === 0
    ? undefined
    : yield* encodeFor("setupArgs", () => Values.encodeArgs(around.setupArgs, classes))
  const packed = { code, depends, lifecycle, setupArgs }
  const sizeBytes = totalOf(packed)
  if (sizeBytes > maxCodeBytes) {
    return yield* new ComputationTooLarge({ computation: name, sizeBytes, limitBytes: maxCodeBytes })
  }
  const files = paths.length === 0 ? undefined : yield* DependFiles.gather(paths, maxFileBytes)
  return { ...packed, name, classes, files }
})

const packAny = (computation: Input, available: Available): Effect.Effect<PackedCode, ComputationError> => {
  if (typeof computation === "function") return packFunction(computation, {}, available)
  if (typeof computation === "string") return packProgram(computation)
  switch (computation?._tag) {
    case "FunctionComputation":
      return packFunction(computation.function, computation.captures, available)
    case "ModuleComputation":
      return packModule(computation, available)
    case "ProgramComputation":
      return packProgram(computation.program)
  }
  return Effect.fail(new NotAFunction({ received: describe(computation) }))
}

const describe = (value: unknown): string =>
  value === null || value === undefined
    ? String(value)
    : Array.isArray(value)
    ? "an array"
    : `${typeof value === "object" ? "an" : "a"} ${typeof value}`
