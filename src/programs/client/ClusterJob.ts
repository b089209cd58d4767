/**
 * A submitted job in the client: what the scheduler needs of it, the user's id,
 * and its outcome once it has one. Both APIs wrap this object; a queued job is
 * little more than its arguments.
 */
import type { JobError } from "../../domain/JobError.ts"
import type { GatherFiles, HeldArguments, JobRecord, JobStatus, Trials } from "../../domain/scheduler/JobRecord.ts"
import type { ClassTable } from "../../slot/ClassTable.ts"

/** What became of a job. */
export interface JobOutcome {
  /** What the computation returned; undefined when `error` is set (or it returned nothing). */
  readonly value: unknown
  readonly error: JobError | undefined
  readonly stdout: string
  readonly stderr: string
  /** Wall clock of the node when the job started, in milliseconds since 1970; 0 when it never did. */
  readonly startTime: number
  /** The same when it ended. */
  readonly endTime: number
}

/** The provisional results that a job has sent so far. */
export interface ProvisionalLog {
  /** The last ones, oldest first. */
  readonly kept: Array<unknown>
  readonly listeners: Set<(value: unknown) => void>
}

/** A submitted job. */
export class ClusterJob implements JobRecord {
  readonly number: number
  args: Uint8Array
  readonly flags: number
  readonly timeoutMillis: number
  readonly memoryKiB: number
  readonly pinnedTo: string
  /** Milliseconds since 1970 by this machine's clock. */
  readonly submitTime = performance.timeOrigin + performance.now()
  status: JobStatus = "Created"
  attempt = 0
  nodeId = ""
  cancelReason = ""
  /** The user's name for the job; anything. */
  id: unknown
  /** What of its arguments is counted, until it has ended. */
  held: HeldArguments | undefined = undefined
  outcome: JobOutcome | undefined = undefined
  files: GatherFiles | undefined = undefined
  /** Classes whose instances arrive as such in its results. */
  classes: ClassTable | undefined = undefined
  /** There once it has sent one, or somebody listens. */
  provisional: ProvisionalLog | undefined = undefined
  /** The object that stands for the job in the API that submitted it; null for a job that `map` made. */
  view: unknown = undefined
  /** Its attempts without a result, and what it may do beyond one; undefined for a job that has none of it. */
  trials: Trials | undefined = undefined
  /** Called once when the job has its outcome. */
  listener: (() => void) | undefined = undefined

  constructor(
    number: number,
    args: Uint8Array,
    flags: number,
    { memoryKiB, timeoutMillis }: { readonly timeoutMillis: number; readonly memoryKiB: number },
    id: unknown,
    pinnedTo = ""
  ) {
    this.number = number
    this.args = args
    this.flags = flags
    this.timeoutMillis = timeoutMillis
    this.memoryKiB = memoryKiB
    this.pinnedTo = pinnedTo
    this.id = id
  }
}

/** What errors call the job: the user's id, or its number. */
export const nameOf = (job: ClusterJob): unknown => job.id === undefined ? job.number : job.id

/** Calls `listener` when the job has its outcome, at once if it has; returns a function that takes it back. */
export const onOutcome = (job: ClusterJob, listener: () => void): () => void => {
  if (job.outcome !== undefined) {
    listener()
    return () => {}
  }
  const before = job.listener
  let isWanted = true
  job.listener = () => {
    before?.()
    if (isWanted) listener()
  }
  return () => {
    isWanted = false
  }
}

/** Gives the job its outcome and tells who waits for it. */
export const settle = (job: ClusterJob, outcome: JobOutcome): void => {
  const { listener } = job
  job.outcome = outcome
  job.listener = undefined
  listener?.()
}
