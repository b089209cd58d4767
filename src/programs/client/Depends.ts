/**
 * What a computation, or a single job, takes along: functions, classes, the classes of instances, and modules. `pack`
 * makes them ready to travel; what is wrong with them is found here, before anything is sent.
 */
import { Effect } from "effect"
import { isBuiltin } from "node:module"
import { resolve } from "node:path"
import { inspect } from "node:util"
import type { Definition, ImportableModule } from "../../domain/Computation.ts"
import {
  type ComputationError,
  type FileNotUsable,
  type FreeVariables,
  InvalidDepend,
  ModuleNotFound,
  type NotAFunction,
  type UnsupportedFunction
} from "../../domain/ComputationError.ts"
import * as DefinitionOrder from "../../domain/DefinitionOrder.ts"
import type { JobDetails } from "../../domain/recovery/JobEntries.ts"
import type { GatherFiles } from "../../domain/scheduler/JobRecord.ts"
import { moduleFile } from "../../domain/wire/JobDepends.ts"
import * as DependFiles from "../../layers/computation/DependFiles.ts"
import * as FunctionSource from "../../layers/computation/FunctionSource.ts"
import * as KnownGlobals from "../../layers/computation/KnownGlobals.ts"
import * as ModuleBundle from "../../layers/computation/ModuleBundle.ts"
import * as ClassTable from "../../slot/ClassTable.ts"

/** A module that jobs import by a name. */
export interface ModuleDepend {
  readonly _tag: "ModuleDepend"
  readonly module: URL | string
  readonly name: string
}

/** A function, a class, an instance of a class, a module, or the path or `file:` URL of a file or directory. */
export type Depend = object | string

/**
 * A module for `depends`: bundled with everything that it imports, sent once, and there for jobs as `await import(name)`
 * and, in functions, as the variable `name`. For programs it lies as `name.mjs` in the working directory.
 *
 * @param module where the module is: `new URL("./stats.ts", import.meta.url)`, or a path from the current directory
 * @param name by which jobs know it; the name of a variable
 * @example
 * ```ts
 * import { Depends } from "dispy"
 *
 * const stats = Depends.module(new URL("./stats.ts", import.meta.url), "stats")
 * ```
 */
export const module = (from: URL | string, name: string): ModuleDepend => ({ _tag: "ModuleDepend", module: from, name })

/** Whether an entry is a file or directory, which travels by itself. */
export const isPath = (entry: unknown): entry is string | URL => typeof entry === "string" || entry instanceof URL

/** Depends ready to travel. */
export interface Packed {
  readonly definitions: ReadonlyArray<Definition>
  readonly modules: ReadonlyArray<ImportableModule>
  /** Names that computations may use. */
  readonly names: ReadonlyArray<string>
  /** The user's own classes, in the order of their definitions. */
  readonly classes: ReadonlyArray<ClassTable.RegisteredClass>
}

/** Nothing. */
export const none: Packed = { definitions: [], modules: [], names: [], classes: [] }

/** What can be wrong with functions and classes. */
export type DependError = InvalidDepend | NotAFunction | UnsupportedFunction | FreeVariables

/** What can be wrong with what a single job takes along. */
export type JobDependError = DependError | FileNotUsable | ModuleNotFound

const isModule = (entry: unknown): entry is ModuleDepend =>
  typeof entry === "object" && entry !== null && "_tag" in entry && entry._tag === "ModuleDepend" && "module" in entry

const isVariable = (name: unknown): name is string =>
  typeof name === "string" && /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name)

const show = (entry: unknown): string => {
  if (typeof entry === "function") {
    if (entry.name === "") return FunctionSource.isClass(entry) ? "an anonymous class" : "an anonymous function"
    return `${FunctionSource.isClass(entry) ? "class" : "function"} ${entry.name}`
  }
  return inspect(entry, { depth: 0, maxStringLength: 80, breakLength: Infinity, customInspect: false })
}

const invalid = (entry: unknown, reason: string) => new InvalidDepend({ entry: show(entry), reason })

/** The class of an instance, or why it has none. */
const classOf = (entry: object): Function | string => {
  const prototype: unknown = Object.getPrototypeOf(entry)
  if (prototype === null || prototype === Object.prototype) {
    return "it is a plain object; pass it as an argument, or in the captures of Computation.fromFunction"
  }
  const found: unknown = (prototype as { readonly constructor?: unknown }).constructor
  return FunctionSource.isClass(found) && found.prototype === prototype
    ? found
    : "it is neither a function nor a class, nor an instance of a class of yours, nor Depends.module(…)"
}

/** The user's classes that a class extends, the nearest first. */
const basesOf = (one: Function): ReadonlyArray<Function> => {
  const base: unknown = Object.getPrototypeOf(one)
  return FunctionSource.isClass(base) ? [base, ...basesOf(base)] : []
}

/** The functions and classes among the entries, each once, with the bases of classes. */
const definedOf = Effect.fnUntraced(function*(
  entries: ReadonlyArray<unknown>,
  taken: ReadonlyArray<string>
): Effect.fn.Return<ReadonlyArray<Function>, InvalidDepend> {
  const found = new Map<string, Function>()
  for (const entry of entries) {
    const one = typeof entry === "function"
      ? entry
      : typeof entry === "object" && entry !== null
      ? classOf(entry)
      : "it is neither a function nor a class, nor an instance of a class of yours, nor Depends.module(…)"
    if (typeof one === "string") return yield* invalid(entry, one)
    for (const each of FunctionSource.isClass(one) ? [...basesOf(one).toReversed(), one] : [one]) {
      const { name } = each
      if (name === "") return yield* invalid(each, "others find it by its name; give it one")
      if (taken.includes(name) || (found.has(name) && found.get(name) !== each)) {
        return yield* invalid(each, "there is another of this name; rename one of them")
      }
      found.set(name, each)
    }
  }
  return [...found.values()]
})

/** Whether a class or one of its bases has private members. */
const hasPrivates = (one: Function, own: ReadonlyMap<Function, FunctionSource.Defined>): boolean =>
  [one, ...basesOf(one)].some((each) => own.get(each)?.hasPrivates === true)

/**
 * Makes functions, classes and instances ready to travel. They may use each other and what `around` has.
 */
export const define = Effect.fnUntraced(function*(
  entries: ReadonlyArray<unknown>,
  around: Packed = none
): Effect.fn.Return<Packed, DependError> {
  const functions = yield* definedOf(entries, around.names)
  const names = [...around.names, ...functions.map((one) => one.name)]
  const byName = new Map(functions.map((one) => [one.name, one]))
  const own = new Map<Function, FunctionSource.Defined>()
  for (const one of functions) {
    // Only a half of them would be of no use, and lose the state without a word.
    if (FunctionSource.isClass(one) && (ClassTable.encodeKey in one.prototype) !== (ClassTable.decodeKey in one)) {
      return yield* invalid(
        one,
        "it has only one of the method [Symbol.for(\"dispy.encode\")] and the static [Symbol.for(\"dispy.decode\")]"
      )
    }
    own.set(one, yield* FunctionSource.define(one, names))
  }
  const groups = DefinitionOrder.order([...own.values()])
  if ("names" in groups) {
    const [first, ...others] = groups.names
    return yield* invalid(
      byName.get(first!),
      `its definition needs ${others.join(", ") || first}, whose definition needs ${first}; use them in methods only`
    )
  }
  const classes: Array<ClassTable.RegisteredClass> = []
  const definitions = groups.flatMap((group, number) =>
    group.map(({ kind, name, source }): Definition => {
      const one = byName.get(name)!
      const isPrivate = kind === "class" && hasPrivates(one, own)
      if (kind === "class") classes.push({ class: one, hasPrivates: isPrivate })
      return {
        kind,
        name,
        source,
        ...(group.length > 1 ? { group: number } : {}),
        ...(isPrivate ? { hasPrivates: true } : {})
      }
    })
  )
  return { definitions, modules: [], names, classes }
})

/** What is wrong with the name of a module; undefined when nothing is. */
const problemOf = ({ name }: ModuleDepend, taken: ReadonlyArray<string>): string | undefined =>
  !isVariable(name)
    ? "its name must be that of a variable"
    : isBuiltin(name)
    ? `Node has a module ${name}; choose another name`
    : taken.includes(name)
    ? `there is another of the name ${name}; rename one of them`
    : undefined

/** The modules among the entries, each under a name of its own. */
const modulesOf = Effect.fnUntraced(function*(
  entries: ReadonlyArray<unknown>,
  taken: ReadonlyArray<string>
): Effect.fn.Return<ReadonlyArray<ModuleDepend>, InvalidDepend> {
  const modules = entries.filter(isModule)
  for (const [i, one] of modules.entries()) {
    const reason = problemOf(one, [...taken, ...modules.slice(0, i).map(({ name }) => name)])
    if (reason !== undefined) return yield* new InvalidDepend({ entry: `module ${one.name}`, reason })
  }
  return modules
})

/** Makes all entries ready to travel. */
export const pack = Effect.fnUntraced(function*(
  entries: ReadonlyArray<unknown>
): Effect.fn.Return<Packed, ComputationError> {
  const modules: Array<ImportableModule> = []
  for (const { module: from, name } of yield* modulesOf(entries, [])) {
    const { code } = yield* ModuleBundle.bundleAll(from)
    modules.push({ name, code })
  }
  const names = modules.map(({ name }) => name)
  const packed = yield* define(entries.filter((entry) => !isModule(entry)), { ...none, names })
  return { ...packed, modules }
})

/** What a single job takes along. */
export interface PackedForJob {
  readonly definitions: ReadonlyArray<Definition>
  readonly classes: ReadonlyArray<ClassTable.RegisteredClass>
  /** Names of the modules that are among its files. */
  readonly modules: ReadonlyArray<string>
  /** Undefined for none. */
  readonly files: GatherFiles | undefined
}

/** Where the files and modules of a job are from, for another process; undefined for none. */
export const originOf = (entries: ReadonlyArray<unknown>, maxFileBytes: number): JobDetails["takes"] => {
  const paths = entries.filter(isPath).map(DependFiles.pathOf)
  const modules = entries.filter(isModule).map(({ module: from, name }) => ({
    name,
    module: from instanceof URL || from.startsWith("file:") ? String(from) : resolve(from)
  }))
  return paths.length + modules.length === 0 ? undefined : { directory: process.cwd(), paths, modules, maxFileBytes }
}

/** The files and modules of a job whose origin another process wrote down. */
export const filesFrom = ({ directory, maxFileBytes, modules, paths }: NonNullable<JobDetails["takes"]>) =>
  filesOf(paths, modules.map((one) => ({ _tag: "ModuleDepend", ...one })), maxFileBytes, directory)

/** The files that a job of a function or of a program finds in its working directory; modules are bundled once. */
const filesOf = (
  paths: ReadonlyArray<string | URL>,
  modules: ReadonlyArray<ModuleDepend>,
  maxFileBytes: number,
  here?: string
): GatherFiles | undefined => {
  if (paths.length + modules.length === 0) return undefined
  const bundle = ({ module: from, name }: ModuleDepend) =>
    Effect.map(ModuleBundle.bundleAll(from), ({ code }): DependFiles.MadeFile => ({
      target: moduleFile(name),
      bytes: Buffer.from(code)
    }))
  const bundled = Effect.runSync(Effect.cached(Effect.forEach(modules, bundle)))
  return Effect.flatMap(bundled, (made) => DependFiles.gather(paths, maxFileBytes, made, here))
}

/**
 * What a single job takes along. Functions, classes and modules are globals while it runs; files and directories lie in
 * its working directory. A program takes modules and files only. What is wrong with files when the job is sent is the
 * job's error; what can be seen now is told now.
 */
export const packForJob = Effect.fnUntraced(function*(
  entries: ReadonlyArray<unknown>,
  around: Packed,
  { isProgram, maxFileBytes }: { readonly isProgram: boolean; readonly maxFileBytes: number }
): Effect.fn.Return<PackedForJob, JobDependError> {
  const paths = entries.filter(isPath)
  for (const path of paths) {
    const problem = DependFiles.problem(path)
    if (problem !== undefined) return yield* problem
  }
  const modules = yield* modulesOf(entries, around.names)
  for (const { module: from } of modules) {
    if (!ModuleBundle.isThere(from)) return yield* new ModuleNotFound({ module: String(from) })
  }
  const others = entries.filter((entry) => !isModule(entry) && !isPath(entry))
  const [first] = others
  if (isProgram && first !== undefined) {
    return yield* invalid(first, "a program takes files and modules along, no functions and classes")
  }
  const names = modules.map(({ name }) => name)
  const { classes, definitions } = yield* define(others, { ...around, names: [...around.names, ...names] })
  const known = isProgram ?
    undefined :
    [...definitions.map(({ name }) => name), ...names].find((name) => KnownGlobals.names.has(name))
  if (known !== undefined) {
    const kind = definitions.find(({ name }) => name === known)?.kind ?? "module"
    return yield* new InvalidDepend({
      entry: `${kind} ${known}`,
      reason:
        "it would replace a global of that name while the job runs; rename it, or list it in the cluster's depends"
    })
  }
  return { definitions, classes, modules: names, files: filesOf(paths, modules, maxFileBytes) }
})
