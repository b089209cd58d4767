/** What kinds of values there are, as far as the writer treats them differently. */
import { inspect, types } from "node:util"

const inspectOptions = { maxArrayLength: 0, depth: 0, customInspect: false, breakLength: Infinity }

/**
 * Whether an array has an element at every index and no other properties. Listing the keys of a long array costs more
 * than writing it; `inspect` with no elements to show tells in constant time whether there is anything beside them.
 */
export const isDense = (value: ReadonlyArray<unknown>): boolean => {
  const length = value.length
  if (length > 50 && !value.includes(undefined) && inspect(value, inspectOptions) === `[ ... ${length} more items ]`) {
    return true
  }
  const keys = Object.keys(value)
  return keys.length === length && (length === 0 || keys[length - 1] === String(length - 1))
}

/** The primitive value in a box. */
export const unbox = (value: object): unknown =>
  types.isNumberObject(value)
    ? Number.prototype.valueOf.call(value)
    : types.isStringObject(value)
    ? String.prototype.valueOf.call(value)
    : types.isBooleanObject(value)
    ? Boolean.prototype.valueOf.call(value)
    : BigInt.prototype.valueOf.call(value)

/** Whether an object is one, of whatever realm. */
export const isDomException = (value: object): value is DOMException =>
  Object.prototype.toString.call(value) === "[object DOMException]"

/** An own property that is no getter. */
export const ownData = (value: object, key: string): PropertyDescriptor | undefined => {
  const found = Object.getOwnPropertyDescriptor(value, key)
  return found !== undefined && "value" in found ? found : undefined
}

/** Names of things which hold what another process does not have. Cloned as plain objects they would arrive empty. */
const foreigners = new Set([
  "AbortSignal",
  "AsyncDisposableStack",
  "AsyncGenerator",
  "Blob",
  "BroadcastChannel",
  "CryptoKey",
  "DisposableStack",
  "File",
  "FinalizationRegistry",
  "FormData",
  "Generator",
  "Headers",
  "KeyObject",
  "MessagePort",
  "Module",
  "Promise",
  "ReadableStream",
  "Request",
  "Response",
  "Symbol",
  "TransformStream",
  "URL",
  "URLSearchParams",
  "WeakMap",
  "WeakRef",
  "WeakSet",
  "WritableStream"
])

/** What a value is that has no meaning in another process; undefined for one that has. */
export const foreignType = (value: object): string | undefined => {
  if (types.isProxy(value)) return "Proxy"
  if (types.isExternal(value)) return "native handle"
  if (types.isKeyObject(value)) return "KeyObject"
  const name = Object.prototype.toString.call(value).slice(8, -1)
  if (name === "Object") return undefined
  if (foreigners.has(name) || / (Iterator|Helper)$|^(Intl|Temporal|WebAssembly)\./.test(name)) return name
  return undefined
}

/** Whether an object is written by its properties, like an instance of a class of the user. */
export const isInstance = (value: object): boolean =>
  !(ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value) || types.isNativeError(value) || types.isDate(value) ||
    types.isRegExp(value) || types.isBoxedPrimitive(value) || isDomException(value)) && foreignType(value) === undefined
