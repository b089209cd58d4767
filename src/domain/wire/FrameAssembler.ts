/**
 * Cuts a stream of bytes into whole frames, each a length (LEB128) and that many
 * bytes, of which the first are the same in all frames. A frame that is too long
 * or begins otherwise is refused when its first bytes are there, and nothing is
 * kept when no frame is under way, whereas the parser behind it would wait for
 * the rest, in a buffer that never shrinks.
 */
import { concat } from "./Bytes.ts"

/** What a frame must be like. */
export interface FrameRules {
  /** Bytes that every frame begins with, after its length. */
  readonly prefix: Uint8Array
  /** Largest size of a frame, with its length. */
  readonly limit: number
}

/** Bytes of a frame that is not complete. */
export interface FrameAssembler {
  chunks: Array<Uint8Array>
  /** Bytes in `chunks`. */
  have: number
  /** Size of the frame with its length; 0 while the length is not complete. */
  need: number
}

/** Between frames. */
export const make = (): FrameAssembler => ({ chunks: [], have: 0, need: 0 })

/** A length of a frame below 2 ** 35 has at most so many bytes. */
const maxLengthBytes = 5

/** Size of the frame at `offset` with its length, 0 when the length is not complete, -1 when it is none. */
const frameSize = (bytes: Uint8Array, offset: number): number => {
  let length = 0
  let scale = 1
  for (let i = 0; i < maxLengthBytes; i++) {
    const byte = bytes[offset + i]
    if (byte === undefined) return 0
    length += (byte & 0x7F) * scale
    if ((byte & 0x80) === 0) return length === 0 ? -1 : length + i + 1
    scale *= 128
  }
  return -1
}

/** Whether the frame at `offset` begins with the prefix, as far as it is there. */
const isPrefixed = (bytes: Uint8Array, offset: number, prefix: Uint8Array): boolean => {
  let at = offset
  while ((bytes[at++]! & 0x80) !== 0);
  const there = Math.min(prefix.length, bytes.length - at)
  for (let i = 0; i < there; i++) if (bytes[at + i] !== prefix[i]) return false
  return true
}

/**
 * Takes the next bytes and returns runs of whole frames in order, none while a
 * frame is incomplete; undefined when the bytes break the rules. After that the
 * assembler is of no more use.
 */
export const feed = (
  assembler: FrameAssembler,
  chunk: Uint8Array,
  rules: FrameRules
): ReadonlyArray<Uint8Array> | undefined => {
  const runs: Array<Uint8Array> = []
  let rest = chunk
  if (assembler.have > 0) {
    if (assembler.have < rules.prefix.length + maxLengthBytes) {
      // So little of the frame that it was not checked in full: begin again with more of it.
      rest = concat([...assembler.chunks, chunk])
    } else {
      const missing = assembler.need - assembler.have
      assembler.chunks.push(chunk.length > missing ? chunk.subarray(0, missing) : chunk)
      if (chunk.length < missing) {
        assembler.have += chunk.length
        return runs
      }
      runs.push(concat(assembler.chunks))
      rest = chunk.subarray(missing)
    }
    assembler.chunks = []
    assembler.have = assembler.need = 0
  }
  let offset = 0
  while (offset < rest.length) {
    const size = frameSize(rest, offset)
    if (size < 0 || size > rules.limit) return undefined
    if (size > 0 && !isPrefixed(rest, offset, rules.prefix)) return undefined
    if (size === 0 || size > rest.length - offset) {
      assembler.chunks = [rest.subarray(offset)]
      assembler.have = rest.length - offset
      assembler.need = size
      break
    }
    offset += size
  }
  if (offset > 0) runs.push(rest.subarray(0, offset))
  return runs
}
