/**
 * How two programs that do not let each other in tell why, before they trust each other with anything: by what a TLS
 * library reports of a handshake, and where that cannot say it, by a sentence in the connection.
 *
 * ```
 * client \ node    nothing                      secret                           certificate
 * nothing          let in                       node: sentence in clear          node: sentence in clear
 * secret           node: TLS alert 71           another key: alert 20            no cipher in common: alert 40
 * certificate      node: TLS alert 71           no cipher in common: alert 40    node: sentence inside of TLS
 * ```
 */
import type { Credentials } from "./Credentials.ts"

/** First byte of a TLS connection. */
export const tlsByte = 0x16

/** First byte of a refusal, that of a TLS alert; no message and no bulk connection begins with it. */
export const refusalByte = 0x15

/** The TLS alert `insufficient_security`: this node has no credentials. Sent in clear to whoever begins with TLS. */
export const noTls: Uint8Array = Uint8Array.of(refusalByte, 3, 3, 0, 2, 2, 71)

/** The TLS alert `access_denied`: too many handshakes of the client's address have failed. Sent in clear before one. */
export const tooManyFailures: Uint8Array = Uint8Array.of(refusalByte, 3, 3, 0, 2, 2, 49)

const maxSentenceBytes = 500

/** A refusal that says why, in ASCII; at most 500 characters of it. */
export const encode = (sentence: string): Uint8Array =>
  Uint8Array.from([refusalByte, ...Array.from(sentence.slice(0, maxSentenceBytes), (one) => one.charCodeAt(0) & 0x7f)])

/** The sentence of a refusal; undefined for other bytes. What a stranger sends may go to a terminal. */
export const decode = (bytes: Uint8Array): string | undefined => {
  if (bytes[0] !== refusalByte) return undefined
  const codes = bytes.subarray(1, maxSentenceBytes + 1).filter((code) => code >= 0x20 && code < 0x7f)
  return bytes[1]! >= 0x20
    ? String.fromCharCode(...codes)
    : "it speaks TLS, which this client does not without a secret or a certificate"
}

/** What a node says to a client that begins without TLS. */
export const needsCredentials = (own: Credentials): string =>
  own._tag === "Secret"
    ? "this node wants its secret: give the client the same one (secret, or DISPY_SECRET_FILE)"
    : "this node wants a certificate: give the client certfile and keyfile"

const expired = "expired; make new ones (dispy keys init)"
const otherSecret = "the secrets differ: give both sides the same one"
const bothKinds = "one side has a secret, the other a certificate: give both the same kind"
const stranger =
  "its certificate is not one of this cluster's: check cafile, and that both were made by the same authority"
const strangerHere =
  "the node does not accept this client's certificate: check the node's --cafile, and that both were " +
  "made by the same authority"

const noDispy = "what listens there speaks no TLS: is it dispynode, of this version?"

/** Codes of errors that Node's TLS reports to a client, and what they mean for it. */
const clientReasons: Readonly<Record<string, string>> = {
  ALERT_INSUFFICIENT_SECURITY:
    "it has neither a secret nor a certificate: start it with --secret-file or --certfile, or give this client neither",
  ALERT_ACCESS_DENIED: "too many handshakes from this address have failed; it takes one again in a few seconds",
  ALERT_BAD_RECORD_MAC: otherSecret,
  ALERT_DECRYPT_ERROR: otherSecret,
  DECRYPTION_FAILED_OR_BAD_RECORD_MAC: otherSecret,
  ALERT_HANDSHAKE_FAILURE: bothKinds,
  ALERT_PROTOCOL_VERSION: bothKinds,
  UNSUPPORTED_PROTOCOL: bothKinds,
  NO_SHARED_CIPHER: bothKinds,
  ALERT_CERTIFICATE_REQUIRED: "it wants a certificate: give this client certfile and keyfile",
  ALERT_UNKNOWN_CA: strangerHere,
  ALERT_BAD_CERTIFICATE: strangerHere,
  ALERT_CERTIFICATE_UNKNOWN: strangerHere,
  ALERT_CERTIFICATE_EXPIRED: `this client's certificate has ${expired}`,
  CERT_HAS_EXPIRED: `its certificate has ${expired}`,
  CERT_NOT_YET_VALID: "its certificate is not valid yet: check the clocks of both machines",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: stranger,
  UNABLE_TO_GET_ISSUER_CERT: stranger,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: stranger,
  SELF_SIGNED_CERT_IN_CHAIN: stranger,
  DEPTH_ZERO_SELF_SIGNED_CERT: stranger,
  CERT_SIGNATURE_FAILURE: stranger,
  INVALID_PURPOSE: "its certificate is not one of a node: start it with one that dispy keys init --node made",
  WRONG_VERSION_NUMBER: noDispy,
  PACKET_LENGTH_TOO_LONG: noDispy
}

/** The code without what changes between versions of the TLS library. */
const plainCode = (code: unknown): string =>
  typeof code === "string"
    ? code.replace(/^ERR_SSL_/, "").replace(/^(SSL\/TLS|SSLV3|TLSV1|TLSV13)_ALERT_/, "ALERT_")
    : ""

/** Why a client gets no connection to a node, by what its TLS reports; undefined for other errors. */
export const explainToClient = (error: { readonly code?: unknown; readonly message: string }): string | undefined => {
  if (error.code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `its certificate is for another host (${error.message}): list it by a name of its certificate, or make one for ` +
      "this name (dispy keys init)"
  }
  return clientReasons[plainCode(error.code)]
}

/** Why a node does not let a client in, and what to do, for whoever reads the node's log. */
const otherKey = "it has another secret: give both sides the same one"
const otherKind = "it has a secret where this node has a certificate, or the other way round: give both the same kind"

/** Of a client that hung up when it had seen the node's certificate. */
export const doubtful =
  "it does not accept this node's certificate, and says why: make one for the name or address by which it lists this node" +
  " (dispy keys init), and check that its cafile is the authority of that"

/** Of a client that begins with TLS where the node has no credentials. */
export const moreThanNeeded =
  "it has a secret or a certificate, and this node has neither: give this node the same (--secret-file or --certfile)"

/** Of a client that begins without TLS. */
export const explainNone = (own: Credentials): string =>
  `it has neither a secret nor a certificate: give it ${own._tag === "Secret" ? "this node's secret" : "a certificate"}`

/** Of an address that has used up its failures. */
export const explainFailures = (maxFailures: number): string =>
  `more than ${maxFailures} of its handshakes failed within a minute`

/** Codes of errors that Node's TLS reports to a node. */
const nodeReasons: Readonly<Record<string, string>> = {
  DECRYPTION_FAILED_OR_BAD_RECORD_MAC: otherKey,
  CIPHER_OPERATION_FAILED: otherKey,
  PSK_IDENTITY_NOT_FOUND: otherKey,
  NO_SHARED_CIPHER: otherKind,
  UNSUPPORTED_PROTOCOL: otherKind,
  ALERT_UNKNOWN_CA: doubtful,
  ALERT_BAD_CERTIFICATE: doubtful,
  ALERT_CERTIFICATE_UNKNOWN: doubtful,
  ALERT_CERTIFICATE_EXPIRED: `to it this node's certificate has ${expired}`
}

/** Why a node did not let a client in, by what its TLS reports. */
export const explainToNode = (error: { readonly code?: unknown; readonly message: string }): string =>
  nodeReasons[plainCode(error.code)] ?? "its TLS handshake failed"

/** The same of a client whose certificate the node does not accept. */
export const explainUnauthorized = (code: string): string =>
  code === "CERT_HAS_EXPIRED"
    ? `its certificate has ${expired}`
    : code === "CERT_NOT_YET_VALID"
    ? "its certificate is not valid yet: check the clocks of both machines"
    : code === "INVALID_PURPOSE"
    ? "its certificate is not one of a client: give it one that dispy keys init --client made"
    : "its certificate is not from this cluster's authority: check --cafile here, and who made the certificate"

/** What a node says inside of TLS to a client whose certificate it does not accept, by what its TLS reports of that. */
export const unauthorized = (code: string): string =>
  code === "CERT_HAS_EXPIRED"
    ? `this client's certificate has ${expired}`
    : code === "CERT_NOT_YET_VALID"
    ? "this client's certificate is not valid yet: check the clocks of both machines"
    : code === "INVALID_PURPOSE"
    ? "this client's certificate is not one of a client: use one that dispy keys init --client made"
    : strangerHere
