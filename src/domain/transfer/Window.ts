/**
 * How many bytes of bulk data may be under way, so that a slow link is full but
 * its queue stays short and control messages pass in time: in the manner of
 * LEDBAT the window follows the delay that acknowledgements show above the
 * smallest one seen. Time is an input, in milliseconds of any monotonic clock.
 *
 * ```
 *   delay of the queue = time from sending to acknowledgement - smallest such time of late
 *   below `queueMillis` the window grows (at most doubles per round trip), above it shrinks
 * ```
 * Delay may also come from a busy processor, which a smaller window does not mend:
 * the window never shrinks below what was delivered of late in `queueMillis`.
 */

/** Bytes under way at first, at least, and at most: the last also bounds the memory that a transfer takes. */
export const initialBytes = 32 * 1024
export const minBytes = 16 * 1024
export const maxBytes = 16 * 1024 * 1024

/** Delay of the queue that is aimed at. */
export const queueMillis = 50

/** Growth per round trip at the start; what is too much is seen a round trip later. */
const startGain = 0.5

/** The smallest delay is forgotten after one to two of these: routes change. */
const baseMillis = 30_000

/** Delivery is measured over such a time, and its maximum over some of them. */
const bucketMillis = 200
const buckets = 10

/** A window; changed in place. */
export interface Window {
  size: number
  /** No queue was seen yet: the window may grow faster than the delay of a long way would let it. */
  isStarting: boolean
  /** Bytes sent and not acknowledged. */
  inFlight: number
  /** Smallest delays of this and the last period. */
  base: number
  lastBase: number
  baseSince: number
  /** Bytes acknowledged in the current bucket. */
  delivered: number
  bucketSince: number
  /** Bytes per millisecond of the last full buckets. */
  rates: Array<number>
}

/** A window before anything was sent. */
export const make = (now: number): Window => ({
  size: initialBytes,
  isStarting: true,
  inFlight: 0,
  base: Infinity,
  lastBase: Infinity,
  baseSince: now,
  delivered: 0,
  bucketSince: now,
  rates: []
})

/** Bytes that may be sent now. */
export const room = (window: Window): number => Math.max(0, window.size - window.inFlight)

/** Largest piece to send at once: small enough that acknowledgements keep coming. */
export const pieceBytes = (window: Window): number => Math.max(minBytes / 4, Math.min(512 * 1024, window.size / 16)) | 0

/** Bytes were sent. */
export const sent = (window: Window, bytes: number): void => {
  window.inFlight += bytes
}

/** Bytes will never be acknowledged: their connection is gone. */
export const forgotten = (window: Window, bytes: number): void => {
  window.inFlight = Math.max(0, window.inFlight - bytes)
}

const deliver = (window: Window, bytes: number, now: number): void => {
  window.delivered += bytes
  const elapsed = now - window.bucketSince
  if (elapsed < bucketMillis) return
  window.rates.push(window.delivered / elapsed)
  if (window.rates.length > buckets) window.rates.shift()
  window.delivered = 0
  window.bucketSince = now
}

const observe = (window: Window, delay: number, now: number): void => {
  if (now - window.baseSince >= baseMillis) {
    window.lastBase = window.base
    window.base = Infinity
    window.baseSince = now
  }
  window.base = Math.min(window.base, delay)
}

/**
 * Bytes were acknowledged, the last whole piece of them `delay` milliseconds after it was sent; undefined when they end
 * within the first piece.
 */
export const acknowledged = (window: Window, bytes: number, delay: number | undefined, now: number): void => {
  const wasFull = window.inFlight >= window.size / 2
  forgotten(window, bytes)
  deliver(window, bytes, now)
  if (delay === undefined) return
  observe(window, delay, now)
  const base = Math.min(window.base, window.lastBase)
  const queue = Math.max(0, delay - base)
  const offset = Math.max(-0.5, (queueMillis - queue) / queueMillis)
  // A sender with little to send learns nothing about what the link would bear.
  if (offset > 0 && !wasFull) return
  if (queue > queueMillis / 2) window.isStarting = false
  const gain = Math.max(queueMillis / (base + queueMillis), window.isStarting ? startGain : 0)
  const floor = Math.max(minBytes, Math.max(0, ...window.rates) * queueMillis)
  const next = window.size + bytes * gain * offset
  window.size = Math.min(maxBytes, Math.max(offset < 0 ? Math.min(floor, window.size) : minBytes, next))
}
