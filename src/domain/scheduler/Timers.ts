/**
 * What is due later, in a heap by time. Whoever runs the scheduler keeps one timer,
 * for the earliest of it, and is asked for another only when that changes.
 */
import * as IndexedHeap from "./IndexedHeap.ts"

/** Something that is due at a time, or at none. */
export interface Timer extends IndexedHeap.Entry {
  /** Monotonic milliseconds; `Infinity` while it is not set. */
  at: number
  /** Of timers for the same time the one that was set first comes first. */
  order: number
}

/** Timers that are set. */
export interface Timers<T extends Timer> {
  readonly heap: Array<T>
  nextOrder: number
  /** When the caller was last asked to wake the scheduler; `Infinity` when it need not. */
  wakeAt: number
}

/** No timers. */
export const make = <T extends Timer>(): Timers<T> => ({ heap: [], nextOrder: 0, wakeAt: Infinity })

const isBefore = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** Sets the timer, anew if it is set; `Infinity` unsets it. */
export const set = <T extends Timer>(timers: Timers<T>, timer: T, at: number): void => {
  if (timer.at === at) return
  timer.at = at
  if (at === Infinity) return IndexedHeap.remove(timers.heap, timer, isBefore)
  timer.order = timers.nextOrder++
  IndexedHeap.update(timers.heap, timer, isBefore)
}

/** Takes out a timer that is due; undefined when none is. */
export const take = <T extends Timer>(timers: Timers<T>, now: number): T | undefined => {
  const first = timers.heap[0]
  if (first === undefined || first.at > now) return undefined
  set(timers, first, Infinity)
  return first
}

/** The time of the earliest timer if the caller does not know that it has to wake the scheduler then. */
export const wake = <T extends Timer>(timers: Timers<T>): number | undefined => {
  const first = timers.heap[0]
  if (first === undefined || first.at >= timers.wakeAt) return undefined
  timers.wakeAt = first.at
  return first.at
}
