/**
 * How many jobs a node may hold at a time. A node always gets one job per cpu, or
 * as many as the computation runs at a time on one;
 * short jobs are sent ahead so that a cpu does not wait for the network: a few
 * milliseconds of work, one job when that is already longer, and none when jobs
 * take so long that the wait does not count (docs/decisions/0007-one-job-ahead.md).
 */

/** Work that may wait on a node, in microseconds per cpu. */
const aheadMicros = 5000

/** Jobs up to this long still have one sent ahead, in microseconds. */
const oneAheadMicros = 20_000

/** Jobs that may wait on a node per cpu, however short. */
const aheadLimit = 1024

/** How fast the estimate follows a job that took longer, and one that took less. */
const weightUp = 0.25
const weightDown = 0.05

/** What is known about the duration of a computation's jobs on one node. */
export interface Credit {
  /** Estimated duration in microseconds; negative before the first reply. */
  micros: number
  /** Jobs sent ahead per cpu. */
  ahead: number
}

/** Nothing known yet: one job per cpu. */
export const make = (): Credit => ({ micros: -1, ahead: 0 })

/** Learns from the duration of one job; longer jobs count more, so that a mix of short and long is taken as long. */
export const observe = (credit: Credit, durationMicros: number): void => {
  if (credit.micros < 0) credit.micros = durationMicros
  else credit.micros += (durationMicros - credit.micros) * (durationMicros > credit.micros ? weightUp : weightDown)
}

/** Adapts the number of jobs sent ahead; called once per batch of replies, it at most doubles. */
export const adapt = (credit: Credit): void => {
  const wanted = credit.micros < 0 || credit.micros > oneAheadMicros
    ? 0
    : Math.max(1, Math.min(aheadLimit, Math.floor(aheadMicros / Math.max(credit.micros, 1))))
  credit.ahead = Math.min(wanted, credit.ahead * 2 + 1)
}

/** Jobs that a node may hold with this many cpus that run so many at a time each. */
export const limit = (credit: Credit, cpus: number, concurrency = 1): number => cpus * (concurrency + credit.ahead)
