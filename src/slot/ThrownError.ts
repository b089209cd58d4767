/**
 * What a job threw, as data: whatever it was, it becomes a small plain structure that can be sent, stored and shown.
 *
 * Encoding always succeeds. Fields that cannot be sent are left out and named, long texts are cut and say so, chains of
 * causes end: an error must never be lost because it was odd, nor fill a disk because it was large.
 */
import { inspect, types } from "node:util"
import type { ClassTable } from "./ClassTable.ts"
import { InvalidValue } from "./ValueInput.ts"
import { decode } from "./ValueReader.ts"
import { encode } from "./ValueWriter.ts"

export interface Thrown {
  /** The name of the error, or of its class; for other values their type. */
  readonly name: string
  readonly message: string
  readonly stack?: string
  /** The error's own fields, such as `code` or `_tag`. */
  readonly fields: Readonly<Record<string, unknown>>
  /** The names of fields which could not be sent or were too large. */
  readonly dropped: ReadonlyArray<string>
  readonly cause?: Thrown
  /** The errors of an AggregateError. */
  readonly errors: ReadonlyArray<Thrown>
  readonly isError: boolean
  /** The error itself, when its class is one that arrives as such. */
  readonly instance?: object
  /** What was thrown, when it was no error and can be sent. */
  readonly value?: unknown
  /** Whether texts, causes or errors were cut. */
  readonly isTruncated: boolean
}

/** Characters of messages and stacks, with all causes. */
const textLimit = 64 * 1024
/** Bytes of custom fields, with all causes. */
const fieldLimit = 64 * 1024
const causeLimit = 8
const errorsLimit = 16
const namesLimit = 32

interface Wire {
  readonly name: string
  readonly message: string
  readonly stack: string | undefined
  readonly fields: Record<string, Uint8Array>
  readonly dropped: Array<string>
  readonly cause: Wire | undefined
  readonly errors: Array<Wire>
  readonly isError: boolean
  readonly value: Uint8Array | undefined
  readonly instance: Uint8Array | undefined
  isTruncated: boolean
}

/** What may still be written, and which classes arrive as such. */
interface Budget {
  readonly classes: ClassTable | undefined
  text: number
  fields: number
  errors: number
}

export const encodeError = (thrown: unknown, classes?: ClassTable): Uint8Array =>
  encode(toWire(thrown, { classes, text: textLimit, fields: fieldLimit, errors: errorsLimit }, 0), "error")

/** Throws `InvalidValue` for bytes that `encodeError` did not write. */
export const decodeError = (bytes: Uint8Array, classes?: ClassTable): Thrown => fromWire(decode(bytes), classes)

/** Runs what may throw because a job's value has getters, is a proxy, or worse. */
const attempt = <A>(read: () => A, otherwise: A): A => {
  try {
    return read()
  } catch {
    return otherwise
  }
}

const toWire = (thrown: unknown, budget: Budget, depth: number): Wire => {
  const isError = attempt(() => types.isNativeError(thrown) || thrown instanceof Error, false)
  return isError ? errorToWire(thrown as Error, budget, depth) : valueToWire(thrown, budget)
}

const errorToWire = (error: Error, budget: Budget, depth: number): Wire => {
  const notes = { isTruncated: false }
  const name = cut(attempt(() => nameOf(error), "Error"), 256, budget, notes)
  const message = cut(attempt(() => String(error.message), "(its message cannot be read)"), 16 * 1024, budget, notes)
  const stack = attempt(() => error.stack, undefined)
  const shown = typeof stack === "string" ? cut(stack, 32 * 1024, budget, notes) : undefined
  const { dropped, fields } = fieldsOf(error, budget)
  const cause: unknown = attempt(() => error.cause, undefined)
  const errors: unknown = attempt(() => (error as AggregateError).errors, undefined)
  const isList = attempt(() => Array.isArray(errors), false)
  const wires: Array<Wire> = []
  if (isList) {
    const list = errors as ReadonlyArray<unknown>
    for (let i = 0; i < list.length; i++) {
      if (depth >= causeLimit || budget.errors-- <= 0) {
        notes.isTruncated = true
        break
      }
      wires.push(toWire(attempt(() => list[i], undefined), budget, depth + 1))
    }
  }
  const hasCause = cause !== undefined && cause !== null
  if (hasCause && depth >= causeLimit) notes.isTruncated = true
  return {
    name,
    message,
    stack: shown,
    fields,
    dropped,
    cause: hasCause && depth < causeLimit ? toWire(cause, budget, depth + 1) : undefined,
    errors: wires,
    isError: true,
    value: undefined,
    instance: instanceOf(error, budget),
    isTruncated: notes.isTruncated
  }
}

/** The whole of an error whose class arrives as such, unless it is large or holds what cannot be sent. */
const instanceOf = (error: Error, budget: Budget): Uint8Array | undefined => {
  const { classes } = budget
  if (classes === undefined || !attempt(() => classes.places.has(Object.getPrototypeOf(error) as object), false)) {
    return undefined
  }
  const encoded = attempt(() => encode(error, "error", classes), undefined)
  if (encoded === undefined || encoded.length > budget.fields) return undefined
  budget.fields -= encoded.length
  return encoded
}

const nameOf = (error: Error): string => {
  const name = String(error.name)
  const className: unknown = error.constructor?.name
  return name === "Error" && typeof className === "string" && className !== "" ? className : name
}

const valueToWire = (value: unknown, budget: Budget): Wire => {
  const notes = { isTruncated: false }
  const text = typeof value === "string"
    ? value
    : attempt(() => inspect(value, { depth: 2, customInspect: false, maxStringLength: 4096 }), "(it cannot be shown)")
  const encoded = attempt(() => encode(value, "value", budget.classes), undefined)
  const fits = encoded !== undefined && encoded.length <= budget.fields
  if (fits) budget.fields -= encoded.length
  return {
    name: attempt(() => value === null ? "null" : Object(value) === value ? className(value) : typeof value, "object"),
    message: cut(text, 16 * 1024, budget, notes),
    stack: undefined,
    fields: {},
    dropped: [],
    cause: undefined,
    errors: [],
    isError: false,
    value: fits ? encoded : undefined,
    instance: undefined,
    isTruncated: notes.isTruncated
  }
}

const className = (value: unknown): string => {
  const name: unknown = (value as object).constructor?.name
  return typeof name === "string" && name !== "" ? name.slice(0, 256) : typeof value
}

const cut = (text: string, limit: number, budget: Budget, notes: { isTruncated: boolean }): string => {
  const most = Math.min(limit, budget.text)
  budget.text -= Math.min(text.length, most)
  if (text.length <= most) return text
  notes.isTruncated = true
  return `${text.slice(0, most)}… (${text.length - most} more characters)`
}

const standard = new Set(["name", "message", "stack", "cause", "errors"])

const fieldsOf = (error: Error, budget: Budget) => {
  const fields: Record<string, Uint8Array> = {}
  const dropped: Array<string> = []
  const keys = attempt(() => Object.keys(error), [])
  // Libraries define these two on the prototype as well.
  for (const key of ["_tag", "code"]) if (attempt(() => key in error, false) && !keys.includes(key)) keys.push(key)
  for (const key of keys) {
    if (standard.has(key)) continue
    const encoded = attempt(
      () => encode((error as unknown as Record<string, unknown>)[key], key, budget.classes),
      undefined
    )
    if (encoded === undefined || encoded.length + key.length > budget.fields) {
      if (dropped.length < namesLimit) dropped.push(key.slice(0, 256))
      continue
    }
    budget.fields -= encoded.length + key.length
    define(fields, key, encoded)
  }
  return { dropped, fields }
}

/** Assigning `__proto__` would change the object instead of adding to it. */
const define = (target: object, key: string, value: unknown): void => {
  Object.defineProperty(target, key, { value, configurable: true, enumerable: true, writable: true })
}

const fromWire = (wire: unknown, classes: ClassTable | undefined): Thrown => {
  const { cause, dropped, errors, fields, instance, isError, isTruncated, message, name, stack, value } = check(wire)
  // What a class of the user makes of its state may throw: the error is not to be lost by that.
  const decoded = (bytes: unknown): unknown =>
    classes === undefined ? decode(bytesOf(bytes)) : attempt(() => decode(bytesOf(bytes), classes), undefined)
  const read: Record<string, unknown> = {}
  for (const key of Object.keys(fields)) define(read, key, decoded(fields[key]))
  const made = instance === undefined ? undefined : decoded(instance)
  return {
    name,
    message,
    ...(stack === undefined ? {} : { stack }),
    fields: read,
    dropped,
    ...(cause === undefined ? {} : { cause: fromWire(cause, classes) }),
    errors: errors.map((error) => fromWire(error, classes)),
    isError,
    ...(typeof made === "object" && made !== null ? { instance: made } : {}),
    ...(value === undefined ? {} : { value: decoded(value) }),
    isTruncated
  }
}

const bytesOf = (value: unknown): Uint8Array =>
  value instanceof Uint8Array ? value : invalid("a field of an error is not bytes")

const invalid = (reason: string): never => {
  throw new InvalidValue(reason, 1)
}

const check = (wire: unknown): Wire => {
  const { dropped, errors, fields, isError, isTruncated, message, name, stack } = Object(wire) as Wire
  const isValid = typeof name === "string" && typeof message === "string" &&
    (stack === undefined || typeof stack === "string") && typeof isError === "boolean" &&
    typeof isTruncated === "boolean" && typeof fields === "object" && fields !== null && Array.isArray(dropped) &&
    dropped.every((key) => typeof key === "string") && Array.isArray(errors)
  return isValid ? wire as Wire : invalid("it is not what a job threw")
}
