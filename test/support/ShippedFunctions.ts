/** Functions made of source text, analysed, and evaluated again as a slot does. */
import { Effect } from "effect"
import * as vm from "node:vm"
import * as FunctionSource from "../../src/layers/computation/FunctionSource.ts"

/** Any function of a user. */
export type AnyFunction = Function

export const analyse = (fn: AnyFunction, options: Partial<FunctionSource.Options> = {}) =>
  FunctionSource.analyse(fn, { captures: {}, ...options })

/** The error of a function that cannot be shipped. */
export const refusal = (fn: AnyFunction, options: Partial<FunctionSource.Options> = {}) =>
  Effect.runSync(Effect.flip(analyse(fn, options)))

/** What some source text evaluates to in a module. */
export const strict = (text: string): any => vm.runInThisContext(`"use strict"; (${text}\n)`)

/** What some source text evaluates to in an old script. */
export const sloppy = (text: string): any => vm.runInThisContext(`(${text}\n)`)

/** What a slot does with a source. */
export const revive = (source: string, captures: Record<string, unknown> = {}): any =>
  vm.compileFunction(`return (${source}\n)`, Object.keys(captures), {
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER
  })(...Object.values(captures))

/** The result of a call; of a generator, everything it yields and what it returns. */
export const call = async (fn: AnyFunction, args: ReadonlyArray<unknown>): Promise<unknown> => {
  const iterator = await fn(...args)
  if (typeof iterator?.next !== "function") return iterator
  const values: Array<unknown> = []
  for (;;) {
    const next = await iterator.next()
    values.push(next.value)
    if (next.done) return values
  }
}

/** Ships a function and calls what arrives. */
export const trip = async (fn: AnyFunction, args: ReadonlyArray<unknown>, captures: Record<string, unknown> = {}) => {
  const { source } = await Effect.runPromise(analyse(fn, { captures }))
  return call(revive(source, captures), args)
}
