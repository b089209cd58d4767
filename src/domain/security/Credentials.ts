/** What lets programs of one owner in with each other, and keeps everybody else out. */

/** Nothing: anybody who reaches a port is let in, and everybody on the way can read along. */
export interface NoCredentials {
  readonly _tag: "None"
}

/** A word that all programs of an owner know. */
export interface Secret {
  readonly _tag: "Secret"
  /** Pre-shared key of TLS connections, 32 bytes. */
  readonly tlsKey: Uint8Array
  /** Key of signatures under datagrams, 32 bytes. */
  readonly datagramKey: Uint8Array
}

/** A certificate, and those that the other side's is checked against. */
export interface Certificate {
  readonly _tag: "Certificate"
  /** PEM: the certificate, and what leads from it to the authority. */
  readonly cert: string
  /** PEM. */
  readonly key: string
  /** PEM: authorities whose certificates are accepted, or with `isPinned` the one certificate that is. */
  readonly ca: string
  /**
   * All programs have the same certificate, as dispy does it: whoever has it is accepted, whatever its names. Else a node
   * has to be the one that its certificate names.
   */
  readonly isPinned: boolean
}

/** What lets programs of one owner in with each other. */
export type Credentials = NoCredentials | Secret | Certificate

/** No secret and no certificate. */
export const none: NoCredentials = { _tag: "None" }

/** For sentences: "a secret", "a certificate", "neither a secret nor a certificate". */
export const describe = ({ _tag }: Pick<Credentials, "_tag">): string =>
  _tag === "Secret" ? "a secret" : _tag === "Certificate" ? "a certificate" : "neither a secret nor a certificate"

/** Key of signatures under datagrams; undefined where datagrams are not signed. */
export const datagramKeyOf = (credentials: Credentials): Uint8Array | undefined =>
  credentials._tag === "Secret" ? credentials.datagramKey : undefined
