/**
 * Whether and when a job is tried again after an attempt without a result: by the
 * `retries` of its user, and after the loss of a node because it is reentrant.
 */
import { Outcome } from "../wire/Entries.ts"

/** Ways in which an attempt ends without a result, after which another one may fare better: the tags of their errors. */
export type FailureTag =
  | "JobFailed"
  | "JobCrashed"
  | "JobTimedOut"
  | "JobOutOfMemory"
  | "NodeLost"
  | "ValueNotTransferred"

/** All of them. */
export const failureTags: ReadonlyArray<FailureTag> = [
  "JobFailed",
  "JobCrashed",
  "JobTimedOut",
  "JobOutOfMemory",
  "NodeLost",
  "ValueNotTransferred"
]

/** How often and when a job is tried again. */
export interface RetryPolicy {
  /** Attempts after the first. */
  readonly times: number
  /** Before the first of them. */
  readonly delayMillis: number
  /** What each delay is multiplied by for the next. */
  readonly factor: number
  readonly maxDelayMillis: number
  /** After which ends of an attempt; all when it is empty. */
  readonly on: ReadonlyArray<FailureTag>
}

/** Nodes that a job may lose; one that loses more may well be why. */
export const maxLostNodes = 10

const tags: { readonly [outcome in Outcome]: FailureTag | undefined } = {
  [Outcome.succeeded]: undefined,
  [Outcome.failed]: "JobFailed",
  [Outcome.slotDied]: "JobCrashed",
  [Outcome.timedOut]: "JobTimedOut",
  [Outcome.outOfMemory]: "JobOutOfMemory",
  [Outcome.cancelled]: undefined,
  [Outcome.returned]: undefined,
  // The job has done its work: it would return the same again.
  [Outcome.notCloneable]: undefined,
  [Outcome.provisional]: undefined,
  [Outcome.notTransferred]: "ValueNotTransferred"
}

/** How an attempt failed that ended like this; undefined when it is not one to be made again. */
export const failureOf = (outcome: Outcome): FailureTag | undefined => tags[outcome]

/** Delays differ by up to so much of themselves, so that jobs that failed together do not all come back together. */
const jitter = 0.2

/** A number from 0 to 1 that depends on the job and its attempt alone. */
const spread = (number: number, attempt: number): number => {
  let hash = Math.imul(number ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(attempt + 1, 0xc2b2ae35)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return ((hash ^ (hash >>> 13)) >>> 0) / 0xffffffff
}

const delayOf = (first: number, factor: number, most: number, step: number, number: number): number => {
  const even = Math.min(most, first * factor ** step)
  return Math.min(most, even * (1 - jitter + 2 * jitter * spread(number, step)))
}

/** How long a job waits for the retry after so many retries, in milliseconds. */
export const retryDelay = (
  { delayMillis, factor, maxDelayMillis }: RetryPolicy,
  done: number,
  number: number
): number => delayOf(delayMillis, factor, maxDelayMillis, done, number)

/** How long a reentrant job waits after it has lost so many nodes: after the first not at all, then up to 30 seconds. */
export const lossDelay = (lost: number, number: number): number =>
  lost <= 1 ? 0 : delayOf(100, 2, 30_000, lost - 2, number)

/** Whether the policy allows another attempt. */
export const isAllowed = (policy: RetryPolicy | undefined, done: number, failure: FailureTag): policy is RetryPolicy =>
  policy !== undefined && done < policy.times && (policy.on.length === 0 || policy.on.includes(failure))
