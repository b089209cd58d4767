/**
 * What a job used that was killed for it: the result of a reply with outcome `outOfMemory`, as two floats of 64 bits,
 * little-endian. Written by the node.
 */

/** What a job used, and what it was allowed. */
export interface MemoryPeak {
  /** Most memory that its slot's process and all it started were seen to use. */
  readonly peakBytes: number
  readonly limitBytes: number
}

/** A peak as bytes. */
export const encodeMemoryPeak = ({ limitBytes, peakBytes }: MemoryPeak): Uint8Array => {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setFloat64(0, peakBytes, true)
  view.setFloat64(8, limitBytes, true)
  return bytes
}

const sizeIn = (view: DataView, offset: number): number => {
  const size = view.getFloat64(offset, true)
  return size >= 0 && size <= Number.MAX_SAFE_INTEGER ? size : 0
}

/** Reads a peak; what is no size is 0, for a node may be broken. */
export const decodeMemoryPeak = (bytes: Uint8Array): MemoryPeak => {
  if (bytes.length !== 16) return { peakBytes: 0, limitBytes: 0 }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { peakBytes: sizeIn(view, 0), limitBytes: sizeIn(view, 8) }
}
