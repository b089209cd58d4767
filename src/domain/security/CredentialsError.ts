/** A secret or certificate that cannot be used. */
import { Schema } from "effect"

/** A secret or certificate that cannot be used. */
export class CredentialsError extends Schema.TaggedError<CredentialsError>()("CredentialsError", {
  /** Where it was given: the option or variable, with the file it names. */
  where: Schema.String,
  /** A clause that continues "… cannot be used: ", with the way out. */
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.where} cannot be used: ${this.reason}`
  }
}
