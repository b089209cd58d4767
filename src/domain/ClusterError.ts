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
