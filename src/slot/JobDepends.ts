/** What a single job takes along: functions and classes that are globals while it runs, and not any more after it. */
import { split } from "../domain/wire/JobDepends.ts"
import * as ClassTable from "./ClassTable.ts"
import * as Definitions from "./Definitions.ts"
import type { Surroundings } from "./Surroundings.ts"
import * as Values from "./Values.ts"

/** A job whose functions and classes are there. */
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
}

/** What running jobs gave to each global, the last one in force, and what it was before. */
const globals = new Map<string, { readonly before: PropertyDescriptor | undefined; given: ReadonlyArray<Given> }>()

const enforce = (name: string, { value }: Given): void => {
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
  if (known.before === undefined) Reflect.deleteProperty(globalThis, name)
  else Reflect.defineProperty(globalThis, name, known.before)
}

/** Reads the definitions in front of the arguments and makes them globals. */
export const enter = (bytes: Uint8Array, around: Pick<Surroundings, "scope" | "classes">): Entered => {
  const parts = split(bytes)
  if (parts === undefined) throw new Values.InvalidValue("definitions and arguments are expected", 0)
  const definitions = Values.decode(parts.definitions) as ReadonlyArray<Definitions.Definition>
  const { classes, values } = Definitions.define(definitions, around.scope)
  const given = Object.entries(values).map(([name, value]) => [name, { value }] as const)
  for (const [name, one] of given) give(name, one)
  return {
    args: parts.args,
    classes: ClassTable.extend(around.classes, classes),
    leave: () => {
      for (const [name, one] of given) take(name, one)
    }
  }
}
