/** A job as the promise facade shows it. */
import type { JobError } from "../../domain/JobError.ts"
import type { Explanation } from "../../domain/scheduler/Explain.ts"
import type { JobStatus } from "../../domain/scheduler/JobRecord.ts"
import type * as ClusterCore from "./ClusterCore.ts"
import { type ClusterJob, onOutcome } from "./ClusterJob.ts"
import { attemptsOf, type JobAttempt } from "./JobAttempts.ts"
import * as NodeMethods from "./NodeMethods.ts"
import * as ProvisionalResults from "./ProvisionalResults.ts"

/** The job behind the object that a user holds. */
export let innerOf: (job: DispyJob<unknown>) => ClusterJob

/** A submitted job. Fields change as the job goes on. */
export class DispyJob<out A, out P = unknown> {
  readonly #job: ClusterJob
  readonly #core: ClusterCore.ClusterCore

  static {
    innerOf = (job) => job.#job
  }

  /** @internal Jobs are made by `submit`. */
  constructor(core: ClusterCore.ClusterCore, job: ClusterJob) {
    this.#core = core
    this.#job = job
  }

  /** Yours to set; anything. Errors call the job by it. Default: undefined. */
  get id(): unknown {
    return this.#job.id
  }

  set id(id: unknown) {
    this.#job.id = id
  }

  /** Number within the cluster, from 1: what `recoverJobs` calls the job. */
  get number(): number {
    return this.#job.number
  }

  /** What the job is doing; see `JobStatus`. */
  get status(): JobStatus {
    return this.#job.status
  }

  /** Address of the node that has the job or had it last; undefined before the first. */
  get ipAddr(): string | undefined {
    return this.#job.nodeId === "" ? undefined : this.#core.addressOf(this.#job)
  }

  /** The latest provisional result; undefined before the first. */
  get provisionalResult(): P | undefined {
    return ProvisionalResults.latest(this.#job) as P | undefined
  }

  /**
   * Its provisional results in order (of those before now the last 1,000), until the job has its outcome. Leaving the
   * loop leaves the job alone.
   */
  provisional(): AsyncIterableIterator<P, void, void> {
    return new ProvisionalResults.ProvisionalIterator<P>(this.#job)
  }

  /** What the job printed to stdout; undefined before it has ended. */
  get stdout(): string | undefined {
    return this.#job.outcome?.stdout
  }

  /** What the job printed to stderr; undefined before it has ended. */
  get stderr(): string | undefined {
    return this.#job.outcome?.stderr
  }

  /** What went wrong; undefined when nothing did or the job has not ended. */
  get exception(): JobError | undefined {
    return this.#job.outcome?.error
  }

  /** When the job was submitted, in milliseconds since 1970 by this machine's clock. */
  get submitTime(): number {
    return this.#job.submitTime
  }

  /** When the job started, in milliseconds since 1970 by its node's clock; undefined before it has ended. */
  get startTime(): number | undefined {
    return this.#job.outcome?.startTime
  }

  /** When the job ended, in milliseconds since 1970 by its node's clock; undefined before it has ended. */
  get endTime(): number | undefined {
    return this.#job.outcome?.endTime
  }

  /**
   * The result, as soon as it is there. Rejects with a `JobError` when the job has none. A rejection that nobody
   * awaits does not end the program.
   */
  result(): Promise<A> {
    const job = this.#job
    const promise = new Promise<A>((resolve, reject) => {
      onOutcome(job, () => {
        const { error, value } = job.outcome!
        if (error === undefined) resolve(value as A)
        else reject(error)
      })
    })
    promise.catch(() => {})
    return promise
  }

  /** Its attempts that ended without a result, oldest first: the last ten or so. Empty for a job that had none. */
  get attempts(): ReadonlyArray<JobAttempt> {
    return attemptsOf(this.#job, this.#core.addressOfNode)
  }

  /** Cancels the job, queued or running; false when it has ended already. */
  cancel(): boolean {
    return this.#core.cancel(this.#job, "cancel was called")
  }

  /** Why the job is not running, or what became of it. */
  explain(): Explanation {
    return NodeMethods.explain(this.#core, this.#job)
  }
}
