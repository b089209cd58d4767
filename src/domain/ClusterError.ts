/** What can be wrong with the use of a cluster: options, arguments, a cluster that is closed. */
import { Schema } from "effect"

/** The cluster is closed (or closing) and takes no jobs. */
export class ClusterClosed extends Schema.TaggedError<ClusterClosed>()("ClusterClosed", {
  cluster: Schema.String
}) {
  override get message(): string {
    return `cluster ${this.cluster} is closed and takes no more jobs; create another one`
  }
}

/** The job cannot be submitted again by itself: only the arguments of jobs that ended as `JobPoisoned` are kept. */
export class NotResubmittable extends Schema.TaggedError<NotResubmittable>()("NotResubmittable", {
  cluster: Schema.String,
  jobId: Schema.Unknown,
  reason: Schema.String
}) {
  override get message(): string {
    return `job ${String(this.jobId)} of cluster ${this.cluster} cannot be submitted again: ${this.reason}; ` +
      "call submit with its arguments"
  }
}

/** The cluster has no such node. */
export class UnknownNode extends Schema.TaggedError<UnknownNode>()("UnknownNode", {
  cluster: Schema.String,
  /** What was asked for. */
  node: Schema.String,
  /** Addresses of the nodes there are. */
  known: Schema.Array(Schema.String),
  /** The node that was probably meant; empty for none. */
  suggestion: Schema.String,
  /** The nodes that the name means when it means several. */
  meanings: Schema.Array(Schema.String)
}) {
  override get message(): string {
    if (this.meanings.length > 0) {
      return `${this.node} means ${this.meanings.length} nodes of cluster ${this.cluster}: ` +
        `${this.meanings.join(", ")}; write one of these addresses`
    }
    const hint = this.suggestion === "" ? "" : `did you mean ${this.suggestion}? `
    const nodes = this.known.length === 0 ? "it has none yet" : `its nodes are ${this.known.join(", ")}`
    return `cluster ${this.cluster} has no node ${this.node}; ${hint}${nodes}`
  }
}

/** The node is known and cannot be used now. */
export class NodeNotReady extends Schema.TaggedError<NodeNotReady>()("NodeNotReady", {
  cluster: Schema.String,
  node: Schema.String,
  /** What it is instead: "missing", "busy", "unused" … */
  state: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    const why = this.reason === "" ? "" : ` (${this.reason})`
    return `node ${this.node} is ${this.state} for cluster ${this.cluster}${why}; ` +
      "wait for its event Initialized, or choose a node whose state is ready"
  }
}

/** An option has a value that it cannot have. */
export class InvalidOption extends Schema.TaggedError<InvalidOption>()("InvalidOption", {
  option: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `option ${this.option}: ${this.reason}`
  }
}

/** An argument of a job cannot be sent. */
export class InvalidArgument extends Schema.TaggedError<InvalidArgument>()("InvalidArgument", {
  computation: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.computation} was not submitted: ${this.reason}`
  }
}

/** A job of a durable cluster cannot be written to its recover file. */
export class JobNotWritten extends Schema.TaggedError<JobNotWritten>()("JobNotWritten", {
  cluster: Schema.String,
  file: Schema.String,
  /** Of its file system; -1 where that is not known. */
  freeBytes: Schema.Number,
  reason: Schema.String
}) {
  override get message(): string {
    const room = this.freeBytes < 0 ? "" : `; ${this.freeBytes} bytes are free there`
    return `cluster ${this.cluster} did not take the job: its recover file ${this.file} cannot be written ` +
      `(${this.reason}${room}). Jobs that it has go on; make room and submit the job again, or set durable to false`
  }
}

/** The job's arguments are larger than a job may carry. */
export class ArgumentTooLarge extends Schema.TaggedError<ArgumentTooLarge>()("ArgumentTooLarge", {
  computation: Schema.String,
  sizeBytes: Schema.Number,
  limitBytes: Schema.Number
}) {
  override get message(): string {
    return `${this.computation} was not submitted: its arguments take ${this.sizeBytes} bytes, more than the` +
      ` ${this.limitBytes} that a job may carry; split them or put them in a file`
  }
}
