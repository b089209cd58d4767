/** What can go wrong when secrets and certificates are made. */
import { Schema } from "effect"

/** A name that no certificate can have. */
export class InvalidPeerName extends Schema.TaggedError<InvalidPeerName>()("InvalidPeerName", {
  /** The flag: "--node", "--client". */
  option: Schema.String,
  value: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.option} ${JSON.stringify(this.value)} ${this.reason}`
  }
}

/** A key is where one is to be made, and somebody may use it. */
export class KeyFileExists extends Schema.TaggedError<KeyFileExists>()("KeyFileExists", {
  file: Schema.String
}) {
  override get message(): string {
    return `${this.file} exists already, and is left as it is; write another name, or --force to replace it`
  }
}

/** A file cannot be written or read. */
export class KeyFileFailed extends Schema.TaggedError<KeyFileFailed>()("KeyFileFailed", {
  file: Schema.String,
  /** "written", "read". */
  what: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.file} cannot be ${this.what}: ${this.reason}`
  }
}

/** A directory has a certificate authority that cannot sign. */
export class AuthorityUnusable extends Schema.TaggedError<AuthorityUnusable>()("AuthorityUnusable", {
  directory: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `the certificate authority in ${this.directory} cannot be used: ${this.reason}; name another directory to ` +
      "make a new one there"
  }
}
