/** What can be wrong with a recover file, and with what is to be recovered by it. */
import { Schema } from "effect"

/** The recover file cannot be read, or is none. */
export class RecoverFileFailed extends Schema.TaggedError<RecoverFileFailed>()("RecoverFileFailed", {
  file: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `recover file ${this.file}: ${this.reason}`
  }
}

/** The program whose jobs are to be recovered has not died: its results go to itself. */
export class ClientAlive extends Schema.TaggedError<ClientAlive>()("ClientAlive", {
  file: Schema.String,
  /** User, host and process. */
  client: Schema.String
}) {
  override get message(): string {
    return `recover file ${this.file}: its program still runs (${this.client}); wait for its end, or end it`
  }
}

/** A node that is not done. */
export const Unfinished = Schema.Struct({
  /** Address of the node. */
  node: Schema.String,
  /** Why: "connection refused", "jobs still run" … */
  reason: Schema.String,
  /** Jobs that run there, as far as is known. */
  running: Schema.Number
})

/** A node that is not done. */
export type Unfinished = typeof Unfinished.Type

/** For a sentence. */
export const describeUnfinished = (unfinished: ReadonlyArray<Unfinished>): string =>
  unfinished.map(({ node, reason }) => `${node} (${reason})`).join(", ")

/** Not all nodes are done: a timeout was over, or something could not be fetched. What they keep is there for another try. */
export class RecoveryIncomplete extends Schema.TaggedError<RecoveryIncomplete>()("RecoveryIncomplete", {
  file: Schema.String,
  unfinished: Schema.Array(Unfinished)
}) {
  override get message(): string {
    return `recover file ${this.file}: there is more to recover from ${describeUnfinished(this.unfinished)}; ` +
      "try again later with the same file"
  }
}
