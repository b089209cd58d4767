/**
 * Keeps datagrams from being heeded twice: those that were sent too long ago, or
 * whose nonce was seen, are replays (or duplicates that the network made). Memory
 * is bounded. Time is an input, in milliseconds since 1970.
 */
import type { Stamp } from "./Datagram.ts"

/** How far the clocks of two machines may be apart: five minutes, as in Kerberos (RFC 4120, section 1.6). */
export const toleranceMillis = 300_000

/** Nonces that are kept, at most: beyond it the oldest are forgotten. */
export const capacity = 8192

/** Nonces by the time at which they arrived; changed in place. */
export interface ReplayWindow {
  readonly seen: Map<string, number>
}

/** A window that has seen nothing. */
export const make = (): ReplayWindow => ({ seen: new Map() })

/** What is to be done with a datagram. */
export type Verdict =
  | { readonly _tag: "Fresh" }
  | { readonly _tag: "Replayed" }
  /** It was sent so long ago, or its sender's clock is so far behind (positive) or ahead (negative). */
  | { readonly _tag: "Stale"; readonly behindMillis: number }

/** Decides about a datagram that arrives now, and remembers it when it is fresh. */
export const check = (window: ReplayWindow, { nonce, sentAtMillis }: Stamp, now: number): Verdict => {
  const behindMillis = now - sentAtMillis
  if (Math.abs(behindMillis) > toleranceMillis) return { _tag: "Stale", behindMillis }
  for (const [old, arrivedAt] of window.seen) {
    // One that came from a clock that is ahead is in time for twice the tolerance.
    if (window.seen.size < capacity && now - arrivedAt <= 2 * toleranceMillis) break
    window.seen.delete(old)
  }
  if (window.seen.has(nonce)) return { _tag: "Replayed" }
  window.seen.set(nonce, now)
  return { _tag: "Fresh" }
}
