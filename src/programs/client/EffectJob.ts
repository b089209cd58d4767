/** A job as the Effect API shows it. */
import { Effect, Stream } from "effect"
import type { JobError } from "../../domain/JobError.ts"
import type { JobStatus } from "../../domain/scheduler/JobRecord.ts"
import type * as ClusterCore from "./ClusterCore.ts"
import { type ClusterJob, onOutcome } from "./ClusterJob.ts"
import { attemptsOf, type JobAttempt } from "./JobAttempts.ts"
import * as ProvisionalResults from "./ProvisionalResults.ts"

/** A submitted job. Fields change as the job goes on. */
export interface Job<out A, out P = unknown> {
  /** Yours to set; anything. */
  id: unknown
  /** Number within the cluster, from 1: what `recoverJobs` calls the job. */
  readonly number: number
  readonly status: JobStatus
  /** Address of the node that has the job or had it last; undefined before the first. */
  readonly ipAddr: string | undefined
  /** Waits for the outcome. Interrupting it leaves the job alone: see `cancel`. */
  readonly result: Effect.Effect<A, JobError>
  /** The latest provisional result; undefined before the first. */
  readonly provisionalResult: P | undefined
  /** Its provisional results in order (of those before now the last 1,000); ends when the job has its outcome. */
  readonly provisional: Stream.Stream<P>
  /** What the job printed; undefined before it has ended. */
  readonly stdout: string | undefined
  readonly stderr: string | undefined
  /** What went wrong; undefined when nothing did or the job has not ended. */
  readonly exception: JobError | undefined
  /** Its attempts that ended without a result, oldest first: the last ten or so. Empty for a job that had none. */
  readonly attempts: ReadonlyArray<JobAttempt>
  /** Milliseconds since 1970 by this machine's clock. */
  readonly submitTime: number
  /** Milliseconds since 1970 by the node's clock; undefined before the job has ended. */
  readonly startTime: number | undefined
  readonly endTime: number | undefined
}

/** The job behind the object that users hold. */
const inner: unique symbol = Symbol("dispy/ClusterJob")

/** The object that stands for the job. */
export const jobOf = <A, P>(core: ClusterCore.ClusterCore, job: ClusterJob): Job<A, P> => {
  const view: Job<A, P> & { readonly [inner]: ClusterJob } = {
    [inner]: job,
    get id() {
      return job.id
    },
    set id(id) {
      job.id = id
    },
    number: job.number,
    get status() {
      return job.status
    },
    get ipAddr() {
      return job.nodeId === "" ? undefined : core.addressOf(job)
    },
    result: awaitOutcome<A>(job),
    get provisionalResult() {
      return ProvisionalResults.latest(job) as P | undefined
    },
    get provisional() {
      return provisionalOf<P>(job)
    },
    get stdout() {
      return job.outcome?.stdout
    },
    get stderr() {
      return job.outcome?.stderr
    },
    get exception() {
      return job.outcome?.error
    },
    get attempts() {
      return attemptsOf(job, core.addressOfNode)
    },
    submitTime: job.submitTime,
    get startTime() {
      return job.outcome?.startTime
    },
    get endTime() {
      return job.outcome?.endTime
    }
  }
  return view
}

/** Waits for the outcome of a job. */
export const awaitOutcome = <A>(job: ClusterJob): Effect.Effect<A, JobError> =>
  Effect.callback<A, JobError>((resume) => {
    const forget = onOutcome(job, () => {
      const { error, value } = job.outcome!
      resume(error === undefined ? Effect.succeed(value as A) : Effect.fail(error))
    })
    return Effect.sync(forget)
  })

const provisionalOf = <P>(job: ClusterJob): Stream.Stream<P> =>
  Stream.orDie(
    Stream.unwrap(
      Effect.sync(() => Stream.fromAsyncIterable(new ProvisionalResults.ProvisionalIterator<P>(job), (error) => error))
    )
  )

/** The job behind the object that a user holds; undefined for an object of somebody else's. */
export const innerOf = (job: Job<unknown>): ClusterJob | undefined =>
  inner in job ? job[inner] as ClusterJob : undefined
