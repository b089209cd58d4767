/** Runs a chunk: one job that calls the computation for each of many items, as `map` sends them. */
import type { Call } from "./Load.ts"
import * as Stack from "./Stack.ts"
import * as Values from "./Values.ts"

/** What `JobFlags.chunk` says of the result. */
type ChunkResult = readonly [values: Array<unknown>, failures: Array<readonly [index: number, error: Uint8Array]>]

/** Whether a value is to be awaited. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  (typeof value === "object" || typeof value === "function") && value !== null &&
  typeof (value as { readonly then?: unknown }).then === "function"

const fail = ([values, failures]: ChunkResult, error: unknown): void => {
  Stack.trim(error)
  failures.push([values.length, Values.encodeError(error)])
  values.push(undefined)
}

/** Calls for the items from where the result has got to; stops at a call that has to be awaited. */
const runSync = (call: Call, items: ReadonlyArray<unknown>, result: ChunkResult): PromiseLike<unknown> | undefined => {
  const [values] = result
  while (values.length < items.length) {
    try {
      const value = call([items[values.length]])
      if (isThenable(value)) return value
      values.push(value)
    } catch (error) {
      fail(result, error)
    }
  }
  return undefined
}

const runRest = async (
  call: Call,
  items: ReadonlyArray<unknown>,
  result: ChunkResult,
  first: PromiseLike<unknown>
): Promise<ChunkResult> => {
  for (let awaited: PromiseLike<unknown> | undefined = first; awaited !== undefined;) {
    try {
      result[0].push(await awaited)
    } catch (error) {
      fail(result, error)
    }
    awaited = runSync(call, items, result)
  }
  return result
}

/** The result for all items, or a promise of it; an item that fails does not stop the others. */
export const run = (call: Call, items: ReadonlyArray<unknown>): ChunkResult | Promise<ChunkResult> => {
  const result: ChunkResult = [[], []]
  const awaited = runSync(call, items, result)
  return awaited === undefined ? result : runRest(call, items, result, awaited)
}
