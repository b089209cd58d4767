/** What can go wrong with files and large values on their way between a client and a node. */
import { Schema } from "effect"

/** A file is larger than it may be. */
export class FileTooLarge extends Schema.TaggedError<FileTooLarge>()("FileTooLarge", {
  file: Schema.String,
  sizeBytes: Schema.Number,
  limitBytes: Schema.Number,
  /** Whose limit it is: "this cluster" or "node 10.0.0.7". */
  limitOf: Schema.String
}) {
  override get message(): string {
    const { file, limitBytes, limitOf, sizeBytes } = this
    const wayOut = limitOf.startsWith("node") ? "start dispynode with a larger --max-file-size" : "raise maxFileSize"
    return `file ${file} has ${sizeBytes} bytes, more than the ${limitBytes} that ${limitOf} takes; ${wayOut}`
  }
}

/** A file or value did not arrive. */
export class TransferFailed extends Schema.TaggedError<TransferFailed>()("TransferFailed", {
  /** "file data.csv", "the arguments of job 7" … */
  what: Schema.String,
  node: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.what} was not transferred (node ${this.node}): ${this.reason}`
  }
}
