/** Buffers for pieces of files on their way, used again and again: fresh memory costs more than what is done with it. */

/** Bytes of each. */
export const bufferBytes = 512 * 1024

const spare: Array<Buffer> = []
const maxSpare = 32

/** A buffer with whatever is in it. */
export const acquire = (): Buffer => spare.pop() ?? Buffer.allocUnsafeSlow(bufferBytes)

/** Nobody reads or writes the buffer any more. */
export const release = (buffer: Buffer): void => {
  if (buffer.length === bufferBytes && spare.length < maxSpare) spare.push(buffer)
}
