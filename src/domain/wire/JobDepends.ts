/**
 * What a single job takes along, in front of its arguments (`JobFlags.depends`): `u32 size | encoded definitions |
 * encoded arguments`, little-endian. Its modules are files of the working directory, of which the definitions have the
 * names.
 */
import { concat } from "./Bytes.ts"

const headerBytes = 4

/** Where a module lies that a job takes along, in the working directory. */
export const moduleFile = (name: string): string => `${name}.mjs`

/** Definitions and arguments in one. */
export const join = (definitions: Uint8Array, args: Uint8Array): Uint8Array => {
  const header = new Uint8Array(headerBytes)
  new DataView(header.buffer).setUint32(0, definitions.length, true)
  return concat([header, definitions, args])
}

/** Definitions and arguments apart, as views; undefined for bytes that are not both. */
export const split = (
  bytes: Uint8Array
): { readonly definitions: Uint8Array; readonly args: Uint8Array } | undefined => {
  if (bytes.length < headerBytes) return undefined
  const size = new DataView(bytes.buffer, bytes.byteOffset, headerBytes).getUint32(0, true)
  if (size > bytes.length - headerBytes) return undefined
  const end = headerBytes + size
  return { definitions: bytes.subarray(headerBytes, end), args: bytes.subarray(end) }
}
