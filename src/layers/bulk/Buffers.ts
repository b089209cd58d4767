/** Buffers for pieces of files on their way, used again and again: fresh memory costs more than what is done with it. */

/** Bytes of each. */
export const bufferBytes = 512 * 1024

const spare: Array<Buffer> = []
const maxSpare = 32

/** A buffer with whatever is in it. */
export const acquire = (): Buffer => spare.pop() ?? Buffer.allocUnsafeSlow(bufferBytes)

/**
 * Frees bytes that came from elsewhere and that nobody else has, now and not when the collector comes: what is
 * received next then goes into memory that is still in the cache of the processor.
 */
export const discard = ({ buffer, length }: Buffer<ArrayBuffer>): void => {
  // Small ones may share their memory with others.
  if (length === buffer.byteLength) buffer.transfer(0)
}

/** Nobody reads or writes the buffer any more. */
export const release = (buffer: Buffer): void => {
  if (buffer.length === bufferBytes && spare.length < maxSpare) spare.push(buffer)
}
