/**
 * What a job can end with instead of a result. Every error names the job, the
 * node where it ran and what to do; `_tag` tells them apart in both APIs.
 */
import { Schema } from "effect"

const where = (node: string): string => node === "" ? "" : ` on node ${node}`

const sizeText = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`

/** How many attempts there were; absent for a job that could have one only. */
const attempts = Schema.optionalKey(Schema.Number)

const tried = (count: number | undefined): string =>
  count === undefined || count < 2 ? "" : `; that was attempt ${count}, and there is no other`

/** The computation threw: the job ran and ended with an error of the user's own code. */
export class JobFailed extends Schema.TaggedError<JobFailed>()("JobFailed", {
  /** The user's `job.id`, or the cluster's number for the job. */
  jobId: Schema.Unknown,
  node: Schema.String,
  /** `name` of what was thrown: "TypeError", say. */
  errorName: Schema.String,
  /** `message` of what was thrown. */
  errorMessage: Schema.String,
  /** Stack in the user's own sources; empty when something that is not an Error was thrown. */
  userStack: Schema.String,
  /** What was thrown, as far as it can be cloned. */
  cause: Schema.Unknown,
  attempts
}) {
  override get message(): string {
    return `job ${String(this.jobId)} failed${where(this.node)}: ${this.errorName}: ${this.errorMessage}` +
      tried(this.attempts)
  }
}

/** The job took its slot down with it: exit, signal, out of memory. The slot was replaced and other jobs go on. */
export class JobCrashed extends Schema.TaggedError<JobCrashed>()("JobCrashed", {
  jobId: Schema.Unknown,
  node: Schema.String,
  /** What happened in a few words: "process.exit(3) was called", "killed by SIGSEGV", "ran out of heap". */
  reason: Schema.String,
  exitCode: Schema.NullOr(Schema.Number),
  signal: Schema.NullOr(Schema.String),
  /** Last lines that the slot wrote to stderr before it died. */
  lastStderr: Schema.String,
  /** Most memory that its process and all it started were seen to use; only of jobs and slots with a memory limit. */
  peakBytes: Schema.optionalKey(Schema.Number),
  attempts
}) {
  override get message(): string {
    const peak = this.peakBytes === undefined ? "" : `; it used up to ${sizeText(this.peakBytes)} of memory`
    const tail = this.lastStderr === "" ? "" : `; last stderr: ${this.lastStderr.trimEnd()}`
    return `job ${String(this.jobId)} took its process down${where(this.node)}: ${this.reason}${peak}${tail}` +
      tried(this.attempts)
  }
}

/** What is known of a slot or a node that a job took down. */
const Evidence = Schema.Struct({
  node: Schema.String,
  reason: Schema.String,
  exitCode: Schema.NullOr(Schema.Number),
  signal: Schema.NullOr(Schema.String)
})

/**
 * The job took its slot down several times, each time a fresh one and no other job with it: it is not tried again, however
 * many retries were left. Its arguments are kept for `resubmit`.
 */
export class JobPoisoned extends Schema.TaggedError<JobPoisoned>()("JobPoisoned", {
  jobId: Schema.Unknown,
  /** Where it ran last. */
  node: Schema.String,
  /** What each of these attempts did, in order. */
  evidence: Schema.Array(Evidence),
  /** Attempts in all. */
  attempts: Schema.Number
}) {
  override get message(): string {
    const all = this.evidence.map(({ node, reason }, i) => `${i + 1}.${where(node)}: ${reason}`)
    return `job ${String(this.jobId)} is poison: it took down ${all.length} slots or nodes (${
      all.join("; ")
    }) and is not ` +
      `tried again; mend what makes it crash, then submit it anew or with resubmit`
  }
}

/** The job took longer than it may: to run (it was killed with everything it had started), to wait, or in all. */
export class JobTimedOut extends Schema.TaggedError<JobTimedOut>()("JobTimedOut", {
  jobId: Schema.Unknown,
  node: Schema.String,
  /** Which limit was reached: `timeout` of an attempt, `queueTimeout`, or `totalTimeout` over all attempts. */
  kind: Schema.Literals(["running", "queue", "total"]),
  /** The limit; 0 where it is not known: of a job that was recovered. */
  timeoutMillis: Schema.Number,
  /** What the job returned after `dispy.signal` had fired; undefined when it did not in time. */
  partialResult: Schema.optionalKey(Schema.Unknown),
  attempts
}) {
  override get message(): string {
    if (this.kind === "queue") {
      return `job ${
        String(this.jobId)
      } waited longer than its queueTimeout of ${this.timeoutMillis} ms for a node and was ` +
        "given up; raise `queueTimeout`, or use more nodes"
    }
    if (this.kind === "total") {
      const count = this.attempts ?? 0
      const attempted = count === 0 ? "" : `, after ${count} attempt${count === 1 ? "" : "s"} without a result`
      return `job ${String(this.jobId)} was not done within its totalTimeout of ${this.timeoutMillis} ms` +
        `${where(this.node)} and was ended${attempted}; raise \`totalTimeout\` if it needs longer`
    }
    const timeout = this.timeoutMillis === 0 ? "its timeout" : `its timeout of ${this.timeoutMillis} ms`
    return `job ${String(this.jobId)} ran longer than ${timeout}${where(this.node)}` +
      ` and was killed; raise \`timeout\` if it needs longer${tried(this.attempts)}`
  }
}

/** The job used more memory than its limit and was killed with everything it had started. Other jobs go on. */
export class JobOutOfMemory extends Schema.TaggedError<JobOutOfMemory>()("JobOutOfMemory", {
  jobId: Schema.Unknown,
  node: Schema.String,
  /** Most memory that its process and all it started were seen to use together. */
  peakBytes: Schema.Number,
  limitBytes: Schema.Number,
  attempts
}) {
  override get message(): string {
    return `job ${String(this.jobId)} used ${sizeText(this.peakBytes)} of memory${where(this.node)}, more than its` +
      ` limit of ${sizeText(this.limitBytes)}, and was killed with all it had started; raise \`memory\` if it needs` +
      ` more${tried(this.attempts)}`
  }
}

/** The job was cancelled: by `cancel`, an aborted signal, an interrupted fiber, or the closing of its cluster. */
export class JobCancelled extends Schema.TaggedError<JobCancelled>()("JobCancelled", {
  jobId: Schema.Unknown,
  /** Where it was running; empty when it had not started. */
  node: Schema.String,
  reason: Schema.String,
  /** What the job returned after `dispy.signal` had fired; undefined when it did not in time. */
  partialResult: Schema.optionalKey(Schema.Unknown)
}) {
  override get message(): string {
    const state = this.node === "" ? " before it started" : where(this.node)
    return `job ${String(this.jobId)} was cancelled${state}: ${this.reason}`
  }
}

/**
 * The job's node went away while the job may have been running, so it was not started again elsewhere; or one that may
 * be started again lost too many nodes.
 */
export class NodeLost extends Schema.TaggedError<NodeLost>()("NodeLost", {
  jobId: Schema.Unknown,
  node: Schema.String,
  reason: Schema.String,
  /** The nodes that were lost under it when there were several, in order. */
  nodes: Schema.optionalKey(Schema.Array(Schema.String)),
  attempts
}) {
  override get message(): string {
    if (this.nodes !== undefined) {
      return `job ${String(this.jobId)} was abandoned: ${this.nodes.length} nodes were lost while it ran there ` +
        `(${
          this.nodes.join(", ")
        }; the last one: ${this.reason}); see whether the job itself brings them down before ` +
        "you submit it again"
    }
    return `job ${
      String(this.jobId)
    } was abandoned: node ${this.node} was lost (${this.reason}) while the job may have` +
      " been running; submit it again if it may run twice, or create the cluster with `reentrant: true`"
  }
}

/** The computation returned something that cannot be sent to the client. */
export class ResultNotSendable extends Schema.TaggedError<ResultNotSendable>()("ResultNotSendable", {
  jobId: Schema.Unknown,
  node: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `job ${String(this.jobId)} ran${where(this.node)}, but its result cannot be sent: ${this.reason}`
  }
}

/** Large arguments did not make it to the node, or a large result not back. */
export class ValueNotTransferred extends Schema.TaggedError<ValueNotTransferred>()("ValueNotTransferred", {
  jobId: Schema.Unknown,
  node: Schema.String,
  reason: Schema.String,
  attempts
}) {
  override get message(): string {
    return `job ${String(this.jobId)} has no result${
      where(this.node)
    }: its arguments, its files or its result could not be` +
      ` transferred: ${this.reason}${tried(this.attempts)}`
  }
}

/** Every way in which a job ends without a result. */
export type JobError =
  | JobFailed
  | JobCrashed
  | JobPoisoned
  | JobTimedOut
  | JobOutOfMemory
  | JobCancelled
  | NodeLost
  | ResultNotSendable
  | ValueNotTransferred
