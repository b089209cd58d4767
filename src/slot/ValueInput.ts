/**
 * The bytes that a decode is reading: primitives, each checked against what is left.
 *
 * Like `ValueOutput` it keeps its state in module variables; `suspend` puts it aside while a state is decoded by itself,
 * and by the code of the user that makes an instance of it.
 */
import { Block, blockWidth, Tag, version } from "./ValueFormat.ts"

/** Thrown for bytes that are not an encoded value. */
export class InvalidValue extends Error {
  constructor(reason: string, at: number) {
    super(`These bytes are not an encoded value: ${reason} at byte ${at}`)
    this.name = "InvalidValue"
  }
}

const nothing = new Uint8Array(0)
let bytes: Uint8Array = nothing
/** Made when it is first needed: small values do without. */
let data: DataView | undefined
let position = 0
let end = 0

/** They work on any Uint8Array, which saves making a Buffer of the input. */
const { hexSlice, latin1Slice, ucs2Slice, utf8Slice } = Buffer.prototype

/** Starts with a message. */
export const open = (input: Uint8Array): void => {
  bytes = input
  position = 0
  end = input.length
  if (readByte() !== version) fail(`the version is ${input[0]} instead of ${version}`)
}

/** Refuses bytes behind the value. */
export const finish = (): void => {
  if (position !== end) fail(`${end - position} bytes too many`)
}

/** Lets go of the message. */
export const close = (): void => {
  bytes = nothing
  data = undefined
}

/** Puts the current message aside; the function returned takes it up again. */
export const suspend = (): () => void => {
  const outer = { bytes, data, position, end }
  return () => {
    ;({ bytes, data, position, end } = outer)
  }
}

/** The next bytes, as a view of the message. */
export const readView = (size: number): Uint8Array => {
  need(size)
  position += size
  return bytes.subarray(position - size, position)
}

/** Throws, naming the byte in front of which reading stopped. */
export const fail = (reason: string): never => {
  throw new InvalidValue(reason, position)
}

/** Checks that this many bytes are left. */
export const need = (size: number): void => {
  if (size > end - position) fail(`${size} bytes expected, ${end - position} left`)
}

export const readByte = (): number => {
  if (position >= end) fail("the end came too early")
  return bytes[position++]!
}

export const readVarint = (): number => {
  let value = readByte()
  if (value < 0x80) return value
  value &= 0x7f
  for (let unit = 0x80; unit <= 0x2000000000000; unit *= 0x80) {
    const next = readByte()
    value += (next & 0x7f) * unit
    if (next < 0x80) return value <= Number.MAX_SAFE_INTEGER ? value : fail("a length is too large")
  }
  return fail("a length is too long")
}

/** A number of things that take at least `width` bytes each. */
export const readCount = (width: number): number => {
  const count = readVarint()
  if (count * width > end - position) fail(`${count} items announced, ${end - position} bytes left`)
  return count
}

const numbers = (): DataView => data ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const scratch = new Float64Array(1)
const scratchBytes = new Uint8Array(scratch.buffer)

export const readFloat64 = (): number => {
  need(8)
  if (data !== undefined) {
    position += 8
    return data.getFloat64(position - 8, true)
  }
  for (let i = 0; i < 8; i++) scratchBytes[i] = bytes[position++]!
  return scratch[0]!
}

/** Keys repeat, within a message and between messages: a string made before costs a comparison, not an allocation. */
const cacheLimit = 24
const cache: Array<string | undefined> = new Array(1024).fill(undefined)

export const readAscii = (length: number): string => {
  need(length)
  if (length === 0) return ""
  const start = position
  position += length
  if (length > cacheLimit) return latin1Slice.call(bytes, start, position)
  const slot = (length + bytes[start]! * 31 + bytes[position - 1]! * 337 + bytes[start + (length >> 1)]! * 1009) & 1023
  const found = cache[slot]
  if (found !== undefined && found.length === length) {
    let i = 0
    while (i < length && found.charCodeAt(i) === bytes[start + i]) i++
    if (i === length) return found
  }
  return cache[slot] = latin1Slice.call(bytes, start, position)
}

export const readLongString = (tag: number): string => {
  const size = readCount(1)
  const start = position
  position += size
  if (tag === Tag.Utf8) return utf8Slice.call(bytes, start, position)
  return size % 2 === 0 ? ucs2Slice.call(bytes, start, position) : fail("half a character")
}

export const readString = (): string => {
  const value = readByte()
  if (value >= 0x80 && value < 0xc0) return readAscii(value - 0x80)
  return value === Tag.Utf8 || value === Tag.Utf16 ? readLongString(value) : fail("a string is expected")
}

export const readBigInt = (): bigint => {
  const isNegative = readByte() === 1
  const size = readCount(1)
  const value = BigInt(`0x0${hexSlice.call(bytes, position, position + size)}`)
  position += size
  return isNegative ? -value : value
}

/** What follows the tags of numbers. */
export const readNumber = (tag: number): number => {
  switch (tag) {
    case Tag.Int8:
      return readByte() << 24 >> 24
    case Tag.Int16:
      need(2)
      position += 2
      return (bytes[position - 2]! << 16 | bytes[position - 1]! << 24) >> 16
    case Tag.Int32:
      need(4)
      position += 4
      return bytes[position - 4]! | bytes[position - 3]! << 8 | bytes[position - 2]! << 16 | bytes[position - 1]! << 24
    default:
      return readFloat64()
  }
}

export const readBigInt64 = (): bigint => {
  need(8)
  position += 8
  return numbers().getBigInt64(position - 8, true)
}

/** Fills a buffer. The caller checks with `need` before making it. */
export const readBytes = (target: ArrayBufferLike): void => {
  const size = target.byteLength
  new Uint8Array(target).set(bytes.subarray(position, position + size))
  position += size
}

/** Of its final size, except where V8 would make a slow table of it. */
export const makeArray = (length: number): Array<unknown> => length < 0x1000000 ? new Array<unknown>(length) : []

/** A block of numbers, into an array that `make` gives for their number. */
export const readNumbers = (make: (length: number) => Array<unknown>): Array<unknown> => {
  const block = readByte()
  const width = blockWidth[block] ?? fail(`number block ${block} is unknown`)
  const length = readCount(width)
  const from = numbers()
  const array = make(length)
  let at = position
  position += length * width
  switch (block) {
    case Block.Int8:
      for (let i = 0; i < length; i++) array[i] = from.getInt8(at++)
      break
    case Block.Int16:
      for (let i = 0; i < length; i++, at += 2) array[i] = from.getInt16(at, true)
      break
    case Block.Int32:
      for (let i = 0; i < length; i++, at += 4) array[i] = from.getInt32(at, true)
      break
    default:
      for (let i = 0; i < length; i++, at += 8) array[i] = from.getFloat64(at, true)
  }
  return array
}
