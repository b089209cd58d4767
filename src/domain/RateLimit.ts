/**
 * How often something is done for each of many askers, and for all of them
 * together: token buckets in bounded memory. For answers to pings, whose sources
 * may be forged, for log entries about what strangers send, and for guesses of a
 * secret. Time is an input, in milliseconds of any clock.
 */

/** How often. */
export interface Rate {
  /** At once, after a while without any. */
  readonly burst: number
  /** Per second, in the long run. */
  readonly perSecond: number
}

interface Bucket {
  tokens: number
  at: number
}

/** The buckets; changed in place. */
export interface RateLimit {
  readonly each: Rate
  readonly all: Rate
  readonly total: Bucket
  /** By asker, the one that asked last at the end. */
  readonly buckets: Map<string, Bucket>
}

/** Askers that are told apart; more of them, and those that were silent for longest are forgotten. */
export const capacity = 1024

/** Limits for each asker and for all together. */
export const make = (each: Rate, all: Rate): RateLimit => ({
  each,
  all,
  total: { tokens: all.burst, at: 0 },
  buckets: new Map()
})

const refill = (bucket: Bucket, rate: Rate, now: number): void => {
  const seconds = Math.max(0, now - bucket.at) / 1000
  bucket.tokens = Math.min(rate.burst, bucket.tokens + seconds * rate.perSecond)
  bucket.at = now
}

/** Whether to do it this time. */
export const take = (limit: RateLimit, asker: string, now: number): boolean => {
  const bucket = limit.buckets.get(asker) ?? { tokens: limit.each.burst, at: now }
  limit.buckets.delete(asker)
  limit.buckets.set(asker, bucket)
  if (limit.buckets.size > capacity) limit.buckets.delete(limit.buckets.keys().next().value!)
  refill(bucket, limit.each, now)
  refill(limit.total, limit.all, now)
  if (bucket.tokens < 1 || limit.total.tokens < 1) return false
  bucket.tokens--
  limit.total.tokens--
  return true
}

/** Whether a `take` would do now; takes nothing. */
export const isLeft = (limit: RateLimit, asker: string, now: number): boolean => {
  const bucket = limit.buckets.get(asker)
  if (bucket !== undefined) refill(bucket, limit.each, now)
  refill(limit.total, limit.all, now)
  return limit.total.tokens >= 1 && (bucket === undefined || bucket.tokens >= 1)
}
