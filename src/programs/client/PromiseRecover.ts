/** Recovers the jobs of a program that died, for programs that know nothing of Effect. */
import { Effect, ManagedRuntime, Result, Stream } from "effect"
import type { Unfinished } from "../../domain/RecoverError.ts"
import * as OptionChecks from "./OptionChecks.ts"
import * as RecoverJobs from "./RecoverJobs.ts"
import type { RecoveredJob, RecoveredJobs } from "./RecoverJobs.ts"
import * as SentenceLog from "./SentenceLog.ts"

/** How to recover jobs. */
export interface PromiseRecoverOptions<A = unknown> extends RecoverJobs.RecoverOptions {
  /**
   * Called for every job as soon as it is there, one after another. What its promise is done for counts as handed over:
   * a program that dies after that does not get the job again, and one that dies before it does. What it throws ends
   * the recovery, which can be repeated.
   */
  readonly callback?: ((job: RecoveredJob<A>) => void | Promise<void>) | undefined
  /** Ends the recovery with the signal's reason; it can be repeated. */
  readonly signal?: AbortSignal | undefined
  /** Least serious messages that go to stderr. Default "warning". */
  readonly logLevel?: SentenceLog.LogLevel | undefined
}

/** Tells a callback of every job, and gathers them. */
const telling = <A>(
  file: string,
  callback: NonNullable<PromiseRecoverOptions<A>["callback"]>,
  options: RecoverJobs.RecoverOptions
): Effect.Effect<RecoveredJobs<A>, RecoverJobs.RecoverError> =>
  Effect.suspend(() => {
    const jobs: Array<RecoveredJob<A>> = []
    return RecoverJobs.recoverJobsStream<A>(file, options).pipe(
      Stream.runForEach((job) =>
        Effect.promise(async () => {
          await callback(job)
          jobs.push(job)
        })
      ),
      Effect.as<ReadonlyArray<Unfinished>>([]),
      Effect.catchTag(
        "RecoveryIncomplete",
        (error) => Effect.as(Effect.logWarning(error.message), error.unfinished)
      ),
      Effect.map((unfinished) => RecoverJobs.withEnd(jobs, unfinished))
    )
  })

/**
 * What became of the jobs of a program that died. Asks all nodes of its recover file, and waits until none of its jobs
 * runs any more. Nodes forget what was recovered when all of it is there (with a `callback`, when that is done with it);
 * then the file is removed. Whoever is interrupted before recovers again.
 *
 * @param file the `recoverFile` of the cluster: `_dispy_YYYYMMDDHHMMSS`
 * @param options how long to wait, and what lets this program in at the nodes
 * @returns a list; `isComplete` is false when a timeout was over before everything was there
 * @throws RecoverFileFailed, ClientAlive while the program still runs, InvalidOption
 * @example
 * ```ts
 * import { recoverJobs } from "dispy/promise"
 *
 * for (const job of await recoverJobs<number>("_dispy_20260131093000", { timeout: "1 hour" })) {
 *   console.log(job.number, job.status, job.result ?? job.exception?.message)
 * }
 * ```
 */
export const recoverJobs = async <A = unknown>(
  file: string,
  options: PromiseRecoverOptions<A> = {}
): Promise<RecoveredJobs<A>> => {
  const { callback, logLevel = "warning", signal, ...rest } = options
  Result.getOrThrow(OptionChecks.typed("callback", callback, "function"))
  const runtime = ManagedRuntime.make(SentenceLog.layer(Result.getOrThrow(SentenceLog.check(logLevel))))
  try {
    signal?.throwIfAborted()
    const jobs = callback === undefined
      ? RecoverJobs.recoverJobs<A>(file, rest)
      : telling<A>(file, callback, rest)
    return await runtime.runPromise(jobs, signal === undefined ? {} : { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    await runtime.dispose()
  }
}
