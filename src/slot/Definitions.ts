/**
 * Defines the functions and classes that a computation takes along, in the order in which they came: each sees those
 * before it, and those of a group see each other.
 */
import * as vm from "node:vm"
import type { RegisteredClass } from "./ClassTable.ts"

/** A function or class as source text. */
export interface Definition {
  readonly kind: "function" | "class"
  readonly name: string
  readonly source: string
  /** Neighbours of the same number use each other. */
  readonly group?: number
  readonly hasPrivates?: boolean
}

/** Variables by name. */
export type Scope = Readonly<Record<string, unknown>>

/** What was defined. */
export interface Defined {
  readonly values: Scope
  /** The classes in their order, for the value codec. */
  readonly classes: ReadonlyArray<RegisteredClass>
}

/** Evaluates an expression that sees these variables. Errors name the place in `name`. */
export const evaluate = (name: string, before: string, source: string, after: string, scope: Scope): unknown => {
  const compiled = vm.compileFunction(`${before}${source}\n${after}`, Object.keys(scope), {
    filename: `dispy:${name}`,
    columnOffset: -before.length,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER
  })
  return compiled(...Object.values(scope))
}

const defineGroup = (group: ReadonlyArray<Definition>, scope: Scope): ReadonlyArray<unknown> => {
  const [first] = group
  if (group.length === 1) return [evaluate(first!.name, "return (", first!.source, ")", scope)]
  const names = group.map(({ name }) => name).join(", ")
  const text = group.map(({ name, source }) => `${name} = (${source}\n);`).join("\n")
  return evaluate(names, `let ${names}; `, text, `return [${names}]`, scope) as ReadonlyArray<unknown>
}

/** The definitions, and those behind them of the same group. */
const groupsOf = (definitions: ReadonlyArray<Definition>): ReadonlyArray<ReadonlyArray<Definition>> => {
  const groups: Array<Array<Definition>> = []
  for (const one of definitions) {
    const last = groups.at(-1)
    if (last !== undefined && one.group !== undefined && last[0]!.group === one.group) last.push(one)
    else groups.push([one])
  }
  return groups
}

/**
 * Defines everything, with `around` in scope. A class for which `known` has one of its name is not made again: it is
 * the one that the code of the computation uses.
 */
export const define = (definitions: ReadonlyArray<Definition>, around: Scope, known: Scope = {}): Defined => {
  const values: Record<string, unknown> = {}
  for (const group of groupsOf(definitions)) {
    const made = defineGroup(group, { ...around, ...values })
    group.forEach(({ kind, name }, i) => {
      const own = kind === "class" && Object.hasOwn(known, name) ? known[name] : undefined
      values[name] = typeof own === "function" ? own : made[i]
    })
  }
  const classes = definitions.filter(({ kind }) => kind === "class").map(({ hasPrivates = false, name }) => ({
    class: values[name] as Function,
    hasPrivates
  }))
  return { values, classes }
}
