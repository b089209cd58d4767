/**
 * Writes a value: walks its objects and says each once (`ValueFormat` has the layout, `ValueOutput` the bytes).
 *
 * The state lives in module variables: a class instance per call would cost more than a small value does. Getters of
 * the user's objects run in the middle, and one may encode something itself: `encode` then puts its state aside.
 */
import { types } from "node:util"
import type { ClassEntry, ClassTable } from "./ClassTable.ts"
import {
  Body,
  BufferKind,
  ErrorField,
  errorNames,
  laterDepth,
  maxDepth,
  maxStates,
  nodeBuffer,
  sharedMemory,
  Shell,
  shortArray,
  shortObject,
  Tag,
  views
} from "./ValueFormat.ts"
import {
  foreignType,
  inError,
  isDense,
  isDomException,
  isInstance,
  isPlain,
  NotCloneable,
  ownData,
  Problem,
  Step,
  unbox
} from "./ValueKinds.ts"
import {
  begin,
  end,
  suspend,
  take,
  writeBigInt,
  writeBytes,
  writeFloat64,
  writeNumber,
  writeNumbers,
  writeString,
  writeTag,
  writeVarint
} from "./ValueOutput.ts"

/** Unwinds to `run`, which starts again and writes the memory of `shared` whole. */
class Restart extends Error {}

interface KeyList {
  keys: ReadonlyArray<string>
  /** Its index once the reader knows it, else -1. */
  index: number
}

/** The state of one encode. */
let isBusy = false
let depth = 0
/** Where the walk is: a key, an index or a step per level, from which `NotCloneable` gets its path. */
let trail: Array<string | number | Step> = []
/** The objects met so far, in order: the first few in a list, since most values have few; from then on all in `ids`. */
let known: Array<object> = []
let ids: Map<object, number> | undefined
let count = 0
/** Keys of the first objects, so that rows name their keys once. The entries are used again by the next encode. */
let keyLists: Array<KeyList> = []
let keyListCount = 0
let namedCount = 0
/** Memory of which one view was written alone, and memory that is written whole because it has several views. */
let sliced: Set<ArrayBufferLike> | undefined
let shared: Set<ArrayBufferLike> | undefined
/** Containers too deep to write where they are. */
let later: Array<object> | undefined
let isLater = false
/** The classes whose instances arrive as instances, and what the message's path begins with. */
let classes: ClassTable | undefined
let rootName = ""
/** Takes shared memory that is not to be copied. */
let passed: Array<SharedArrayBuffer> | undefined
/** How many states are being written, one in the other. */
let states = 0

const listLimit = 8
const keyListLimit = 16
const keyListLength = 64
const nothing = {}

export const encode = (
  value: unknown,
  root: string,
  table?: ClassTable,
  memory?: Array<SharedArrayBuffer>
): Uint8Array => run(value, root, writeValue, table, memory)

/** As `encode`, for an array made by ourselves: dense and without other properties. */
export const encodeArgs = (args: ReadonlyArray<unknown>, root: string, table?: ClassTable): Uint8Array =>
  run(args, root, writeArgs, table)

const run = <A>(
  value: A,
  root: string,
  write: (value: A) => void,
  table: ClassTable | undefined,
  memory?: Array<SharedArrayBuffer>
): Uint8Array => {
  if (isBusy) return runNested(value, root, write, table, memory)
  isBusy = true
  classes = table
  passed = memory
  rootName = root
  try {
    for (;;) {
      begin()
      depth = 0
      isLater = false
      try {
        write(value)
        if (later !== undefined) writeLater(later)
        return take()
      } catch (error) {
        if (!(error instanceof Restart)) {
          throw error instanceof Problem
            ? new NotCloneable(pathOf(root), error.type)
            : error
        }
        forget()
      }
    }
  } finally {
    isBusy = false
    classes = undefined
    passed = undefined
    shared = undefined
    forget()
    end()
  }
}

/** A getter of a value being encoded encodes a value: rare enough for fresh state. */
const runNested = <A>(
  value: A,
  root: string,
  write: (value: A) => void,
  table: ClassTable | undefined,
  memory: Array<SharedArrayBuffer> | undefined
): Uint8Array => {
  const resume = suspend()
  const outer = { depth, trail, known, ids, count, keyLists, keyListCount, namedCount, sliced, shared, later, isLater }
  const told = { classes, rootName, passed }
  trail = []
  known = []
  keyLists = []
  shared = undefined
  count = 1
  forget()
  isBusy = false
  try {
    return run(value, root, write, table, memory)
  } finally {
    ;({ classes, rootName, passed } = told)
    ;({ depth, trail, known, ids, count, keyLists, keyListCount, namedCount, sliced, shared, later, isLater } = outer)
    isBusy = true
    resume()
  }
}

const forget = (): void => {
  if (count === 0) return
  for (let i = 0; i < listLimit && i < count; i++) known[i] = nothing
  ids = sliced = later = undefined
  count = keyListCount = namedCount = 0
}

const pathOf = (root: string): string => {
  // What led to a container that was left for later is not kept.
  let path = isLater ? `${root}…` : root
  for (const step of trail.slice(0, depth)) {
    if (step instanceof Step) {
      path += step.call === "values"
        ? `.values()[${String(step.key)}]`
        : `.${step.call}(${show(step.key)})`
    } else if (typeof step === "number") path += `[${step}]`
    else path += isName.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`
  }
  return path
}

const isName = /^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u

const show = (key: unknown): string =>
  typeof key === "string" ? JSON.stringify(key) : Object(key) === key ? "…" : String(key)

const enter = (): void => {
  if (++depth > maxDepth) throw new Problem(`value nested deeper than ${maxDepth} levels`)
}

const writeValue = (value: unknown): void => {
  switch (typeof value) {
    case "number":
      return writeNumber(value)
    case "string":
      return writeString(value)
    case "object":
      return value === null ? writeTag(Tag.Null) : writeObject(value)
    case "boolean":
      return writeTag(value ? Tag.True : Tag.False)
    case "undefined":
      return writeTag(Tag.Undefined)
    case "bigint":
      return writeBigInt(value)
    default:
      throw new Problem(typeof value)
  }
}

/** The id of an object met before, or -1 after giving it the next one. */
const remember = (value: object): number => {
  if (count < listLimit) {
    for (let i = 0; i < count; i++) if (known[i] === value) return i
    known[count++] = value
    return -1
  }
  if (ids === undefined) {
    ids = new Map()
    for (let i = 0; i < listLimit; i++) ids.set(known[i]!, i)
  }
  const id = ids.get(value)
  if (id !== undefined) return id
  ids.set(value, count++)
  return -1
}

const isKnown = (value: object): boolean => ids === undefined ? known.indexOf(value) >= 0 : ids.has(value)

const writeObject = (value: object): void => {
  const id = remember(value)
  if (id >= 0) {
    writeTag(Tag.Ref)
    return writeVarint(id)
  }
  if (depth >= laterDepth && defer(value)) return
  writeContents(value)
}

const writeContents = (value: object): void => {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype) return writeProperties(value)
  if (classes !== undefined && prototype !== Array.prototype) {
    const place = classes.places.get(prototype as object)
    if (place !== undefined) return writeInstance(value, place, classes.entries[place]!)
  }
  writeBare(value)
}

/** Writes a value as if it were of no class in the table. */
const writeBare = (value: object): void => {
  if (Array.isArray(value)) return isDense(value) ? writeArray(value) : writeSparse(value)
  writeOther(value)
}

const writeInstance = (value: object, place: number, entry: ClassEntry): void => {
  if (entry.encode !== undefined) return writeState(value, place, entry)
  if (entry.hasPrivates) {
    throw new Problem(
      `${entry.name} with private members, which cannot be copied without the class's help ` +
        `([Symbol.for("dispy.encode")] and [Symbol.for("dispy.decode")])`
    )
  }
  writeTag(Tag.Instance)
  const hasOwn = !Array.isArray(value) && !isPlain(value)
  writeVarint(place * 4 + (hasOwn ? Body.ContentsAndProperties : Body.Contents))
  writeBare(value)
  if (hasOwn) writeOwn(value)
}

/** Properties beside the contents of a Map, an Error, a typed array. */
const writeOwn = (value: object): void => {
  const isError = types.isNativeError(value)
  const isElement = ArrayBuffer.isView(value) || types.isStringObject(value) ? /^\d+$/ : /^$/
  const keys = Object.keys(value).filter((key) => !isElement.test(key) && !(isError && inError.has(key)))
  writeVarint(keys.length)
  enter()
  for (const key of keys) {
    writeString(key)
    trail[depth - 1] = key
    writeValue((value as Record<string, unknown>)[key])
  }
  depth--
}

const writeState = (value: object, place: number, entry: ClassEntry): void => {
  if (states >= maxStates) throw new Problem(`${entry.name} whose encoded state contains instances like it without end`)
  states++
  let state: Uint8Array
  try {
    state = encode(entry.encode!(value), `${pathOf(rootName)}[Symbol.for("dispy.encode")]()`, classes, passed)
  } finally {
    states--
  }
  writeTag(Tag.Instance)
  writeVarint(place * 4 + Body.State)
  writeVarint(state.length)
  writeBytes(state)
}

const defer = (value: object): boolean => {
  const shell = Array.isArray(value)
    ? Shell.Array
    : types.isMap(value)
    ? Shell.Map
    : types.isSet(value)
    ? Shell.Set
    : Object.getPrototypeOf(value) === Object.prototype || isInstance(value)
    ? Shell.Object
    : undefined
  if (shell === undefined) return false
  const place = classes?.places.get(Object.getPrototypeOf(value) as object)
  if (place !== undefined) {
    const entry = classes!.entries[place]!
    // What has more than its contents is written where it is: a Map with properties, a state.
    if (entry.encode !== undefined || entry.hasPrivates || shell === Shell.Map || shell === Shell.Set) return false
    writeTag(Tag.Instance)
    writeVarint(place * 4 + Body.Contents)
  }
  writeTag(Tag.Later)
  writeTag(shell)
  ;(later ??= []).push(value)
  return true
}

const writeLater = (containers: ReadonlyArray<object>): void => {
  isLater = true
  // Writing one may add others at the end.
  for (const container of containers) {
    depth = 0
    if (Object.getPrototypeOf(container) === Object.prototype) writeProperties(container)
    else writeBare(container)
  }
}

const writeProperties = (value: object): void => {
  const keys = Object.keys(value)
  const size = keys.length
  const list = size > 0 && size <= keyListLength ? findKeys(keys) : undefined
  const isNamed = list !== undefined && list.index >= 0
  if (isNamed) {
    writeTag(Tag.SameKeys)
    writeVarint(list.index)
  } else if (list !== undefined) {
    writeTag(Tag.NamedKeys)
    writeVarint(size)
  } else if (size < 16) {
    writeTag(shortObject + size)
  } else {
    writeTag(Tag.Object)
    writeVarint(size)
  }
  enter()
  for (let i = 0; i < size; i++) {
    const key = keys[i]!
    if (!isNamed) writeString(key)
    trail[depth - 1] = key
    writeValue((value as Record<string, unknown>)[key])
  }
  depth--
  // Only now: the reader knows the keys when it has read the object.
  if (list !== undefined && !isNamed) list.index = namedCount++
}

/** The list with these keys; one which is not there is added, for the next object. */
const findKeys = (keys: ReadonlyArray<string>): KeyList | undefined => {
  for (let i = keyListCount - 1; i >= 0; i--) {
    const list = keyLists[i]!.keys
    if (list.length !== keys.length) continue
    let at = 0
    while (at < keys.length && list[at] === keys[at]) at++
    if (at === keys.length) return keyLists[i]
  }
  if (keyListCount < keyListLimit) addKeys(keys)
  return undefined
}

const addKeys = (keys: ReadonlyArray<string>): void => {
  const list = keyLists[keyListCount++] ??= { keys, index: -1 }
  list.keys = keys
  list.index = -1
}

const writeArray = (value: ReadonlyArray<unknown>): void => {
  const length = value.length
  if (length >= 8 && writeNumbers(value)) return
  if (length < 16) {
    writeTag(shortArray + length)
  } else {
    writeTag(Tag.Array)
    writeVarint(length)
  }
  enter()
  for (let i = 0; i < length; i++) {
    trail[depth - 1] = i
    writeValue(value[i])
  }
  depth--
}

const writeArgs = (args: ReadonlyArray<unknown>): void => {
  known[count++] = args
  writeArray(args)
}

const writeSparse = (value: ReadonlyArray<unknown>): void => {
  const keys = Object.keys(value)
  writeTag(Tag.SparseArray)
  writeVarint(value.length)
  writeVarint(keys.length)
  enter()
  for (const key of keys) {
    const index = Number(key)
    const isIndex = String(index) === key && index >= 0 && index < value.length && Number.isInteger(index)
    if (isIndex) writeNumber(index)
    else writeString(key)
    trail[depth - 1] = isIndex ? index : key
    writeValue((value as unknown as Record<string, unknown>)[key])
  }
  depth--
}

/** Objects with inner state, told apart by their internal slots, which work for subclasses and other realms too. */
const writeOther = (value: object): void => {
  if (ArrayBuffer.isView(value)) return writeView(value)
  if (types.isNativeError(value)) return writeError(value)
  // Up to Node 22 it is no native error.
  if (isDomException(value)) return writeDomException(value)
  if (types.isDate(value)) {
    writeTag(Tag.Date)
    return writeFloat64(Date.prototype.getTime.call(value))
  }
  if (types.isMap(value)) return writeMap(value)
  if (types.isSet(value)) return writeSet(value)
  if (types.isAnyArrayBuffer(value)) return writeBuffer(value)
  if (types.isRegExp(value)) {
    writeTag(Tag.RegExp)
    writeString(value.source)
    return writeString(value.flags)
  }
  if (types.isBoxedPrimitive(value) && !types.isSymbolObject(value)) {
    writeTag(Tag.Boxed)
    return writeValue(unbox(value))
  }
  const foreign = foreignType(value)
  if (foreign !== undefined) throw new Problem(foreign)
  // An instance of a class that is not in the table arrives as a plain object.
  writeProperties(value)
}

const writeMap = (value: Map<unknown, unknown>): void => {
  // A getter may change the map meanwhile, so the number of entries is that of a copy.
  const entries = Array.from(Map.prototype.entries.call(value))
  writeTag(Tag.Map)
  writeVarint(entries.length)
  enter()
  for (const [key, item] of entries) {
    trail[depth - 1] = new Step("keys", key)
    writeValue(key)
    trail[depth - 1] = new Step("get", key)
    writeValue(item)
  }
  depth--
}

const writeSet = (value: Set<unknown>): void => {
  const items = Array.from(Set.prototype.values.call(value))
  writeTag(Tag.Set)
  writeVarint(items.length)
  enter()
  for (let i = 0; i < items.length; i++) {
    trail[depth - 1] = new Step("values", i)
    writeValue(items[i])
  }
  depth--
}

const writeError = (error: Error): void => {
  if (isDomException(error)) return writeDomException(error)
  const name = errorNames.indexOf(String(error.name))
  const message = ownData(error, "message")
  const cause = ownData(error, "cause")
  const errors = types.isNativeError(error) && error instanceof AggregateError ? ownData(error, "errors") : undefined
  const stack = error.stack
  writeTag(Tag.Error)
  writeTag(errors !== undefined ? errorNames.length - 1 : name < 0 ? 0 : name)
  writeTag(
    (message ? ErrorField.Message : 0) | (typeof stack === "string" ? ErrorField.Stack : 0) |
      (cause ? ErrorField.Cause : 0) | (errors ? ErrorField.Errors : 0)
  )
  if (message) writeString(String(message.value))
  if (typeof stack === "string") writeString(stack)
  enter()
  trail[depth - 1] = "cause"
  if (cause) writeValue(cause.value)
  trail[depth - 1] = "errors"
  if (errors) writeValue(errors.value)
  depth--
}

const writeDomException = (error: DOMException): void => {
  writeTag(Tag.DomException)
  writeString(String(error.name))
  writeString(String(error.message))
  writeString(String(error.stack))
}

const writeBuffer = (buffer: ArrayBufferLike): void => {
  if (sliced?.has(buffer)) writeWhole(buffer)
  const isShared = types.isSharedArrayBuffer(buffer)
  if (!isShared && buffer.detached) throw new Problem("detached ArrayBuffer")
  if (isShared && passed !== undefined) {
    writeTag(Tag.Buffer)
    writeTag(BufferKind.Passed)
    return writeVarint(passed.push(buffer) - 1)
  }
  const canGrow = isShared ? buffer.growable : buffer.resizable
  writeTag(Tag.Buffer)
  writeTag(
    isShared ? canGrow ? BufferKind.Growable : BufferKind.Shared : canGrow ? BufferKind.Resizable : BufferKind.Fixed
  )
  writeVarint(buffer.byteLength)
  if (canGrow) writeVarint((buffer as ArrayBuffer).maxByteLength)
  writeBytes(new Uint8Array(buffer))
}

const viewName = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)!.get!

/**
 * A view takes only the bytes it shows with it: a slice of a large array must not carry the whole. Only when several
 * views of one message share memory is that memory written whole, once. Node's Buffers are always written alone: their
 * memory is a pool with other people's bytes.
 */
const writeView = (view: ArrayBufferView): void => {
  const buffer = view.buffer
  const isShared = types.isSharedArrayBuffer(buffer)
  if (!isShared && buffer.detached) throw new Problem("detached ArrayBuffer")
  const isNodes = Buffer.isBuffer(view)
  const name: string | undefined = viewName.call(view)
  const kind = (isNodes ? nodeBuffer : name === undefined ? 0 : views.indexOf(name)) + (isShared ? sharedMemory : 0)
  if (!isNodes) {
    if (shared?.has(buffer) || isKnown(buffer) || (isShared && passed !== undefined)) {
      writeTag(Tag.SharedView)
      writeTag(kind)
      writeVarint(view.byteOffset)
      writeVarint(view.byteLength)
      return writeObject(buffer)
    }
    if (sliced?.has(buffer)) writeWhole(buffer)
    ;(sliced ??= new Set()).add(buffer)
  }
  writeTag(Tag.View)
  writeTag(kind)
  writeVarint(view.byteLength)
  writeBytes(new Uint8Array(buffer, view.byteOffset, view.byteLength))
}

const writeWhole = (buffer: ArrayBufferLike): void => {
  if (shared?.has(buffer)) return
  ;(shared ??= new Set()).add(buffer)
  throw new Restart()
}
