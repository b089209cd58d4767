/**
 * What a node that dials out says first on a connection that it parks with a client: its announcement, the datagram of
 * [`Datagram.ts`](./Datagram.ts) behind its length in two bytes, little-endian. Then it is silent until the client
 * begins, as on every connection.
 */
import * as Datagram from "./Datagram.ts"

const lengthBytes = 2

/** What every datagram begins with: strangers are known by their first bytes. */
const magic = "dispy"

/** Longest preamble. */
export const maxBytes = lengthBytes + Datagram.maxBytes

/** Puts the length in front of a datagram. */
export const frame = (datagram: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(lengthBytes + datagram.length)
  bytes[0] = datagram.length & 255
  bytes[1] = datagram.length >> 8
  bytes.set(datagram, lengthBytes)
  return bytes
}

/** What the bytes are that have come so far. */
export type Read =
  | { readonly _tag: "Incomplete" }
  /** No preamble, or more than one. */
  | { readonly _tag: "Junk" }
  | { readonly _tag: "Complete"; readonly datagram: Uint8Array }

const junk: Read = { _tag: "Junk" }

/** Reads a preamble; whatever it is, it does not throw. */
export const read = (bytes: Uint8Array): Read => {
  const [low = 0, high = 0] = bytes
  const end = lengthBytes + low + high * 256
  const hasLength = bytes.length >= lengthBytes
  if (hasLength && (end > maxBytes || bytes.length > end)) return junk
  for (let i = 0; i < magic.length && lengthBytes + i < bytes.length; i++) {
    if (bytes[lengthBytes + i] !== magic.charCodeAt(i)) return junk
  }
  return hasLength && bytes.length === end
    ? { _tag: "Complete", datagram: bytes.subarray(lengthBytes) }
    : { _tag: "Incomplete" }
}
