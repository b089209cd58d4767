/**
 * The bytes of an encoded value: the tags and limits that the writer and the reader share.
 *
 * A message is one version byte, one value, and the containers that this value left for later. A value is a tag byte and what the tag says. Lengths are
 * LEB128 ("varint"), numbers are little endian. Every object gets the next id when its tag is met, so a later
 * `Ref id` restores shared references and cycles. Numbers below 0xe0 are values by themselves:
 *
 *     0x00-0x7f  the integer            0x80-0xbf  ASCII string of 0-63 characters
 *     0xc0-0xcf  array of 0-15 values   0xd0-0xdf  object of 0-15 properties
 */

/** First byte of every message; another one means another version of dispy wrote it. */
export const version = 0xd1

/**
 * Deeper containers are written as an empty one and filled behind the value (`Later`), so that neither side needs a
 * deep stack however deep a value is. Only what cannot be made empty, such as chains of errors, nests further.
 */
export const laterDepth = 200
export const maxDepth = 400

export const shortString = 0x80
export const shortArray = 0xc0
export const shortObject = 0xd0

export const Tag = {
  Null: 0xe0,
  Undefined: 0xe1,
  True: 0xe2,
  False: 0xe3,
  /** Numbers: what follows is 1, 2, 4 or 8 bytes. */
  Int8: 0xe4,
  Int16: 0xe5,
  Int32: 0xe6,
  Float64: 0xe7,
  BigInt64: 0xe8,
  /** sign byte, varint length, magnitude as big endian bytes */
  BigInt: 0xe9,
  /** varint byte length, UTF-8 */
  Utf8: 0xea,
  /** varint byte length, UTF-16 LE: strings with lone surrogates, which UTF-8 cannot say */
  Utf16: 0xeb,
  /** varint id of an object met before */
  Ref: 0xec,
  /** varint length, values */
  Array: 0xed,
  /** `Block` byte, varint length, packed numbers: a dense array of numbers only */
  Numbers: 0xee,
  /** varint length, varint count, (integer or string key, value)*: holes, or properties beside the elements */
  SparseArray: 0xef,
  /** varint count, (string key, value)* */
  Object: 0xf0,
  /** As `Object`; its keys get the next index, since they repeat. */
  NamedKeys: 0xf1,
  /** varint index of named keys, values */
  SameKeys: 0xf2,
  Date: 0xf3,
  RegExp: 0xf4,
  Map: 0xf5,
  Set: 0xf6,
  /** name index, then message, stack, flags, cause and errors as the flags say */
  Error: 0xf7,
  DomException: 0xf8,
  /** a primitive value */
  Boxed: 0xf9,
  /** `BufferKind` byte, varint length, (varint maximal length), bytes */
  Buffer: 0xfa,
  /** `View` byte, varint byte length, bytes: a view nobody else shares memory with */
  View: 0xfb,
  /** `View` byte, varint byte offset, varint byte length, buffer (or Ref to it) */
  SharedView: 0xfc,
  /** `Shell` byte: an empty container. The contents of all of them, in this order, follow the value. */
  Later: 0xfd,
  /** varint (place of the class * 4 + `Body`), then the body: an instance of a class in the `ClassTable` */
  Instance: 0xfe
} as const

/** How the body of an `Instance` is written. The instance has the id that its contents would have. */
export const Body = {
  /** The contents of an object, array, or an empty container that is filled later. */
  Contents: 0,
  /** The contents of a Map, Error, typed array …, then its own properties: varint count, (string key, value)*. */
  ContentsAndProperties: 1,
  /** varint byte length, a message: the state that its class gave. */
  State: 2
} as const

/** States in states, at most. */
export const maxStates = 32

export const Shell = { Object: 0, Array: 1, Map: 2, Set: 3 } as const

/** Widths of a `Numbers` block. */
export const Block = { Int8: 0, Int16: 1, Int32: 2, Float64: 3 } as const
export const blockWidth: ReadonlyArray<number> = [1, 2, 4, 8]

export const BufferKind = {
  Fixed: 0,
  Resizable: 1,
  Shared: 2,
  Growable: 3,
  /** varint place in a list beside the message, instead of length and bytes: between threads of one process only */
  Passed: 4
} as const

/** Kinds of views by index. A set `sharedMemory` bit says that the memory is a SharedArrayBuffer. */
export const views: ReadonlyArray<string> = [
  "DataView",
  "Int8Array",
  "Uint8Array",
  "Uint8ClampedArray",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float16Array",
  "Float32Array",
  "Float64Array",
  "BigInt64Array",
  "BigUint64Array",
  "Buffer"
]
export const nodeBuffer = 13
export const sharedMemory = 0x40

/** The errors whose class survives, as with `structuredClone`; all others arrive as `Error`. */
export const errorNames: ReadonlyArray<string> = [
  "Error",
  "EvalError",
  "RangeError",
  "ReferenceError",
  "SyntaxError",
  "TypeError",
  "URIError",
  "AggregateError"
]
export const ErrorField = { Message: 1, Stack: 2, Cause: 4, Errors: 8 } as const
