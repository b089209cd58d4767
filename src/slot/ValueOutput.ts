/**
 * The bytes that an encode is writing: primitives, and where they go.
 *
 * The state lives in module variables, since an instance per message would cost more than a small message does. One
 * message is written at a time; `suspend` puts it aside when a getter of the user encodes something in between.
 */
import { Block, blockWidth, shortString, Tag, version } from "./ValueFormat.ts"

interface Output {
  readonly bytes: Buffer
  readonly data: DataView
}

/** Values are written one after the other into a pool of this size; what does not fit gets memory of its own. */
const poolSize = 64 * 1024
/** Values up to here are copied, so that they do not keep a pool alive, and copying costs no more than a view. */
const copyLimit = 64

const allocate = (size: number): Output => {
  const bytes = Buffer.allocUnsafeSlow(size)
  return { bytes, data: new DataView(bytes.buffer) }
}

let { bytes, data } = allocate(poolSize)
/** Where the current message starts, and where its next byte goes. */
let base = 0
let position = 0

/** Starts a message, or starts it again. */
export const begin = (): void => {
  position = base
  writeTag(version)
}

/** The message written. */
export const take = (): Uint8Array => {
  const size = position - base
  if (size <= copyLimit) {
    const copy = new Uint8Array(size)
    for (let i = 0; i < size; i++) copy[i] = bytes[base + i]!
    return copy
  }
  const view = new Uint8Array(bytes.buffer, base, size)
  if (bytes.length > poolSize && bytes.length > size * 2) return view.slice()
  base = position
  return view
}

/** Forgets what was written and not taken, and memory made for a large message. */
export const end = (): void => {
  if (bytes.length > poolSize) renew()
  else position = base
}

const renew = (): void => {
  ;({ bytes, data } = allocate(poolSize))
  base = position = 0
}

/** Puts the current message aside; the function returned takes it up again. */
export const suspend = (): () => void => {
  const outer = { bytes, data, base, position }
  renew()
  return () => {
    ;({ bytes, data, base, position } = outer)
  }
}

const reserve = (size: number): void => {
  if (position + size <= bytes.length) return
  const used = position - base
  const grown = allocate(Math.max(poolSize, used * 2, used + size + 1024))
  bytes.copy(grown.bytes, 0, base, position)
  ;({ bytes, data } = grown)
  base = 0
  position = used
}

export const writeVarint = (value: number): void => {
  reserve(8)
  while (value > 0x7f) {
    bytes[position++] = (value % 0x80) | 0x80
    value = Math.floor(value / 0x80)
  }
  bytes[position++] = value
}

export const writeTag = (tag: number): void => {
  reserve(1)
  bytes[position++] = tag
}

const isInteger = (value: number): boolean => (value | 0) === value && (value !== 0 || 1 / value > 0)

export const writeNumber = (value: number): void => {
  reserve(9)
  if (isInteger(value)) {
    if (value >= 0 && value < 0x80) {
      bytes[position++] = value
    } else if (value >= -0x80 && value < 0x80) {
      bytes[position++] = Tag.Int8
      bytes[position++] = value
    } else if (value >= -0x8000 && value < 0x8000) {
      bytes[position++] = Tag.Int16
      data.setInt16(position, value, true)
      position += 2
    } else {
      bytes[position++] = Tag.Int32
      data.setInt32(position, value, true)
      position += 4
    }
  } else {
    bytes[position++] = Tag.Float64
    data.setFloat64(position, value, true)
    position += 8
  }
}

export const writeBigInt = (value: bigint): void => {
  reserve(9)
  if (BigInt.asIntN(64, value) === value) {
    bytes[position++] = Tag.BigInt64
    data.setBigInt64(position, value, true)
    position += 8
    return
  }
  const hex = (value < 0n ? -value : value).toString(16)
  const size = (hex.length + 1) >> 1
  writeTag(Tag.BigInt)
  writeTag(value < 0n ? 1 : 0)
  writeVarint(size)
  reserve(size)
  bytes.write(hex.length % 2 === 0 ? hex : `0${hex}`, position, "hex")
  position += size
}

export const writeString = (value: string): void => {
  const length = value.length
  if (length < 64) {
    reserve(length + 1)
    const start = position
    let at = start + 1
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i)
      if (code > 0x7f) return writeLongString(value)
      bytes[at++] = code
    }
    bytes[start] = shortString + length
    position = at
    return
  }
  writeLongString(value)
}

const writeLongString = (value: string): void => {
  if (!value.isWellFormed()) {
    writeTag(Tag.Utf16)
    writeVarint(value.length * 2)
    reserve(value.length * 2)
    position += bytes.write(value, position, "utf16le")
    return
  }
  // The length goes in front of what decides it: room for the longest possible one is left, and padded.
  const longest = value.length * 3
  const width = longest < 0x4000 ? 2 : longest < 0x10000000 ? 4 : 8
  reserve(longest + width + 1)
  const size = bytes.write(value, position + width + 1, "utf8")
  bytes[position++] = Tag.Utf8
  let rest = size
  for (let i = 1; i < width; i++) {
    bytes[position++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  bytes[position++] = rest
  position += size
}

export const writeFloat64 = (value: number): void => {
  reserve(8)
  data.setFloat64(position, value, true)
  position += 8
}

export const writeBytes = (source: Uint8Array): void => {
  reserve(source.length)
  bytes.set(source, position)
  position += source.length
}

/** Packs an array of numbers only into the narrowest block that holds them all. */
export const writeNumbers = (value: ReadonlyArray<unknown>): boolean => {
  const length = value.length
  let least = 0
  let most = 0
  let isIntegers = true
  for (let i = 0; i < length; i++) {
    const item = value[i]
    if (typeof item !== "number") return false
    if (isIntegers) {
      if (!isInteger(item)) isIntegers = false
      else if (item < least) least = item
      else if (item > most) most = item
    }
  }
  writeTag(Tag.Numbers)
  const numbers = value as ReadonlyArray<number>
  const block = !isIntegers
    ? Block.Float64
    : least >= -0x80 && most < 0x80
    ? Block.Int8
    : least >= -0x8000 && most < 0x8000
    ? Block.Int16
    : Block.Int32
  writeTag(block)
  writeVarint(length)
  reserve(length * blockWidth[block]!)
  const to = data
  let at = position
  switch (block) {
    case Block.Int8:
      for (let i = 0; i < length; i++) to.setInt8(at++, numbers[i]!)
      break
    case Block.Int16:
      for (let i = 0; i < length; i++, at += 2) to.setInt16(at, numbers[i]!, true)
      break
    case Block.Int32:
      for (let i = 0; i < length; i++, at += 4) to.setInt32(at, numbers[i]!, true)
      break
    default:
      for (let i = 0; i < length; i++, at += 8) to.setFloat64(at, numbers[i]!, true)
  }
  position = at
  return true
}
