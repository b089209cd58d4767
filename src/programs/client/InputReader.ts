/**
 * Takes items from any iterable in groups, without waiting for a full group: a
 * slow source gives what it has. Plain asynchronous JavaScript, because it runs
 * per item.
 */

import { roughSize } from "../../slot/RoughSize.ts"

/** Items from a user's iterable. */
export interface InputReader<I> {
  /**
   * The next items: at least one, at most `limit`, no more once they take `bytes` or so; none at the end. Throws what
   * the iterable throws.
   */
  readonly take: (limit: number, bytes: number) => Promise<Array<I>> | Array<I>
  /** Tells the iterable that no more items are wanted. */
  readonly close: () => Promise<void>
}

const fromSync = <I>(iterator: Iterator<I>): InputReader<I> => ({
  take: (limit, bytes) => {
    const items: Array<I> = []
    let size = 0
    while (items.length < limit && size < bytes) {
      const next = iterator.next()
      if (next.done === true) break
      items.push(next.value)
      size += roughSize(next.value)
    }
    return items
  },
  close: async () => {
    iterator.return?.()
  }
})

const notYet = Symbol("not yet")

const fromAsync = <I>(iterator: AsyncIterator<I>): InputReader<I> => {
  let coming: Promise<IteratorResult<I>> | undefined
  const take = async (limit: number, bytes: number): Promise<Array<I>> => {
    const items: Array<I> = []
    let size = 0
    let turn: Promise<typeof notYet> | undefined
    while (items.length < limit && size < bytes) {
      coming ??= iterator.next()
      let next: IteratorResult<I> | typeof notYet
      if (items.length === 0) {
        next = await coming
      } else {
        // Items that come within this turn of the event loop belong together; a slower one is for the next group.
        turn ??= new Promise((resolve) => setImmediate(resolve, notYet))
        next = await Promise.race([coming, turn])
      }
      if (next === notYet) break
      coming = undefined
      if (next.done === true) {
        coming = Promise.resolve(next)
        break
      }
      items.push(next.value)
      size += roughSize(next.value)
    }
    return items
  }
  return {
    take,
    close: async () => {
      await iterator.return?.()
    }
  }
}

/** A reader over an iterable or an async iterable. */
export const make = <I>(inputs: Iterable<I> | AsyncIterable<I>): InputReader<I> =>
  Symbol.asyncIterator in inputs ? fromAsync(inputs[Symbol.asyncIterator]()) : fromSync(inputs[Symbol.iterator]())
