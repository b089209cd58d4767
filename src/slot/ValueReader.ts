/**
 * Reads values (`ValueFormat` has the layout, `ValueInput` the bytes).
 *
 * The bytes come from the other end of a connection, so nothing in them is believed: every length is compared with the
 * bytes that are left before anything of that size is made, ids and names are checked, nesting is bounded, and a
 * `__proto__` becomes an ordinary property. Bytes that are not a value throw `InvalidValue`. What is read never
 * shares memory with the input.
 */
import type { ClassEntry, ClassTable } from "./ClassTable.ts"
import {
  Body,
  BufferKind,
  ErrorField,
  errorNames,
  maxDepth,
  maxStates,
  nodeBuffer,
  sharedMemory,
  Shell,
  shortArray,
  shortObject,
  shortString,
  Tag,
  views
} from "./ValueFormat.ts"
import {
  close,
  fail,
  finish,
  InvalidValue,
  makeArray,
  need,
  open,
  readAscii,
  readBigInt,
  readBigInt64,
  readByte,
  readBytes,
  readCount,
  readFloat64,
  readLongString,
  readNumber,
  readNumbers,
  readString,
  readVarint,
  readView as readBytesInPlace,
  suspend
} from "./ValueInput.ts"

let depth = 0
/** The objects met so far, by id. */
let refs: Array<unknown> = []
let keyLists: Array<ReadonlyArray<string>> = []
/** Containers whose contents follow the value. */
let later: Array<object> = []
/** The classes that instances may have. */
let classes: ClassTable | undefined
/** Shared memory that came beside the message. */
let passed: ReadonlyArray<SharedArrayBuffer> | undefined
/**
 * Instances, and what they become one of when all is read: until then they are plain, so that no setter and no method of
 * the user's classes is called by filling them.
 */
let instances: Array<object> = []
let prototypes: Array<object> = []
/** How many states are being decoded, one in the other. */
let states = 0

export const decode = (
  input: Uint8Array,
  table?: ClassTable,
  memory?: ReadonlyArray<SharedArrayBuffer>
): unknown => {
  depth = 0
  classes = table
  passed = memory
  try {
    open(input)
    const value = readValue()
    if (later.length > 0) fillLater(later)
    finish()
    if (instances.length > 0) revive()
    return value
  } finally {
    close()
    classes = undefined
    passed = undefined
    if (refs.length > 0) refs = []
    if (keyLists.length > 0) keyLists = []
    if (later.length > 0) later = []
    if (instances.length > 0) {
      instances = []
      prototypes = []
    }
  }
}

const revive = (): void => {
  for (let i = 0; i < instances.length; i++) Object.setPrototypeOf(instances[i]!, prototypes[i]!)
}

/** Makes an instance of the message in the message that is its state. The user's code in here may decode something too. */
const fromState = (entry: ClassEntry, input: Uint8Array): unknown => {
  const resume = suspend()
  const outer = { depth, refs, keyLists, later, classes, passed, instances, prototypes }
  refs = []
  keyLists = []
  later = []
  instances = []
  prototypes = []
  states++
  try {
    return entry.decode!(decode(input, outer.classes, outer.passed))
  } finally {
    states--
    ;({ depth, refs, keyLists, later, classes, passed, instances, prototypes } = outer)
    resume()
  }
}

const enter = (): void => {
  if (++depth > maxDepth) fail(`nested deeper than ${maxDepth} levels`)
}

const readValue = (): unknown => {
  const tag = readByte()
  if (tag < shortString) return tag
  if (tag < shortArray) return readAscii(tag - shortString)
  if (tag < shortObject) return readArray(tag - shortArray)
  if (tag < Tag.Null) return readProperties(tag - shortObject)
  switch (tag) {
    case Tag.Null:
      return null
    case Tag.Undefined:
      return undefined
    case Tag.True:
      return true
    case Tag.False:
      return false
    case Tag.Int8:
    case Tag.Int16:
    case Tag.Int32:
    case Tag.Float64:
      return readNumber(tag)
    case Tag.Utf8:
    case Tag.Utf16:
      return readLongString(tag)
    case Tag.Ref:
      return readRef()
    case Tag.Array:
      return readArray(readCount(1))
    case Tag.Numbers:
      return readNumbers(addArray)
    case Tag.Object:
      return readProperties(readCount(2))
    case Tag.NamedKeys:
      return readNamed()
    case Tag.SameKeys:
      return readSameKeys()
    default:
      return readOther(tag)
  }
}

const readOther = (tag: number): unknown => {
  switch (tag) {
    case Tag.BigInt64:
      return readBigInt64()
    case Tag.BigInt:
      return readBigInt()
    case Tag.SparseArray:
      return readSparse()
    case Tag.Date:
      return add(new Date(readFloat64()))
    case Tag.RegExp:
      return readRegExp()
    case Tag.Map:
      return readMap()
    case Tag.Set:
      return readSet()
    case Tag.Error:
      return readError()
    case Tag.DomException:
      return readDomException()
    case Tag.Boxed:
      return readBoxed()
    case Tag.Buffer:
      return add(readBuffer())
    case Tag.View:
      return readView()
    case Tag.SharedView:
      return readSharedView()
    case Tag.Later:
      return readShell()
    case Tag.Instance:
      return readInstance()
    default:
      return fail(`tag ${tag} is unknown`)
  }
}

const add = <A>(value: A): A => {
  refs.push(value)
  return value
}

const readInstance = (): unknown => {
  const code = readVarint()
  const body = code % 4
  const entry = classes?.entries[(code - body) / 4]
  if (entry === undefined) return fail(`there is no class ${(code - body) / 4}`)
  if ((body === Body.State) !== (entry.decode !== undefined)) return fail(`${entry.name} is written in another way`)
  if (body === Body.State) return readState(entry)
  if (body > Body.ContentsAndProperties) return fail("an instance has no such body")
  const id = refs.length
  const instance = readValue()
  // A reference, or a primitive, would be somebody else's object, or none.
  if (refs.length <= id || refs[id] !== instance) return fail("the contents of an instance are expected")
  instances.push(instance as object)
  prototypes.push(entry.prototype)
  if (body === Body.ContentsAndProperties) readOwn(instance as object)
  return instance
}

/** Properties beside the contents of a Map, an Error, a typed array. */
const readOwn = (target: object): void => {
  const count = readCount(2)
  enter()
  for (let i = 0; i < count; i++) {
    const key = readString()
    if (isIndex(key) || key === "length") fail("a property has the name of an element")
    const value = readValue()
    Object.defineProperty(target, key, { value, configurable: true, enumerable: true, writable: true })
  }
  depth--
}

const readState = (entry: ClassEntry): unknown => {
  const id = reserve()
  const state = readBytesInPlace(readCount(1))
  if (states >= maxStates) fail(`states nested deeper than ${maxStates} levels`)
  const made = fromState(entry, state)
  if (typeof made !== "object" || made === null) fail(`${entry.name} made no object of its state`)
  return refs[id] = made
}

const readShell = (): object => {
  const kind = readByte()
  const shell = kind === Shell.Object
    ? {}
    : kind === Shell.Array
    ? []
    : kind === Shell.Map
    ? new Map()
    : kind === Shell.Set
    ? new Set()
    : fail(`container ${kind} is unknown`)
  later.push(shell)
  return add(shell)
}

const fillLater = (containers: ReadonlyArray<object>): void => {
  // Filling one may add others at the end.
  for (const container of containers) {
    depth = 0
    fill(container, readByte())
  }
}

const fill = (container: object, tag: number): void => {
  if (Array.isArray(container)) {
    if (tag >= shortArray && tag < shortObject) readArray(tag - shortArray, container)
    else if (tag === Tag.Array) readArray(readCount(1), container)
    else if (tag === Tag.Numbers) readNumbers(() => container)
    else if (tag === Tag.SparseArray) readSparse(container)
    else fail("the contents of an array are expected")
  } else if (container instanceof Map) {
    if (tag !== Tag.Map) fail("the contents of a Map are expected")
    readMap(container)
  } else if (container instanceof Set) {
    if (tag !== Tag.Set) fail("the contents of a Set are expected")
    readSet(container)
  } else if (tag >= shortObject && tag < Tag.Null) {
    readProperties(tag - shortObject, container)
  } else if (tag === Tag.Object) {
    readProperties(readCount(2), container)
  } else if (tag === Tag.NamedKeys) {
    readNamed(container)
  } else if (tag === Tag.SameKeys) {
    readSameKeys(container)
  } else {
    fail("the contents of an object are expected")
  }
}

const pending = Symbol("pending")

/** Takes the next id for an object which can only be made when its parts are read. */
const reserve = (): number => refs.push(pending) - 1

const readRef = (): unknown => {
  const id = readVarint()
  const value = id < refs.length ? refs[id] : fail(`there is no object ${id}`)
  return value === pending ? fail(`object ${id} contains itself`) : value
}

const addArray = (length: number): Array<unknown> => add(makeArray(length))

const readArray = (length: number, target?: Array<unknown>): Array<unknown> => {
  need(length)
  const array = target ?? addArray(length)
  enter()
  for (let i = 0; i < length; i++) array[i] = readValue()
  depth--
  return array
}

const readSparse = (target?: Array<unknown>): Array<unknown> => {
  const length = readVarint()
  if (length > 0xffffffff) fail("an array is too long")
  const count = readCount(2)
  const array: Array<unknown> = target ?? add([])
  if (length > 0) {
    // Setting `length` may allocate that much; an element far behind the end makes V8 store the array as a table.
    if (length > 1024) Object.defineProperty(array, length - 1, { value: 0, configurable: true, writable: true })
    if (length > 1024) delete array[length - 1]
    else array.length = length
  }
  enter()
  for (let i = 0; i < count; i++) {
    const key = readValue()
    if (typeof key === "number") {
      if (!(Number.isInteger(key) && key >= 0 && key < length)) fail(`index ${key} is outside of the array`)
      array[key] = readValue()
    } else if (typeof key === "string") {
      // Either would change the length.
      if (key === "length" || isIndex(key)) fail("a property of an array has a wrong name")
      define(array, key, readValue())
    } else {
      fail("an array has a property that is neither index nor name")
    }
  }
  depth--
  return array
}

const isIndex = (key: string): boolean => String(Number(key) >>> 0) === key && key !== "4294967295"

const define = (target: object, key: string, value: unknown): void => {
  if (key === "__proto__") {
    Object.defineProperty(target, key, { value, configurable: true, enumerable: true, writable: true })
  } else {
    ;(target as Record<string, unknown>)[key] = value
  }
}

const readProperties = (count: number, target?: object, keys?: Array<string>): object => {
  need(count * 2)
  const object = target ?? add({})
  enter()
  for (let i = 0; i < count; i++) {
    const key = readString()
    if (keys !== undefined) keys.push(key)
    define(object, key, readValue())
  }
  depth--
  return object
}

const readNamed = (target?: object): object => {
  const keys: Array<string> = []
  const object = readProperties(readCount(2), target, keys)
  keyLists.push(keys)
  return object
}

const readSameKeys = (target?: object): object => {
  const index = readVarint()
  const keys = keyLists[index] ?? fail(`there is no list of keys ${index}`)
  const object = target ?? add({})
  enter()
  for (let i = 0; i < keys.length; i++) define(object, keys[i]!, readValue())
  depth--
  return object
}

const readRegExp = (): RegExp => {
  const id = reserve()
  const source = readString()
  const flags = readString()
  try {
    return refs[id] = new RegExp(source, flags)
  } catch (error) {
    return fail(`${error}`)
  }
}

const readMap = (target?: Map<unknown, unknown>): Map<unknown, unknown> => {
  const count = readCount(2)
  const map = target ?? add(new Map<unknown, unknown>())
  enter()
  for (let i = 0; i < count; i++) map.set(readValue(), readValue())
  depth--
  return map
}

const readSet = (target?: Set<unknown>): Set<unknown> => {
  const count = readCount(1)
  const set = target ?? add(new Set<unknown>())
  enter()
  for (let i = 0; i < count; i++) set.add(readValue())
  depth--
  return set
}

const constructors = [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]

const makeError = (index: number, message: string | undefined): Error => {
  const Constructor = constructors[index]
  if (Constructor !== undefined) return message === undefined ? new Constructor() : new Constructor(message)
  // Its errors are set when they are read.
  return message === undefined ? new AggregateError([]) : new AggregateError([], message)
}

const readError = (): Error => {
  const index = readByte()
  const fields = readByte()
  if (index >= errorNames.length) fail("a class of errors is unknown")
  const limit = Error.stackTraceLimit
  const id = reserve()
  const message = fields & ErrorField.Message ? readString() : undefined
  const stack = fields & ErrorField.Stack ? readString() : undefined
  // The stack of this line is of no use to anyone, and costs more than the rest.
  Error.stackTraceLimit = 0
  const error = makeError(index, message)
  Error.stackTraceLimit = limit
  if (stack !== undefined) error.stack = stack
  refs[id] = error
  enter()
  if (fields & ErrorField.Cause) hidden(error, "cause", readValue())
  if (fields & ErrorField.Errors) hidden(error, "errors", readValue())
  depth--
  return error
}

const hidden = (target: object, key: string, value: unknown): void => {
  Object.defineProperty(target, key, { value, configurable: true, enumerable: false, writable: true })
}

const readDomException = (): DOMException => {
  const id = reserve()
  const name = readString()
  const message = readString()
  const error = new DOMException(message, name)
  hidden(error, "stack", readString())
  return refs[id] = error
}

const readBoxed = (): object => {
  const id = reserve()
  const value = readValue()
  if (value === null || value === undefined || typeof value === "object") fail("a boxed primitive is none")
  return (refs[id] = Object(value)) as object
}

const copy = (size: number, isShared: boolean, maximum?: number): ArrayBufferLike => {
  need(size)
  const options = maximum === undefined ? undefined : { maxByteLength: maximum }
  const buffer = isShared ? new SharedArrayBuffer(size, options) : new ArrayBuffer(size, options)
  readBytes(buffer)
  return buffer
}

const readBuffer = (): ArrayBufferLike => {
  const kind = readByte()
  if (kind === BufferKind.Passed) return passed?.[readVarint()] ?? fail("there is no such shared memory")
  if (kind > BufferKind.Growable) fail("a kind of buffer is unknown")
  const isShared = kind >= BufferKind.Shared
  const size = readVarint()
  if (kind === BufferKind.Fixed || kind === BufferKind.Shared) return copy(size, isShared)
  const maximum = readVarint()
  if (maximum < size) fail("a buffer is longer than its maximum")
  try {
    return copy(size, isShared, maximum)
  } catch (error) {
    return error instanceof InvalidValue ? fail(error.message) : fail(`a buffer of up to ${maximum} bytes is too large`)
  }
}

type ViewConstructor = new(buffer: ArrayBufferLike, byteOffset: number, length: number) => ArrayBufferView

const makeView = (kind: number, buffer: ArrayBufferLike, byteOffset: number, byteLength: number): ArrayBufferView => {
  if (kind === nodeBuffer) return Buffer.from(buffer, byteOffset, byteLength)
  const name = views[kind] ?? fail("a kind of typed array is unknown")
  const Constructor =
    (globalThis as unknown as Record<string, ViewConstructor & { BYTES_PER_ELEMENT?: number }>)[name] ??
      fail(`this version of Node has no ${name}`)
  const width = Constructor.BYTES_PER_ELEMENT ?? 1
  if (byteLength % width !== 0 || byteOffset % width !== 0) fail(`a ${name} has a fraction of an element`)
  return new Constructor(buffer, byteOffset, byteLength / width)
}

const readView = (): ArrayBufferView => {
  const kind = readByte()
  const size = readCount(1)
  const id = reserve()
  const isShared = (kind & sharedMemory) !== 0
  return refs[id] = makeView(kind & ~sharedMemory, copy(size, isShared), 0, size)
}

const readSharedView = (): ArrayBufferView => {
  const kind = readByte() & ~sharedMemory
  const byteOffset = readVarint()
  const byteLength = readVarint()
  const id = reserve()
  const buffer = readValue()
  if (!(buffer instanceof ArrayBuffer || buffer instanceof SharedArrayBuffer)) return fail("a view has no buffer")
  if (byteOffset + byteLength > buffer.byteLength) fail("a view is longer than its buffer")
  return refs[id] = makeView(kind, buffer, byteOffset, byteLength)
}
