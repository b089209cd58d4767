/** The options of a job, and their checks. */
import { Duration, Result } from "effect"
import type { InvalidOption } from "../../domain/ClusterError.ts"
import type { Terms } from "../../domain/scheduler/JobRecord.ts"
import { type FailureTag, failureTags, type RetryPolicy } from "../../domain/scheduler/Retry.ts"
import { nearest } from "../../domain/Suggestion.ts"
import type { Depend } from "./Depends.ts"
import type * as MemoryOptions from "./MemoryOptions.ts"
import { checkNames, fail, integer, listed, millisOf } from "./OptionChecks.ts"

/** How often, when and after what a job is tried again. */
export interface RetryOptions {
  /** Attempts after the first, up to 1,000. */
  readonly times: number
  /** Before the first of them, 20 % more or less. Default 100 ms. A bare number is milliseconds. */
  readonly delay?: Duration.Input | undefined
  /** What each delay is multiplied by for the next, from 1 to 100. Default 2. */
  readonly factor?: number | undefined
  /** The longest delay. Default 30 seconds. */
  readonly maxDelay?: Duration.Input | undefined
  /** Tags of the errors after which there is another attempt. Default: all that there can be. */
  readonly on?: ReadonlyArray<FailureTag> | undefined
}

/** Options of a single job, also of all jobs of a cluster. */
export interface JobOptions extends MemoryOptions.JobMemory {
  /**
   * Longest running time, counted from the job's start on its node; then it is killed and ends with `JobTimedOut`.
   * Default: none. A bare number is milliseconds.
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * Longest time that a job waits until a node has it for the first time; then it ends with `JobTimedOut` (kind "queue").
   * Default: none. A bare number is milliseconds.
   */
  readonly queueTimeout?: Duration.Input | undefined
  /**
   * Longest time from submission to outcome, over all attempts; then the job is killed wherever it is and ends with
   * `JobTimedOut` (kind "total"). Default: none. A bare number is milliseconds.
   */
  readonly totalTimeout?: Duration.Input | undefined
  /**
   * How often a job is tried again that ended without a result: it threw, took its slot down, ran too long, lost its node,
   * or its values were not transferred. A number of times, or also when and after what. A job that is tried again may run
   * twice. Default 0.
   */
  readonly retries?: number | RetryOptions | undefined
  /** Cancels the job when it aborts: queued or running. */
  readonly signal?: AbortSignal | undefined
  /** The job's `id`; anything. Default: undefined. */
  readonly id?: unknown
  /**
   * What the job alone takes along. Functions, classes and modules are globals while it runs (`globalThis.render`);
   * instances of the classes arrive as such; files and directories, as they are when the job is sent, lie in its working
   * directory. All of it is gone after the job. Default none.
   */
  readonly depends?: ReadonlyArray<Depend> | undefined
}

/** Checks a job's timeout: milliseconds, 0 for none. */
export const timeoutOf = (
  timeout: Duration.Input | undefined,
  byDefault: number,
  option: "timeout" | "queueTimeout" | "totalTimeout" = "timeout"
): Result.Result<number, InvalidOption> => {
  if (timeout === undefined) return Result.succeed(byDefault)
  return Result.flatMap(
    millisOf(option, timeout),
    (millis) =>
      millis === 0 && Duration.isZero(Duration.fromInputUnsafe(timeout))
        ? fail(option, "0 leaves a job no time; leave it out for no timeout")
        : Result.succeed(millis)
  )
}

/** Attempts are counted in two bytes on the wire; far fewer are of use. */
const maxRetries = 1000

const retryNames: ReadonlySet<string> = new Set<keyof RetryOptions>(["times", "delay", "factor", "maxDelay", "on"])

const tagsOf = (value: RetryOptions["on"]): Result.Result<ReadonlyArray<FailureTag>, InvalidOption> =>
  Result.flatMap(listed("retries.on", value), (tags) => {
    if (value !== undefined && tags.length === 0) {
      return fail("retries.on", "it is empty, so that nothing is tried again; leave it out for every error")
    }
    const wrong = tags.find((tag) => !(failureTags as ReadonlyArray<unknown>).includes(tag))
    if (wrong === undefined) return Result.succeed(tags as ReadonlyArray<FailureTag>)
    const text = JSON.stringify(wrong) ?? "it"
    const meant = nearest(text.replaceAll("\"", ""), failureTags)
    return fail(
      "retries.on",
      `${text} is no error after which jobs are tried again` +
        `${meant === undefined ? "" : `; did you mean ${meant}?`}; these are ${failureTags.join(", ")}`
    )
  })

/** Checks `retries`; undefined for none. */
const retryOf = (value: unknown): Result.Result<RetryPolicy | undefined, InvalidOption> =>
  Result.gen(function*() {
    if (typeof value !== "number" && (typeof value !== "object" || value === null)) {
      return yield* fail("retries", `${JSON.stringify(value) ?? "it"} is neither a number nor { times, delay, … }`)
    }
    const given = typeof value === "number" ? { times: value } : value as RetryOptions
    yield* checkNames(given, retryNames, "retries")
    if (given.times === undefined) return yield* fail("retries.times", "it is missing: how often a job is tried again")
    const times = yield* integer(typeof value === "number" ? "retries" : "retries.times", given.times, 0, [
      0,
      maxRetries
    ])
    const delayMillis = yield* millisOf("retries.delay", given.delay ?? 100)
    const maxDelayMillis = yield* millisOf("retries.maxDelay", given.maxDelay ?? Math.max(30_000, delayMillis))
    const factor = given.factor ?? 2
    if (typeof factor !== "number" || !(factor >= 1 && factor <= 100)) {
      return yield* fail("retries.factor", `${String(factor)} is not a number from 1 to 100`)
    }
    if (maxDelayMillis < delayMillis) {
      return yield* fail("retries.maxDelay", `${maxDelayMillis} ms is less than the first delay, ${delayMillis} ms`)
    }
    const on = yield* tagsOf(given.on)
    return times === 0 ? undefined : { times, delayMillis, factor, maxDelayMillis, on }
  })

/** Checks what a job may do beyond one attempt at some time; undefined for nothing. */
export const termsOf = (
  { queueTimeout, retries, totalTimeout }: Pick<JobOptions, "queueTimeout" | "retries" | "totalTimeout">,
  byDefault: Terms | undefined
): Result.Result<Terms | undefined, InvalidOption> =>
  Result.gen(function*() {
    const queueMillis = yield* timeoutOf(queueTimeout, byDefault?.queueMillis ?? 0, "queueTimeout")
    const totalMillis = yield* timeoutOf(totalTimeout, byDefault?.totalMillis ?? 0, "totalTimeout")
    const retry = retries === undefined ? byDefault?.retry : yield* retryOf(retries)
    return retry === undefined && queueMillis === 0 && totalMillis === 0
      ? undefined
      : { retry, queueMillis, totalMillis }
  })
