/**
 * Runs a chunk: one job that calls the computation for each of many items, as
 * `map` sends them. A chunk whose results grow large ends early, with fewer values
 * than items; the client sends the rest again.
 */
import type { ClassTable } from "./ClassTable.ts"
import type { Call } from "./Load.ts"
import { roughSize } from "./RoughSize.ts"
import * as Stack from "./Stack.ts"
import * as Values from "./Values.ts"

/** What `JobFlags.chunk` says of the result. */
type ChunkResult = readonly [values: Array<unknown>, failures: Array<readonly [index: number, error: Uint8Array]>]

/** Bytes of results after which a chunk ends early. */
const resultBytes = 4 * 1024 * 1024

/** A chunk that runs. */
interface RunningChunk {
  readonly call: Call
  readonly classes: ClassTable | undefined
  readonly items: ReadonlyArray<unknown>
  readonly result: ChunkResult
  /** Roughly, of the results so far. */
  bytes: number
}

/** Whether a value is to be awaited. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  (typeof value === "object" || typeof value === "function") && value !== null &&
  typeof (value as { readonly then?: unknown }).then === "function"

const fail = ({ classes, result: [values, failures] }: RunningChunk, error: unknown): void => {
  Stack.trim(error)
  failures.push([values.length, Values.encodeError(error, classes)])
  values.push(undefined)
}

const keep = (chunk: RunningChunk, value: unknown): void => {
  chunk.bytes += roughSize(value)
  chunk.result[0].push(value)
}

/** An item of a `map` has no job of its own that a provisional result could belong to. */
const ignore = (): void => {}

/** Calls for the items from where the result has got to; stops at a call that has to be awaited. */
const runSync = (chunk: RunningChunk): PromiseLike<unknown> | undefined => {
  const { call, items, result: [values] } = chunk
  while (values.length < items.length && chunk.bytes < resultBytes) {
    try {
      const value = call([items[values.length]], ignore)
      if (isThenable(value)) return value
      keep(chunk, value)
    } catch (error) {
      fail(chunk, error)
    }
  }
  return undefined
}

const runRest = async (chunk: RunningChunk, first: PromiseLike<unknown>): Promise<ChunkResult> => {
  for (let awaited: PromiseLike<unknown> | undefined = first; awaited !== undefined;) {
    try {
      keep(chunk, await awaited)
    } catch (error) {
      fail(chunk, error)
    }
    awaited = runSync(chunk)
  }
  return chunk.result
}

/** The results for the items, or a promise of them; an item that fails does not stop the others. */
export const run = (
  call: Call,
  items: ReadonlyArray<unknown>,
  classes: ClassTable | undefined
): ChunkResult | Promise<ChunkResult> => {
  const chunk: RunningChunk = { call, classes, items, result: [[], []], bytes: 0 }
  const awaited = runSync(chunk)
  return awaited === undefined ? chunk.result : runRest(chunk, awaited)
}
