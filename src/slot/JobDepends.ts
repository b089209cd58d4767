/** What a single job takes along: functions, classes and modules that are globals while it runs, and not after it. */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { moduleFile, split } from "../domain/wire/JobDepends.ts"
import * as ClassTable from "./ClassTable.ts"
import * as Definitions from "./Definitions.ts"
import * as Surroundings from "./Surroundings.ts"
import * as Values from "./Values.ts"

type Around = Pick<Surroundings.Surroundings, "scope" | "classes">

/** A job whose functions, classes and modules are there. */
export interface Entered {
  readonly args: Uint8Array
  /** The classes of the computation and those of the job. */
  readonly classes: ClassTable.ClassTable | undefined
  /** Takes the globals away again. */
  readonly leave: () => void
}

/** A value that a running job gave to a global. */
interface Given {
  readonly value: unknown
  /** Of a module. */
  readonly url: string | undefined
}

/** What running jobs gave to each global, the last one in force, and what it was before. */
const globals = new Map<string, { readonly before: PropertyDescriptor | undefined; given: ReadonlyArray<Given> }>()

const enforce = (name: string, { url, value }: Given): void => {
  if (url !== undefined) Surroundings.makeImportable([[name, url]])
  Object.defineProperty(globalThis, name, { value, configurable: true, enumerable: false, writable: true })
}

const give = (name: string, given: Given): void => {
  const known = globals.get(name) ?? { before: Object.getOwnPropertyDescriptor(globalThis, name), given: [] }
  globals.set(name, known)
  known.given = [...known.given, given]
  enforce(name, given)
}

/** Jobs of one slot may run at the same time: the global is what the last of those has that still run. */
const take = (name: string, given: Given): void => {
  const known = globals.get(name)!
  known.given = known.given.filter((one) => one !== given)
  const last = known.given.at(-1)
  if (last !== undefined) return enforce(name, last)
  globals.delete(name)
  if (given.url !== undefined) Surroundings.endImportable(name)
  if (known.before === undefined) Reflect.deleteProperty(globalThis, name)
  else Reflect.defineProperty(globalThis, name, known.before)
}

/** What a job takes along, as its client sent it. */
interface TakenAlong {
  readonly definitions: ReadonlyArray<Definitions.Definition>
  /** Names of modules in the working directory. */
  readonly modules: ReadonlyArray<string>
}

/** A module is loaded once per content, whichever job brought it. */
const urlOf = (directory: string, name: string): string => {
  const file = path.join(directory, moduleFile(name))
  const hash = createHash("sha256").update(fs.readFileSync(file)).digest("hex")
  return `${pathToFileURL(file).href}?${hash}`
}

const importAll = async (directory: string, names: ReadonlyArray<string>): Promise<Readonly<Record<string, Given>>> => {
  process.setSourceMapsEnabled(true)
  const modules: Record<string, Given> = {}
  for (const name of names) {
    const url = urlOf(directory, name)
    modules[name] = { url, value: await import(url) }
  }
  return modules
}

const valuesOf = (given: Readonly<Record<string, Given>>): Definitions.Scope =>
  Object.fromEntries(Object.entries(given).map(([name, { value }]) => [name, value]))

const enterWith = (
  { definitions }: TakenAlong,
  modules: Readonly<Record<string, Given>>,
  args: Uint8Array,
  around: Around
): Entered => {
  const { classes, values } = Definitions.define(definitions, { ...around.scope, ...valuesOf(modules) })
  const given = [
    ...Object.entries(modules),
    ...Object.entries(values).map(([name, value]): [string, Given] => [name, { value, url: undefined }])
  ]
  for (const [name, one] of given) give(name, one)
  return {
    args,
    classes: ClassTable.extend(around.classes, classes),
    leave: () => {
      for (const [name, one] of given) take(name, one)
    }
  }
}

/** Reads the definitions in front of the arguments and makes them globals; modules take a moment. */
export const enter = (bytes: Uint8Array, around: Around, directory: string): Entered | Promise<Entered> => {
  const parts = split(bytes)
  if (parts === undefined) throw new Values.InvalidValue("definitions and arguments are expected", 0)
  const along = Values.decode(parts.definitions) as TakenAlong
  if (along.modules.length === 0) return enterWith(along, {}, parts.args, around)
  return importAll(directory, along.modules).then((modules) => enterWith(along, modules, parts.args, around))
}
