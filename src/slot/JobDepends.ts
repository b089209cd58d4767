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

/** Reads the definitions in front of the arguments and makes them globals. */
export const enter = (bytes: Uint8Array, around: Pick<Surroundings, "scope" | "classes">): Entered => {
  const parts = split(bytes)
  if (parts === undefined) throw new Values.InvalidValue("definitions and arguments are expected", 0)
  const definitions = Values.decode(parts.definitions) as ReadonlyArray<Definitions.Definition>
  const { classes, values } = Definitions.define(definitions, around.scope)
  const before = new Map(
    Object.keys(values).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const)
  )
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, enumerable: false, writable: true })
  }
  return {
    args: parts.args,
    classes: ClassTable.extend(around.classes, classes),
    leave: () => {
      for (const [name, descriptor] of before) {
        if (descriptor === undefined) Reflect.deleteProperty(globalThis, name)
        else Reflect.defineProperty(globalThis, name, descriptor)
      }
    }
  }
}
