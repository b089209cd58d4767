/**
 * The bytes of a bulk connection: files and large values between a client and a
 * node, beside the control connection and on the same port. The client opens it
 * with a greeting whose first byte no control message has; the lease in it is the
 * secret that authorises. Then frames `u8 type | u32 size | payload`, both ways,
 * little-endian, of which those with data are passed on as they come.
 *
 * ```
 * client                                          node
 *   "\0dispy-bulk" | u8 version | u8 size | lease
 *   Put (JSON PutHeader)                ──▶
 *                                       ◀──        Offset: only where the header asks to resume
 *   Data … End (SHA-256)                ──▶        (temporary file, verified, renamed)
 *                                       ◀──        Done | Failed
 *   Get (JSON GetHeader)                ──▶
 *                                       ◀──        Head (JSON), Data … End (SHA-256) | Failed
 *   Done: it is there, whole            ──▶
 *   Acknowledge (f64: data bytes taken) ◀─▶        whoever receives data, so that the sender can bound what is under way
 *   Abort: the content breaks off here  ◀─▶
 *                                       ◀──        Refused (a sentence), then the end
 * ```
 * Puts are sent one after the other without waiting for answers; answers name
 * the transfer and may come in any order.
 */
import { Schema } from "effect"

/** What a bulk connection begins with. A control message begins with its length, which is never 0. */
export const magic = "\0dispy-bulk"

/** Changes with the bytes described here. */
export const bulkVersion = 1

/** Bytes before a frame's payload. */
export const headerBytes = 5

/** Largest payload of a frame that is not data. */
export const maxControlBytes = 64 * 1024

/** Types of frames. */
export const Frame = {
  put: 1,
  data: 2,
  end: 3,
  abort: 4,
  get: 5,
  acknowledge: 6,
  offset: 7,
  done: 8,
  failed: 9,
  head: 10,
  refused: 11
} as const

const Size = Schema.Number.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

const Attempt = { jobId: Size, attempt: Size }

/** Where content goes to on the node. */
export const PutTarget = Schema.Union([
  /** A file that was offered: with the computation, or with a job of it. */
  Schema.TaggedStruct("Dependency", { path: Schema.String, jobId: Schema.optionalKey(Size) }),
  /** Another file of the working directory. */
  Schema.TaggedStruct("File", { path: Schema.String, mode: Size, modifiedMillis: Schema.Number }),
  /** The arguments of a job. */
  Schema.TaggedStruct("Arguments", Attempt)
])

/** Where content goes to on the node. */
export type PutTarget = typeof PutTarget.Type

/** What content is fetched from the node. */
export const GetSource = Schema.Union([
  /** The result of a job. */
  Schema.TaggedStruct("Result", Attempt),
  /** A file that a job sends. */
  Schema.TaggedStruct("JobFile", { fileId: Size })
])

/** What content is fetched from the node. */
export type GetSource = typeof GetSource.Type

/** Announces content. */
export const PutHeader = Schema.Struct({
  /** Number within the client, for answers and for a later try. */
  id: Size,
  computationId: Schema.String,
  target: PutTarget,
  sizeBytes: Size,
  /** Whether to answer first how much is there already. */
  isResumed: Schema.Boolean
})

/** Announces content. */
export type PutHeader = typeof PutHeader.Type

/** Asks for content. */
export const GetHeader = Schema.Struct({
  id: Size,
  computationId: Schema.String,
  source: GetSource,
  /** Bytes that are there already. */
  offset: Size
})

/** Asks for content. */
export type GetHeader = typeof GetHeader.Type

/** What comes. */
export const Head = Schema.Struct({ id: Size, sizeBytes: Size })

/** Where to go on. */
export const Offset = Schema.Struct({ id: Size, offset: Size })

/** Content is there, whole. */
export const Done = Schema.Struct({ id: Size })

/** Content is not to be had, or not wanted. */
export const Failed = Schema.Struct({
  id: Size,
  reason: Schema.String,
  /** The node's limit, where the content is larger. */
  limitBytes: Schema.optionalKey(Size)
})

/** Content is not to be had, or not wanted. */
export type Failed = typeof Failed.Type

/** The bytes with which a client opens a bulk connection; ids of leases are of ASCII characters. */
export const greeting = (leaseId: string): Uint8Array => {
  const bytes = new Uint8Array(magic.length + 2 + leaseId.length)
  for (let i = 0; i < magic.length; i++) bytes[i] = magic.charCodeAt(i)
  bytes[magic.length] = bulkVersion
  bytes[magic.length + 1] = leaseId.length
  for (let i = 0; i < leaseId.length; i++) bytes[magic.length + 2 + i] = leaseId.charCodeAt(i)
  return bytes
}

/** What is known of a greeting. */
export type Greeting =
  | { readonly _tag: "Incomplete" }
  | { readonly _tag: "Malformed"; readonly reason: string }
  | { readonly _tag: "Greeted"; readonly leaseId: string; readonly size: number }

/** Reads a greeting from the first bytes of a connection. */
export const readGreeting = (bytes: Uint8Array): Greeting => {
  for (let i = 0; i < Math.min(magic.length, bytes.length); i++) {
    if (bytes[i] !== magic.charCodeAt(i)) {
      return { _tag: "Malformed", reason: "it does not begin like a bulk connection" }
    }
  }
  if (bytes.length > magic.length && bytes[magic.length] !== bulkVersion) {
    return {
      _tag: "Malformed",
      reason: `it speaks version ${bytes[magic.length]} of the bulk protocol, not ${bulkVersion}`
    }
  }
  const size = magic.length + 2 + (bytes[magic.length + 1] ?? Infinity)
  if (bytes.length < size) return { _tag: "Incomplete" }
  return { _tag: "Greeted", leaseId: String.fromCharCode(...bytes.subarray(magic.length + 2, size)), size }
}
