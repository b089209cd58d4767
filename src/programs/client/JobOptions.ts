/** The options of a job, and their checks. */
import { Duration, Result } from "effect"
import type { InvalidOption } from "../../domain/ClusterError.ts"
import type { Depend } from "./Depends.ts"
import type * as MemoryOptions from "./MemoryOptions.ts"
import { fail, millisOf } from "./OptionChecks.ts"

/** Options of a single job, also of all jobs of a cluster. */
export interface JobOptions extends MemoryOptions.JobMemory {
  /**
   * Longest running time, counted from the job's start on its node; then it is killed and ends with `JobTimedOut`.
   * Default: none. A bare number is milliseconds.
   */
  readonly timeout?: Duration.Input | undefined
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
  byDefault: number
): Result.Result<number, InvalidOption> => {
  if (timeout === undefined) return Result.succeed(byDefault)
  return Result.flatMap(
    millisOf("timeout", timeout),
    (millis) =>
      millis === 0 && Duration.isZero(Duration.fromInputUnsafe(timeout))
        ? fail("timeout", "0 leaves a job no time; leave it out for no timeout")
        : Result.succeed(millis)
  )
}
