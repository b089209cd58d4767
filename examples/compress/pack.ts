/** The computation of the example `compress.ts`: what is done with the content of one file. */
import { createHash } from "node:crypto"
import { brotliCompressSync, constants } from "node:zlib"

/** What became of a file. */
export interface Packed {
  readonly bytesIn: number
  readonly bytesOut: number
  /** SHA-256 of the content, and of the compressed content. */
  readonly digestIn: Uint8Array
  readonly digestOut: Uint8Array
}

const sha256 = (bytes: Uint8Array): Uint8Array => createHash("sha256").update(bytes).digest()

/** Compresses a content, and hashes it before and after. */
export const pack = (content: Uint8Array): Packed => {
  const packed = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 8 } })
  return {
    bytesIn: content.length,
    bytesOut: packed.length,
    digestIn: sha256(content),
    digestOut: sha256(packed)
  }
}
