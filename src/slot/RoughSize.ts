/**
 * A guess at the bytes that a value takes when it is encoded: cheap for small
 * values, and near the truth for what makes values large: buffers, texts, and
 * arrays and objects of them. Keeps chunks of a `map` small whose items are large.
 */

/** How deep arrays and objects are looked into. */
const depthLimit = 3

const ofNumber = 9

const ofAll = (values: ReadonlyArray<unknown>, depth: number): number => {
  // Of a long array of numbers the length says all.
  if (values.length > 64 && typeof values[0] === "number") return values.length * ofNumber
  let bytes = 8
  for (const value of values) bytes += guess(value, depth)
  return bytes
}

const guess = (value: unknown, depth: number): number => {
  if (typeof value === "string") return value.length
  if (typeof value !== "object" || value === null) return ofNumber
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) {
    return value.byteLength
  }
  if (depth === 0) return 64
  if (Array.isArray(value)) return ofAll(value, depth - 1)
  if (value instanceof Map) return ofAll([...value.keys(), ...value.values()], depth - 1)
  if (value instanceof Set) return ofAll([...value], depth - 1)
  return ofAll(Object.values(value), depth - 1)
}

/** A guess at the encoded size of a value, in bytes. */
export const roughSize = (value: unknown): number => guess(value, depthLimit)
