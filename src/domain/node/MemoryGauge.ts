/**
 * When to look at what a slot uses: often enough to notice a job that grows before it has taken much more than it may,
 * and seldom enough to cost next to nothing. Times are milliseconds.
 */

/** What was seen of a slot. */
export interface MemoryGauge {
  /** When to look; infinite while there is nothing to look for. */
  lookAt: number
  /** Somebody looks. */
  isLooking: boolean
  /** What was seen last, and when; 0 before. */
  kib: number
  at: number
  /** The most that was seen since the first job in flight started. */
  peakKiB: number
}

/** The first look at a job. */
export const firstMillis = 25

/** Between two looks at a job with a limit. */
const leastMillis = 10
const mostMillis = 100

/** Between two looks at a slot that is only kept from growing from job to job. */
export const slotMillis = 1_000

/** Looking takes at most about one part in so many of a cpu. */
const costShare = 50

/** Even where looking is expensive. */
const rarestMillis = 1_000

/** Nothing seen yet. */
export const make = (): MemoryGauge => ({ lookAt: Infinity, isLooking: false, kib: 0, at: 0, peakKiB: 0 })

/** Looks no later than this. */
export const lookBy = (gauge: MemoryGauge, at: number): void => {
  gauge.lookAt = Math.min(gauge.lookAt, at)
}

/** How long to wait between looks that cost so much. */
export const pause = (costMillis: number): number => Math.min(rarestMillis, Math.max(0, costMillis) * costShare)

/** When half of the way to the limit is gone, at the speed of last time. */
const halfway = (gauge: MemoryGauge, kib: number, now: number, limitKiB: number): number => {
  if (gauge.at === 0 || now <= gauge.at) return firstMillis
  const perMilli = (kib - gauge.kib) / (now - gauge.at)
  return perMilli > 0 ? Math.max(0, limitKiB - kib) / perMilli / 2 : mostMillis
}

/** Notes what a slot uses, and how long to wait for the next look at its job. */
export const note = (gauge: MemoryGauge, kib: number, now: number, limitKiB: number): number => {
  const wait = Math.min(mostMillis, Math.max(leastMillis, halfway(gauge, kib, now, limitKiB)))
  gauge.isLooking = false
  gauge.kib = kib
  gauge.at = now
  gauge.peakKiB = Math.max(gauge.peakKiB, kib)
  return wait
}
