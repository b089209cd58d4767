import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import { Script } from "node:vm"
import { decode, decodeArgs, encode, encodeArgs, NotCloneable } from "../../src/slot/Values.ts"

const trip = (value: unknown): any => decode(encode(value))

/** Where two graphs differ in value, prototype, holes or shared references; undefined if nowhere. */
const difference = (a: any, b: any, path = "value", seen = new Map<object, object>()): string | undefined => {
  if (typeof a !== "object" || a === null) return Object.is(a, b) ? undefined : path
  if (typeof b !== "object" || b === null) return path
  if (seen.has(a)) return seen.get(a) === b ? undefined : `${path} (identity)`
  seen.set(a, b)
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return `${path} (prototype)`
  const inner = (x: any, y: any, step: string) => difference(x, y, path + step, seen)
  if (a instanceof Map) return inner(Array.from(a), Array.from(b), "<entries>")
  if (a instanceof Set) return inner(Array.from(a), Array.from(b), "<items>")
  if (a instanceof Date) return inner(a.getTime(), b.getTime(), "<time>")
  if (a instanceof RegExp) return inner([a.source, a.flags, a.lastIndex], [b.source, b.flags, b.lastIndex], "<regexp>")
  if (a instanceof ArrayBuffer || a instanceof SharedArrayBuffer) {
    return inner(Array.from(new Uint8Array(a)), Array.from(new Uint8Array(b)), "<bytes>")
  }
  if (ArrayBuffer.isView(a)) {
    const bytes = (view: ArrayBufferView) => Array.from(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
    return inner(bytes(a), bytes(b), "<bytes>")
  }
  if (a instanceof Number || a instanceof String || a instanceof Boolean || a instanceof BigInt) {
    return inner(a.valueOf(), b.valueOf(), "<boxed>")
  }
  if (Array.isArray(a) && a.length !== b.length) return `${path}.length`
  const keys = a instanceof Error ? ["message", "stack", "cause"].filter((key) => key in a) : Object.keys(a)
  const others = a instanceof Error ? ["message", "stack", "cause"].filter((key) => key in b) : Object.keys(b)
  if (keys.join("\n") !== others.join("\n")) return `${path} (keys)`
  for (const key of keys) {
    const found = inner(a[key], b[key], `.${key}`)
    if (found !== undefined) return found
  }
  return undefined
}

const sparse = [1, 2, 3]
sparse[10] = 4
const withExtras = Object.assign([1, 2], { index: 7, "1.5": 1, "-0": 2, "4294967295": 3, __: undefined })
const cycle: any = { list: [] }
cycle.list.push(cycle, cycle.list)
const common = { a: 1 }
class Point {
  x = 1
  #hidden = 2
  get sum() {
    return this.x + this.#hidden
  }
}
class Node {
  readonly next: unknown
  constructor(next: unknown) {
    this.next = next
  }
}
class Failure extends RangeError {
  code = "E1"
}
const rows = Array.from({ length: 50 }, (_, id) => ({ id, name: `row ${id}`, inner: { id, ok: true } }))

const table: Record<string, unknown> = {
  "integers": [0, 1, 127, 128, -1, -128, -129, 32767, -32768, 32768, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 2 ** 53],
  "other numbers": ["no block", -0, 0.1, NaN, Infinity, -Infinity, 5e-324, 1.7976931348623157e308],
  "minus zero": -0,
  "primitives": [undefined, null, true, false, "", "text"],
  "bigints": [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 63n, -(2n ** 63n) - 1n, 3n ** 2000n, -(7n ** 999n), 255n],
  "strings": ["ä", "€", "😀", "\ud800", "x\udc00y", "a".repeat(63), "a".repeat(64), "é".repeat(70_000), "\0"],
  "a long string": "line ".repeat(100_000),
  "boxed primitives": [Object(1), Object("s"), Object(false), Object(1n), Object(-0)],
  "dates": [new Date(0), new Date(1e12 + 0.5), new Date(NaN), new Date(-1)],
  "regular expressions": [/a+/giu, /[/]\n/, new RegExp(""), Object.assign(/x/g, { lastIndex: 3 })],
  "maps": new Map<unknown, unknown>([[1, 2], ["a", new Map()], [NaN, -0], [{}, []], [undefined, null]]),
  "sets": new Set<unknown>([1, "a", {}, undefined, new Set([1])]),
  "a subclass of Map": new (class extends Map<number, number> {})([[1, 2]]),
  "numbers": Array.from({ length: 1000 }, (_, i) => i * i * i),
  "small numbers": Array.from({ length: 100 }, (_, i) => i - 50),
  "middle numbers": Array.from({ length: 100 }, (_, i) => i * 300),
  "fractions": Array.from({ length: 100 }, (_, i) => i / 3),
  "numbers and minus zero": [1, 2, 3, 4, 5, 6, 7, 8, -0],
  "numbers and text": [1, 2, 3, 4, 5, 6, 7, 8, "9"],
  "a sparse array": sparse,
  "a very sparse array": Object.assign([], { 4_294_967_294: 1 }),
  "only holes": new Array(5000),
  "holes and undefined": Object.assign(new Array(5), { 0: undefined, 2: undefined, 3: 1 }),
  "many undefined": new Array(100).fill(undefined),
  "holes in a long array": Object.assign(new Array(100).fill(1), { length: 120 }),
  "an array with properties": withExtras,
  "a long array with properties": Object.assign(new Array(100).fill(1), { note: "here" }),
  "a match": "abc".match(/(?<x>b)/),
  "a subclass of Array": new (class extends Array<number> {})(1, 2, 3),
  "objects": { a: 1, b: undefined, "": { c: [{}] }, "1": 1, "ключ": "значение", length: 3 },
  "a large object": Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`key${i}`, i])),
  "an object without prototype": Object.assign(Object.create(null), { a: 1 }),
  "symbols as keys": { [Symbol("s")]: 1, a: 2 },
  "getters": {
    get a() {
      return 1
    }
  },
  "hidden properties": Object.defineProperty({ a: 1 }, "b", { value: 2, enumerable: false }),
  "an instance of a class": new Point(),
  "rows": rows,
  "a cycle": cycle,
  "shared references": [common, common, { common }, new Map([[common, common]]), new Set([common])],
  "many shared references": [rows, ...rows, ...rows].reverse(),
  "shared wrappers": ((date) => [date, date])(new Date(5)),
  "a map that holds itself": ((map) => map.set(map, map))(new Map()),
  "errors": [new Error("m"), new TypeError(), new RangeError("r", { cause: { a: [1] } }), new URIError("u")],
  "more errors": [new EvalError("e"), new ReferenceError("r"), new SyntaxError("s", { cause: undefined })],
  "an error of a class": new Failure("no"),
  "an error with a name": Object.assign(new Error("m"), { name: "Special" }),
  "an error that causes itself": ((error) => ((error as any).cause = error, error))(new Error("m")),
  "buffers": [new ArrayBuffer(0), new Uint8Array([1, 2, 3]).buffer],
  "views": [
    new Int8Array([-1, 2]),
    new Uint8ClampedArray([1, 300]),
    new Int16Array([1, -2]),
    new Uint16Array([1, 2]),
    new Int32Array([1, -2]),
    new Uint32Array([1, 2]),
    new Float32Array([1.5, NaN]),
    new Float64Array([-0, 2]),
    new BigInt64Array([-1n]),
    new BigUint64Array([2n ** 64n - 1n]),
    new DataView(new Uint8Array([1, 2, 3]).buffer, 1, 1),
    ...("Float16Array" in globalThis ? [new (globalThis as any).Float16Array([1.5, 2])] : [])
  ],
  "a large view": new Float64Array(100_000).fill(1.25)
}

describe("Values", () => {
  for (const [name, value] of Object.entries(table)) {
    it(`copies ${name} as structuredClone does`, () => {
      expect(difference(structuredClone(value), trip(value))).toBe(undefined)
      expect(difference(structuredClone([value, [value]]), decodeArgs(encodeArgs([value, [value]])))).toBe(undefined)
    })
  }

  it("copies whatever fast-check comes up with as structuredClone does", () => {
    const anything = fc.anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withObjectString: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      withUnicodeString: true,
      maxDepth: 4
    })
    fc.assert(
      fc.property(anything, (value) => {
        expect(difference(structuredClone(value), trip(value))).toBe(undefined)
      }),
      { numRuns: 2000 }
    )
  })

  it("copies numbers, strings and bigints of every kind", () => {
    const numbers = fc.array(fc.oneof(fc.integer(), fc.double(), fc.integer({ min: -200, max: 200 })))
    const strings = fc.array(fc.string({ unit: "binary", maxLength: 200 }))
    const halves = fc.array(fc.integer({ min: 0, max: 0xffff })).map((codes) => String.fromCharCode(...codes))
    fc.assert(
      fc.property(numbers, strings, halves, fc.array(fc.bigInt()), (...value) => {
        expect(difference(value, trip(value))).toBe(undefined)
      }),
      { numRuns: 1000 }
    )
  })

  it("keeps the shape of random graphs: cycles, shared references, all containers", () => {
    const edge = fc.tuple(fc.nat(), fc.nat(), fc.string({ maxLength: 3 }))
    const kinds = fc.array(fc.constantFrom("object", "array", "map", "set", "error"), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(kinds, fc.array(edge, { maxLength: 60 }), (names, edges) => {
        const nodes: Array<any> = names.map((kind) =>
          kind === "object"
            ? {}
            : kind === "array"
            ? []
            : kind === "map"
            ? new Map()
            : kind === "set"
            ? new Set()
            : Error()
        )
        for (const [from, to, key] of edges) {
          const source = nodes[from % nodes.length]
          const target = nodes[to % nodes.length]
          if (Array.isArray(source)) source.push(target)
          else if (source instanceof Map) source.set(target, key).set(key, target)
          else if (source instanceof Set) source.add(target)
          else if (source instanceof Error) source.cause = target
          else {Object.defineProperty(source, key, {
              value: target,
              enumerable: true,
              configurable: true,
              writable: true
            })}
        }
        expect(difference(structuredClone(nodes), trip(nodes))).toBe(undefined)
      }),
      { numRuns: 1000 }
    )
  })

  it("keeps a __proto__ property an ordinary property", () => {
    const value = trip([JSON.parse(`{"__proto__":{"bad":1},"a":1}`), JSON.parse(`{"__proto__":{"bad":1},"a":1}`)])
    for (const object of value) {
      expect(Object.getPrototypeOf(object)).toBe(Object.prototype)
      expect(Object.keys(object)).toEqual(["__proto__", "a"])
      expect(object.bad).toBe(undefined)
    }
  })

  it("copies the errors of an AggregateError, which structuredClone loses", () => {
    const copy = trip(new AggregateError([new TypeError("one"), 2], "all", { cause: 3 }))
    expect(copy).toBeInstanceOf(AggregateError)
    expect([copy.message, copy.cause, copy.errors[0].message, copy.errors[1]]).toEqual(["all", 3, "one", 2])
  })

  it("copies a DOMException", () => {
    const copy = trip(new DOMException("stopped", "AbortError"))
    expect(copy).toBeInstanceOf(DOMException)
    expect([copy.name, copy.message, copy.code]).toEqual(["AbortError", "stopped", 20])
  })

  it("copies the contents of a SharedArrayBuffer into a new one", () => {
    const source = new SharedArrayBuffer(4)
    new Uint8Array(source).set([1, 2, 3, 4])
    const [copy, view] = trip([source, new Uint8Array(source, 2)])
    expect(copy).toBeInstanceOf(SharedArrayBuffer)
    expect(view.buffer).toBe(copy)
    expect(Array.from(view)).toEqual([3, 4])
    expect(trip(new Uint8Array(source, 1, 2)).buffer).toBeInstanceOf(SharedArrayBuffer)
  })

  it("keeps resizable buffers resizable", () => {
    expect(trip(new ArrayBuffer(8, { maxByteLength: 64 })).maxByteLength).toBe(64)
    expect(trip(new SharedArrayBuffer(8, { maxByteLength: 64 })).maxByteLength).toBe(64)
  })

  it("gives a Buffer for a Buffer, without the rest of its pool", () => {
    const bytes = encode([Buffer.from("secret"), Buffer.from("text")])
    expect(bytes.length).toBeLessThan(30)
    const [first, second] = decode(bytes) as [Buffer, Buffer]
    expect(Buffer.isBuffer(first) && first.toString()).toBe("secret")
    expect(Buffer.isBuffer(second) && second.toString()).toBe("text")
  })

  it("sends only the part of a large array that a view shows", () => {
    const large = new Float64Array(100_000).fill(2)
    const bytes = encode({ part: large.subarray(10, 20) })
    expect(bytes.length).toBeLessThan(150)
    expect((decode(bytes) as any).part).toEqual(new Float64Array(10).fill(2))
  })

  it("keeps the memory shared that several views of one value share", () => {
    const memory = new ArrayBuffer(64)
    const orders = [
      [new Uint8Array(memory, 8, 8), new Float64Array(memory), memory, new DataView(memory, 1, 3)],
      [memory, new Uint8Array(memory, 8, 8)],
      [new Uint8Array(memory, 8, 8), memory]
    ]
    for (const views of orders) {
      const copies = trip(views)
      const buffers = new Set(copies.map((copy: any) => copy instanceof ArrayBuffer ? copy : copy.buffer))
      expect(buffers.size).toBe(1)
      expect(difference(structuredClone(views), copies)).toBe(undefined)
      expect(copies.map((copy: any) => copy.byteOffset)).toEqual(views.map((view: any) => view.byteOffset))
    }
  })

  it("copies objects of another realm", () => {
    const value = new Script(
      `({ map: new Map([[1, new Date(0)]]), list: [1, [2]], bytes: new Uint8Array([1]), e: new TypeError("m") })`
    )
      .runInNewContext()
    const copy = trip(value)
    expect(copy.map).toBeInstanceOf(Map)
    expect(copy.map.get(1)).toEqual(new Date(0))
    expect([copy.list, copy.bytes]).toEqual([[1, [2]], new Uint8Array([1])])
    expect(copy.e).toBeInstanceOf(TypeError)
  })

  it("names what cannot be cloned, and where it is", () => {
    const cases: Array<[() => Uint8Array, string, string]> = [
      [() => encodeArgs([{ user: { onClick() {} } }]), "args[0].user.onClick", "function"],
      [() => encodeArgs([1, [2, Symbol("s")]]), "args[1][1]", "symbol"],
      [() => encode(() => 1), "value", "function"],
      [() => encode({ "a b": [{}, new WeakMap()] }), `value["a b"][1]`, "WeakMap"],
      [() => encode({ p: Promise.resolve() }), "value.p", "Promise"],
      [() => encode(new Map([["k", { f: Math.sin }]])), `value.get("k").f`, "function"],
      [() => encode(new Map([[Symbol.iterator, 1]])), "value.keys(Symbol(Symbol.iterator))", "symbol"],
      [() => encode([new Set([1, new WeakSet()])]), "value[0].values()[1]", "WeakSet"],
      [() => encode(new Error("e", { cause: { f() {} } })), "value.cause.f", "function"],
      [() => encode(new AggregateError([() => 1])), "value.errors[0]", "function"],
      [() => encode((function*() {})()), "value", "Generator"],
      [() => encode([1].values()), "value", "Array Iterator"],
      [() => encode(new WeakRef({})), "value", "WeakRef"],
      [() => encode(new Intl.NumberFormat()), "value", "Intl.NumberFormat"],
      [() => encode(Object(Symbol("s"))), "value", "Symbol"],
      [() => encode(new Proxy(new Map(), {})), "value", "Proxy"],
      [() => encode(new URL("http://example.org")), "value", "URL"],
      [() => encode(AbortSignal.abort()), "value", "AbortSignal"],
      [() => encode(Object.assign([1, 2], { f() {} })), "value.f", "function"],
      [
        () => {
          const buffer = new ArrayBuffer(8)
          structuredClone(buffer, { transfer: [buffer] })
          return encode({ buffer })
        },
        "value.buffer",
        "detached ArrayBuffer"
      ]
    ]
    for (const [act, path, type] of cases) {
      let error: unknown
      try {
        act()
      } catch (caught) {
        error = caught
      }
      expect(error).toBeInstanceOf(NotCloneable)
      expect(error).toMatchObject({ path, type })
    }
    expect(() => encodeArgs([{ f() {} }])).toThrow(
      "args[0].f is a function: only structured-cloneable values can be sent"
    )
  })

  it("copies nests of 100,000 levels of every container", () => {
    const wrap: Array<(inner: unknown) => object> = [
      (inner) => [inner, 1],
      (inner) => [1, 2, 3, 4, 5, 6, 7, 8, inner],
      (inner) => ({ a: 1, inner }),
      (inner) => new Node(inner),
      (inner) => new Map([[inner, 1]]),
      (inner) => new Set([inner]),
      (inner) => Object.assign([], { 7: inner }),
      (inner) => [{ inner: new Map([["k", new Set([inner])]]) }, [1, 2, 3, 4, 5, 6, 7, 8, 9]]
    ]
    const innerOf = (value: any): any =>
      value instanceof Map
        ? Array.from(value).flat().find((part) => typeof part === "object")
        : Object.values(value instanceof Set ? Array.from(value) : value).find((part) => typeof part === "object")
    for (const container of wrap) {
      let value: object = { end: true }
      for (let i = 0; i < 100_000; i++) value = container(value)
      let copy = trip([value])[0]
      for (; innerOf(value) !== undefined; value = innerOf(value), copy = innerOf(copy)) {
        const prototype = value instanceof Node ? Object.prototype : Object.getPrototypeOf(value)
        if (Object.getPrototypeOf(copy) !== prototype) throw new Error("different")
        if (Array.isArray(value) && Object.keys(value).join() !== Object.keys(copy).join()) throw new Error("different")
      }
      expect(copy).toEqual({ end: true })
    }
  })

  it("refuses chains of errors that nest too deep", () => {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    let error: unknown = 1
    for (let i = 0; i < 300; i++) error = new Error("", { cause: error })
    expect(trip(error)).toBeInstanceOf(Error)
    for (let i = 0; i < 10_000; i++) error = new Error("", { cause: error })
    Error.stackTraceLimit = limit
    expect(() => encode(error)).toThrow(/is a value nested deeper than 400 levels/)
  })

  it("names what cannot be cloned far down", () => {
    let value: unknown = { bad() {} }
    for (let i = 0; i < 1000; i++) value = [value]
    expect(() => encode(value)).toThrow(/^value…(\[0\])*\.bad is a function/)
  })

  it("keeps earlier results intact while others are encoded", () => {
    const values = Array.from({ length: 500 }, (_, i) => ({ i, text: "x".repeat(i * 7), list: new Array(i).fill(i) }))
    const encoded = values.map((value) => encode(value))
    expect(encoded.map((bytes) => decode(bytes))).toEqual(values)
  })

  it("does not share memory with the bytes it reads", () => {
    const bytes = encode([new Uint8Array([1, 2, 3]), Buffer.from("abc"), new ArrayBuffer(2), "text", 1.5])
    const value = decode(bytes)
    bytes.fill(255)
    expect(value).toEqual([new Uint8Array([1, 2, 3]), Buffer.from("abc"), new ArrayBuffer(2), "text", 1.5])
  })

  it("lets a getter of the value encode something itself", () => {
    let inner: Uint8Array | undefined
    const value = {
      a: [1, 2],
      get b() {
        return (inner = encode({ x: "y".repeat(100) })).length
      },
      c: "end"
    }
    const copy = trip(value)
    expect(copy).toEqual({ a: [1, 2], b: inner?.length, c: "end" })
    expect(decode(inner!)).toEqual({ x: "y".repeat(100) })
  })

  it("is usable after a failed encode", () => {
    const shared = { a: 1 }
    expect(() => encode([shared, () => 1])).toThrow(NotCloneable)
    expect(() =>
      encode({
        get a() {
          throw new TypeError("mine")
        }
      })
    ).toThrow("mine")
    expect(trip([shared, shared])).toEqual([shared, shared])
  })
})
