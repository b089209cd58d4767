/** What kinds of values there are, as far as the writer treats them differently. */
import { inspect, types } from "node:util"

const inspectOptions = { maxArrayLength: 0, depth: 0, customInspect: false, breakLength: Infinity }

/** Thrown for a value that has no meaning in another process. `path` leads to it from the value encoded. */
export class NotCloneable extends Error {
  readonly path: string
  /** `function`, `symbol`, `Promise`, `WeakMap` … */
  readonly type: string
  constructor(path: string, type: string) {
    super(`${path} is a ${type}: only structured-cloneable values can be sent`)
    this.name = "NotCloneable"
    this.path = path
    this.type = type
  }
}

/** The same on its way up to `run`, which knows the path. */
export class Problem extends Error {
  readonly type: string
  constructor(type: string) {
    super(type)
    this.type = type
  }
}

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

/** Whether all there is to an object are its properties. */
export const isPlain = (value: object): boolean => !types.isMap(value) && !types.isSet(value) && isInstance(value)

/** Fields of errors that have their place in what `writeError` writes. */
export const inError = new Set(["message", "stack", "cause", "errors"])

/** A step into a Map or a Set: `.get("key")`, `.keys("key")`, `.values()[0]`. */
export class Step {
  readonly call: "get" | "keys" | "values"
  readonly key: unknown
  constructor(call: "get" | "keys" | "values", key: unknown) {
    this.call = call
    this.key = key
  }
}
