/** A job as the scheduler sees it: the part of a client's job object that scheduling reads and writes. */
import type { Effect } from "effect"
import type { LocalFiles } from "../Computation.ts"

/**
 * What a job is doing, in dispy's words.
 *
 * ```
 * Created ──▶ Running ──▶ Finished      returned (a program: exited)
 *    │  ▲        ├──────▶ Terminated    threw, crashed, ran too long, or was cancelled while it ran
 *    │  └────────┤                      given back by its node without having started
 *    ├───────────┴──────▶ Abandoned     its node was lost; it was pinned to a node that was lost
 *    └──────────────────▶ Cancelled     cancelled before it started
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
}

/** Whether the job has its one outcome. */
export const hasEnded = (job: Pick<JobRecord, "status">): boolean =>
  job.status !== "Created" && job.status !== "Running" && job.status !== "ProvisionalResult"
