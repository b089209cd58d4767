/**
 * The datagrams with which clients, nodes and relays find each other. None carries
 * authority: at worst a forged one causes a connection that fails its handshake.
 *
 * ```
 * "dispy" | u8 version | u8 signed | 32 bytes HMAC-SHA-256 of the rest (zeros when unsigned) | JSON in ASCII
 *
 * client                    node                        client           relay              node
 *   Ping           ──▶                                    Ping     ──▶
 *                  ◀──      Answer                                       RelayedPing ──▶
 *                  ◀──      Announcement (start)                  ◀───────────────────      Answer
 *                  ◀──      Goodbye (end)                                            ◀──    Answer
 *                                                                 ◀──    RelayedNode
 *   Ping           ──▶  of another secret, version or time                  the same of a relay
 *                  ◀──      Unheeded, as unreadable there as the ping here
 * ```
 * A ping is as long as the longest datagram, and all answers to one that is not
 * signed are together no longer than it: pings with a forged source amplify nothing.
 */
import { Option, Result, Schema } from "effect"

/** Changes with the bytes described here. */
export const datagramVersion = 1

/** Longest datagram in bytes: one packet on every link (IPv6 carries at least 1280). */
export const maxBytes = 960

/** Port of clients and schedulers, where announcements go by UDP and nodes that dial out by TCP; dispy's. */
export const clientPort = 51347

/** Multicast group of IPv4, within the organisation (RFC 2365); dispy's. */
export const ipv4Group = "239.255.61.59"

/** Multicast group of IPv6: dispy's, on the link only. */
export const ipv6Group = "ff02::b409:3171:9705:5134:6159"

/** Keyed hash of bytes (HMAC-SHA-256): 32 bytes. */
export type Mac = (bytes: Uint8Array) => Uint8Array

const macBytes = 32
const magic = "dispy"
const headBytes = magic.length + 2
const bodyAt = headBytes + macBytes

/** Longest host in a datagram. */
export const maxHostBytes = 100

/** An IP address or a host name, perhaps with an IPv6 zone. */
const Host = Schema.String.check(Schema.isPattern(/^[\w.:%-]{1,100}$/))

/** Whether a text can be a host in a datagram. */
export const isHost = Schema.is(Host)

const Port = Schema.Number.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 65_535 }))

/** Longest name of a node that a datagram carries, in bytes of JSON; longer ones are cut. */
const maxNameBytes = 100

/** Answers to one ping that may be asked for, at most. */
export const maxAnswers = 3

/** Addresses that a datagram carries, at most. */
export const maxAddresses = 3

const Nonce = Schema.String.check(Schema.isPattern(/^[0-9a-f]{32}$/))

/** Where somebody is. */
export const Place = Schema.Struct({ host: Host, port: Port })

/** Where somebody is. */
export type Place = typeof Place.Type

/** How often to answer, where datagrams get lost; once unless it is said. */
const Answers = Schema.Number.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: maxAnswers }))

/** A node as it tells of itself. */
export const NodeBeacon = Schema.Struct({
  name: Schema.String.check(Schema.isMaxLength(maxNameBytes)),
  /** TCP port. */
  port: Port,
  /** Unique per start of the node. */
  incarnation: Schema.String.check(Schema.isPattern(/^[\w-]{1,64}$/)),
  /** Where it wants to be dialled (`--ext-ip-addr`); empty for where the datagram comes from. */
  addresses: Schema.Array(Host).check(Schema.isMaxLength(maxAddresses)),
  /** Version of the package. */
  version: Schema.String.check(Schema.isMaxLength(24))
})

/** A node as it tells of itself. */
export type NodeBeacon = typeof NodeBeacon.Type

/** What a datagram says. */
export const Message = Schema.Union([
  /** Of a client or scheduler: who is there? */
  Schema.TaggedStruct("Ping", {
    /** Where nodes that a relay asks are to answer; empty for where the ping comes from. */
    answerAt: Schema.Array(Place).check(Schema.isMaxLength(maxAddresses)),
    answers: Schema.optionalKey(Answers)
  }),
  /** Of a node to the client that pinged. */
  Schema.TaggedStruct("Answer", { inReplyTo: Nonce, node: NodeBeacon }),
  /** Of a node that starts, or is idle. */
  Schema.TaggedStruct("Announcement", { node: NodeBeacon }),
  /** Of a node that ends. */
  Schema.TaggedStruct("Goodbye", { incarnation: NodeBeacon.fields.incarnation }),
  /** Of a relay to the nodes of its network: somebody else asked. */
  Schema.TaggedStruct("RelayedPing", {
    inReplyTo: Nonce,
    answerAt: Schema.Array(Place).check(Schema.isMaxLength(maxAddresses)),
    answers: Schema.optionalKey(Answers)
  }),
  /** Of a relay: a node of its network is at this host. */
  Schema.TaggedStruct("RelayedNode", { inReplyTo: Schema.optionalKey(Nonce), host: Host, node: NodeBeacon }),
  /** Of a node or relay to a ping that it does not heed: how this is signed and dated tells the other side why. */
  Schema.TaggedStruct("Unheeded", {})
])

/** What a datagram says. */
export type Message = typeof Message.Type

/** What makes a datagram the only one of its kind. */
export interface Stamp {
  /** 16 random bytes in hexadecimal. */
  readonly nonce: string
  /** Milliseconds since 1970 by the sender's clock. */
  readonly sentAtMillis: number
}

const Envelope = Schema.Struct({
  nonce: Nonce,
  sentAtMillis: Schema.Number.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
  message: Message
})

const decodeEnvelope = Schema.decodeUnknownOption(Envelope)

/** JSON that is ASCII throughout, so that characters are bytes. */
const asciiJson = (value: unknown): string =>
  JSON.stringify(value).replaceAll(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/** The longest beginning of a name that fits into a datagram. */
export const shortName = (name: string): string => {
  let short = ""
  for (const character of name) {
    if (asciiJson(short + character).length - 2 > maxNameBytes) break
    short += character
  }
  return short
}

/** What a node tells of itself: its name and addresses as far as they fit. */
export const nodeBeacon = (node: NodeBeacon): NodeBeacon => ({
  ...node,
  name: shortName(node.name),
  addresses: node.addresses.slice(0, maxAddresses)
})

/** What is signed: everything but the signature. */
const signedBytes = (bytes: Uint8Array): Uint8Array => {
  const signed = new Uint8Array(bytes.length - macBytes)
  signed.set(bytes.subarray(0, headBytes))
  signed.set(bytes.subarray(bodyAt), headBytes)
  return signed
}

/** The bytes of a datagram, signed when there is a `mac`. Messages within the limits of their schemas always fit. */
export const encode = (message: Message, { nonce, sentAtMillis }: Stamp, mac: Mac | undefined): Uint8Array => {
  const json = asciiJson({ nonce, sentAtMillis, message })
  const isPing = message._tag === "Ping" || message._tag === "RelayedPing"
  const bytes = new Uint8Array(isPing ? Math.max(maxBytes, bodyAt + json.length) : bodyAt + json.length)
  for (let i = 0; i < magic.length; i++) bytes[i] = magic.charCodeAt(i)
  bytes[magic.length] = datagramVersion
  bytes[magic.length + 1] = mac === undefined ? 0 : 1
  for (let i = 0; i < json.length; i++) bytes[bodyAt + i] = json.charCodeAt(i)
  bytes.fill(0x20, bodyAt + json.length)
  if (mac !== undefined) bytes.set(mac(signedBytes(bytes)), headBytes)
  return bytes
}

/**
 * Which answers to a ping are sent: those of these lengths, one after the other and all of them so many times, as long
 * as they are together no longer than `room`. The index of each, in rounds.
 */
export const answersIn = (
  lengths: ReadonlyArray<number>,
  times: number,
  room: number
): ReadonlyArray<ReadonlyArray<number>> => {
  const rounds: Array<ReadonlyArray<number>> = []
  let left = room
  for (let time = 0; time < times; time++) {
    const round: Array<number> = []
    for (const [index, length] of lengths.entries()) {
      left -= length
      if (left >= 0) round.push(index)
    }
    if (round.length > 0) rounds.push(round)
  }
  return rounds
}

/** Why a datagram is not heeded. */
export type Refusal =
  /** No datagram of ours, or a mutilated one. */
  | "junk"
  /** Of another version of dispy. */
  | "version"
  /** Not signed, though this side has a secret. */
  | "unsigned"
  /** Signed with another secret. */
  | "signature"
  /** Signed, though this side has no secret. */
  | "signed"

/** A datagram that was read. */
export interface Received extends Stamp {
  readonly message: Message
}

/** Whether a datagram that cannot be read may be a ping: nothing else is as long, so nobody answers an `Unheeded`. */
export const isPingLong = (bytes: Uint8Array): boolean => bytes.length === maxBytes

/** Equal, in a time that does not tell where the difference is. */
const isEqual = (a: Uint8Array, b: Uint8Array): boolean => {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ (b[i] ?? 0)
  return difference === 0
}

const textOf = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

/** Reads a datagram; whatever it is, it does not throw. A `mac` is there when this side has a secret. */
export const decode = (bytes: Uint8Array, mac: Mac | undefined): Result.Result<Received, Refusal> => {
  if (bytes.length > maxBytes || bytes.length <= bodyAt) return Result.fail("junk")
  for (let i = 0; i < magic.length; i++) if (bytes[i] !== magic.charCodeAt(i)) return Result.fail("junk")
  if (bytes[magic.length] !== datagramVersion) return Result.fail("version")
  const flag = bytes[magic.length + 1]
  if (flag !== 0 && flag !== 1) return Result.fail("junk")
  const isSigned = flag === 1
  if (mac === undefined && isSigned) return Result.fail("signed")
  if (mac !== undefined && !isSigned) return Result.fail("unsigned")
  if (mac !== undefined && !isEqual(bytes.subarray(headBytes, bodyAt), mac(signedBytes(bytes)))) {
    return Result.fail("signature")
  }
  const parsed = Result.try((): unknown => JSON.parse(textOf(bytes.subarray(bodyAt))))
  const envelope = Result.isSuccess(parsed) ? decodeEnvelope(parsed.success) : Option.none()
  return Option.match(envelope, {
    onNone: () => Result.fail<Refusal>("junk"),
    onSome: Result.succeed
  })
}
