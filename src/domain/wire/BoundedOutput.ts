/**
 * Keeps what a job prints within a limit: the first half of the limit and the
 * last half, with a note between them that says how much was cut. Memory stays
 * bounded however much is printed.
 */

import { concat } from "./Bytes.ts"

/** What was kept of an output: its beginning, its end, and the number of bytes that are missing between them. */
export interface KeptOutput {
  readonly head: Uint8Array
  readonly tail: Uint8Array
  readonly cut: number
}

/** An output being collected. */
export interface BoundedOutput {
  readonly headLimit: number
  readonly tailLimit: number
  head: Uint8Array
  headLength: number
  /** A ring, made when the head is full. */
  tail: Uint8Array | null
  /** Bytes that went into the ring. */
  tailWritten: number
  /** Bytes that were missing already when they got here; if there are any, the head takes no more. */
  missing: number
  /** Whoever takes this output part by part has a whole head already. */
  isHeadTaken: boolean
}

const noBytes = new Uint8Array(0)

/** An empty output that keeps at most `limitBytes`. */
export const make = (limitBytes: number): BoundedOutput => ({
  headLimit: Math.ceil(limitBytes / 2),
  tailLimit: Math.floor(limitBytes / 2),
  head: noBytes,
  headLength: 0,
  tail: null,
  tailWritten: 0,
  missing: 0,
  isHeadTaken: false
})

/** Whether nothing was written. */
export const isEmpty = (output: BoundedOutput): boolean =>
  output.headLength === 0 && output.tailWritten === 0 && output.missing === 0

const growHead = (output: BoundedOutput, wanted: number): void => {
  if (wanted <= output.head.length) return
  const head = new Uint8Array(Math.min(output.headLimit, Math.max(wanted, output.head.length * 2, 128)))
  head.set(output.head.subarray(0, output.headLength))
  output.head = head
}

/** Writes into the ring; of a piece that is larger only the end can stay. */
const writeTail = (output: BoundedOutput, bytes: Uint8Array): void => {
  const kept = bytes.subarray(Math.max(0, bytes.length - output.tailLimit))
  output.tail ??= new Uint8Array(output.tailLimit)
  let at = (output.tailWritten + bytes.length - kept.length) % Math.max(1, output.tailLimit)
  let from = 0
  while (from < kept.length) {
    const piece = Math.min(kept.length - from, output.tailLimit - at)
    output.tail.set(kept.subarray(from, from + piece), at)
    from += piece
    at = (at + piece) % output.tailLimit
  }
  output.tailWritten += bytes.length
}

/** Takes in more output. */
export const write = (output: BoundedOutput, bytes: Uint8Array): void => {
  const isHeadOpen = output.missing === 0 && output.tailWritten === 0 && !output.isHeadTaken
  const room = isHeadOpen ? Math.min(bytes.length, output.headLimit - output.headLength) : 0
  if (room > 0) {
    growHead(output, output.headLength + room)
    output.head.set(room === bytes.length ? bytes : bytes.subarray(0, room), output.headLength)
    output.headLength += room
  }
  if (room < bytes.length) writeTail(output, bytes.subarray(room))
}

/** Takes in output of which some may be missing already. */
export const append = (output: BoundedOutput, { cut, head, tail }: KeptOutput): void => {
  write(output, head)
  if (cut > 0) {
    // What the ring has lies before the gap: the end of the output begins anew.
    output.missing += cut + output.tailWritten
    output.tailWritten = 0
  }
  write(output, tail)
}

const tailBytes = ({ tail, tailLimit, tailWritten }: BoundedOutput): Uint8Array => {
  if (tail === null || tailLimit === 0) return noBytes
  if (tailWritten <= tailLimit) return tail.subarray(0, tailWritten)
  const at = tailWritten % tailLimit
  return concat([tail.subarray(at), tail.subarray(0, at)])
}

/** What was kept; the output is empty afterwards. */
export const take = (output: BoundedOutput): KeptOutput => {
  const head = output.head.subarray(0, output.headLength)
  const tail = tailBytes(output)
  const cut = output.missing + output.tailWritten - tail.length
  output.head = noBytes
  output.headLength = 0
  output.tail = null
  output.tailWritten = 0
  output.missing = 0
  return { head, tail, cut }
}

/**
 * The same for one who appends part after part to an output of the same limit: once a part had a whole head, that needs
 * no other, and parts are half as large.
 */
export const takePart = (output: BoundedOutput): KeptOutput => {
  if (output.headLength === output.headLimit) output.isHeadTaken = true
  return take(output)
}

/** Whether a byte continues a UTF-8 character. */
const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80

/** The bytes without a character at the end that is not whole. */
const wholeHead = (bytes: Uint8Array): Uint8Array => {
  let start = bytes.length - 1
  while (start > 0 && bytes.length - start < 4 && isContinuation(bytes[start])) start--
  const lead = bytes[start] ?? 0
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1
  return start >= 0 && start + length > bytes.length ? bytes.subarray(0, start) : bytes
}

/** The bytes without the rest of a character at the beginning. */
const wholeTail = (bytes: Uint8Array): Uint8Array => {
  let start = 0
  while (start < 3 && isContinuation(bytes[start])) start++
  return bytes.subarray(start)
}

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0))

/** What was kept as one text, with a note where bytes are missing. */
export const render = ({ cut, head, tail }: KeptOutput): Uint8Array => {
  if (cut === 0) return tail.length === 0 ? head : concat([head, tail])
  const first = wholeHead(head)
  const last = wholeTail(tail)
  const missing = cut + head.length - first.length + tail.length - last.length
  return concat([first, ascii(`\n... dispy: ${missing} bytes were cut here ...\n`), last])
}
