/** A job as the scheduler sees it: the part of a client's job object that scheduling reads and writes. */
import type { Effect } from "effect"
import type { LocalFiles } from "../Computation.ts"
import type { JobError } from "../JobError.ts"
import type { FailureTag, RetryPolicy } from "./Retry.ts"
import type { Timer, Timers } from "./Timers.ts"

/**
 * What a job is doing, in dispy's words.
 *
 * ```
 * Created ──▶ Running ──▶ Finished      returned (a program: exited)
 *    │  ▲        ├──────▶ Terminated    threw, crashed, ran too long, or was cancelled while it ran
 *    │  └────────┤                      given back by its node without having started; to be tried again
 *    ├───────────┴──────▶ Abandoned     its node was lost; it was pinned to a node that was lost
 *    └──────────────────▶ Cancelled     cancelled, or out of time, before it started
 * ```
 * A job that has sent a provisional result is in `ProvisionalResult` instead of `Running` from then on.
 */
export type JobStatus =
  | "Created"
  | "Running"
  | "ProvisionalResult"
  | "Cancelled"
  | "Terminated"
  | "Abandoned"
  | "Finished"

/** Large arguments that wait for a node. */
export interface HeldArguments {
  readonly path: string
  readonly sizeBytes: number
}

/** Finds and hashes the files that a job takes along, as they are when it goes to a node. */
export type GatherFiles = Effect.Effect<LocalFiles, Error>

/** What a job may do beyond one attempt at some time; one value for all jobs that are submitted in the same way. */
export interface Terms {
  readonly retry: RetryPolicy | undefined
  /** How long it may wait until a node has it for the first time, in milliseconds; 0 for any time. */
  readonly queueMillis: number
  /** How long it may take from submission to outcome, in milliseconds; 0 for any time. */
  readonly totalMillis: number
}

/** An attempt that ended without a result. */
export interface FailedAttempt {
  /** Counts the attempts without a result, from 1. */
  readonly ordinal: number
  /** Of the job at that time: executions, those included that a node gave back. */
  readonly attempt: number
  readonly nodeId: string
  readonly failure: FailureTag
  /** Why the node was lost; empty when the attempt ended otherwise. */
  readonly reason: string
  /** Whether the job, and no other one, is what took its slot or its node down. */
  readonly isEvidence: boolean
  /** Wall clock of the node in milliseconds since 1970; 0 where it is not known. */
  readonly startMillis: number
  readonly endMillis: number
  /** What its user would have been told; whoever decodes replies writes it. */
  error: JobError | undefined
  /** What it printed, as long as it is the last. */
  output: { readonly stdout: string; readonly stderr: string } | undefined
}

/** A timer of a job: the next of its retry and its timeouts. */
export interface JobTimer extends Timer {
  readonly _tag: "Job"
  readonly computationId: string
  readonly job: JobRecord
}

/** What is known of a job that has terms, or had an attempt without a result. Others have none of it. */
export interface Trials {
  readonly terms: Terms
  /** Attempts without a result. */
  failed: number
  /** Attempts that were made again because of `retry`. */
  retries: number
  /** Nodes that were lost under it. */
  readonly lostNodes: Array<string>
  /** Attempts that are evidence against it: slots that it took down, nodes that were lost with nothing else on them. */
  crashes: number
  aloneLosses: number
  /** Attempts without a result, oldest first: the last ones, and all that are evidence. */
  readonly history: Array<FailedAttempt>
  /** It has taken down so much that it is not tried again. */
  isPoisoned: boolean
  /** The timeout that was over; empty while none was. */
  overdue: "" | "queue" | "total"
  /** When it is tried again, and until when it may wait and take; monotonic milliseconds, `Infinity` for never. */
  retryAt: number
  queueAt: number
  totalAt: number
  /** There once it was needed. */
  timer: JobTimer | undefined
  /** Where its timer is. */
  timers: Timers<Timer> | undefined
}

/** The scheduler's fields of a job. The scheduler alone writes the mutable ones. */
export interface JobRecord {
  /** Number within the computation, never used twice. */
  readonly number: number
  /** Encoded arguments; emptied when the job has ended. */
  args: Uint8Array
  /**
   * Of large arguments: their size, and the file that has them where memory had no room (`args` is empty then; "" for
   * none).
   */
  readonly held?: HeldArguments | undefined
  /** Files that the job takes along; they go when it has ended. */
  readonly files?: GatherFiles | undefined
  /** `JobFlags` of the wire. */
  readonly flags: number
  /** Longest running time in milliseconds; 0 for none. */
  readonly timeoutMillis: number
  /** Memory that it may use on its node; 0, the default, for any. */
  readonly memoryKiB?: number
  /** Id of the only node where it may run; empty when every node will do. */
  readonly pinnedTo: string
  status: JobStatus
  /** Counts executions; a reply of an older attempt is dropped. */
  attempt: number
  /** Node that has the job, or had it last; empty before the first. */
  nodeId: string
  /** Why the job was cancelled; empty while it was not. */
  cancelReason: string
  /** There from submission for a job with terms, from the first attempt without a result for others that go on. */
  trials?: Trials | undefined
}

/** Whether the job has its one outcome. */
export const hasEnded = (job: Pick<JobRecord, "status">): boolean =>
  job.status !== "Created" && job.status !== "Running" && job.status !== "ProvisionalResult"
