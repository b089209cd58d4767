/**
 * Keeps what a job prints within a limit: the first half of the limit and the
 * last half, with a note between them that says how much was cut. Memory stays
 * bounded however much is printed.
 */

/** What was kept of an output, and whether something was cut. */
export interface KeptOutput {
  readonly bytes: Uint8Array
  readonly isTruncated: boolean
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
}

/** An empty output that keeps at most `limitBytes`. */
export const make = (limitBytes: number): BoundedOutput => ({
  headLimit: Math.ceil(limitBytes / 2),
  tailLimit: Math.floor(limitBytes / 2),
  head: new Uint8Array(0),
  headLength: 0,
  tail: null,
  tailWritten: 0
})

/** Whether nothing was written. */
export const isEmpty = (output: BoundedOutput): boolean => output.headLength === 0 && output.tailWritten === 0

const growHead = (output: BoundedOutput, wanted: number): void => {
  if (wanted <= output.head.length) return
  const head = new Uint8Array(Math.min(output.headLimit, Math.max(wanted, output.head.length * 2, 256)))
  head.set(output.head.subarray(0, output.headLength))
  output.head = head
}

/** Takes in more output. */
export const write = (output: BoundedOutput, bytes: Uint8Array): void => {
  const room = Math.min(bytes.length, output.headLimit - output.headLength)
  if (room > 0) {
    growHead(output, output.headLength + room)
    output.head.set(room === bytes.length ? bytes : bytes.subarray(0, room), output.headLength)
    output.headLength += room
  }
  if (room === bytes.length) return
  const rest = bytes.subarray(room)
  if (output.tail === null) output.tail = new Uint8Array(output.tailLimit)
  // Of a piece larger than the ring only its end can stay.
  const kept = rest.subarray(Math.max(0, rest.length - output.tailLimit))
  let at = (output.tailWritten + rest.length - kept.length) % Math.max(1, output.tailLimit)
  let from = 0
  while (from < kept.length) {
    const piece = Math.min(kept.length - from, output.tailLimit - at)
    output.tail.set(kept.subarray(from, from + piece), at)
    from += piece
    at = (at + piece) % output.tailLimit
  }
  output.tailWritten += rest.length
}

/** Whether a byte continues a UTF-8 character. */
const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80

/** End of the last whole character in `bytes`. */
const wholeEnd = (bytes: Uint8Array): number => {
  let start = bytes.length - 1
  while (start > 0 && bytes.length - start < 4 && isContinuation(bytes[start])) start--
  const lead = bytes[start] ?? 0
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1
  return start + length > bytes.length && start >= 0 ? start : bytes.length
}

/** Start of the first whole character in `bytes`. */
const wholeStart = (bytes: Uint8Array): number => {
  let start = 0
  while (start < 3 && isContinuation(bytes[start])) start++
  return start
}

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0))

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}

const tailBytes = (output: BoundedOutput): Uint8Array => {
  if (output.tail === null || output.tailLimit === 0) return new Uint8Array(0)
  if (output.tailWritten <= output.tailLimit) return output.tail.subarray(0, output.tailWritten)
  const at = output.tailWritten % output.tailLimit
  return concat([output.tail.subarray(at), output.tail.subarray(0, at)])
}

/** What was kept; the output is empty afterwards. */
export const take = (output: BoundedOutput): KeptOutput => {
  const head = output.head.subarray(0, output.headLength)
  const tail = tailBytes(output)
  const isTruncated = output.tailWritten > output.tailLimit
  const first = isTruncated ? head.subarray(0, wholeEnd(head)) : head
  const last = isTruncated ? tail.subarray(wholeStart(tail)) : tail
  const cut = output.headLength + output.tailWritten - first.length - last.length
  const bytes = isTruncated
    ? concat([first, ascii(`\n... dispy: ${cut} bytes were cut here ...\n`), last])
    : tail.length === 0
    ? head
    : concat([head, tail])
  output.head = new Uint8Array(0)
  output.headLength = 0
  output.tail = null
  output.tailWritten = 0
  return { bytes, isTruncated }
}
