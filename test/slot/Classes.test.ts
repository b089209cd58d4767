/** Instances of the classes in a table: they arrive as instances, and nothing else does. */
import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import * as ClassTable from "../../src/slot/ClassTable.ts"
import { decode, decodeError, encode, encodeArgs, encodeError, InvalidValue } from "../../src/slot/Values.ts"

let made = 0

class Base {
  tags: Array<string> = []
  constructor() {
    made++
  }
  get count() {
    return this.tags.length
  }
}
class Point extends Base {
  x: unknown
  next: unknown = undefined
  constructor(x: unknown) {
    super()
    this.x = x
  }
  set trap(_: unknown) {
    throw new Error("a setter ran")
  }
}
class Bag extends Map<unknown, unknown> {
  label = "none"
  override set(): this {
    throw new Error("an overridden method ran")
  }
}
class Pile extends Array<unknown> {
  top() {
    return this.at(-1)
  }
}
class Group extends Set<unknown> {}
class Failure extends TypeError {
  code = 7
  override name = "Failure"
}
class Samples extends Float64Array {
  unit = "m"
}
class Stamp extends Date {
  zone = "UTC"
}
/** Its state is private, so it says itself what is sent. */
class Account {
  #cents: number
  readonly owner: unknown
  constructor(cents: number, owner?: unknown) {
    this.#cents = cents
    this.owner = owner
  }
  get cents() {
    return this.#cents
  }
  [ClassTable.encodeKey]() {
    return { cents: this.#cents, owner: this.owner }
  }
  static [ClassTable.decodeKey]({ cents, owner }: { cents: number; owner: unknown }) {
    return new this(cents, owner)
  }
}
class Savings extends Account {}
class Unlisted {
  a = 1
}

const listed = [Base, Point, Bag, Pile, Group, Failure, Samples, Stamp, Account, Savings]
const table = ClassTable.make(listed.map((one) => ({ class: one, hasPrivates: false })))!
const trip = (value: unknown): any => decode(encode(value, "value", table), table)

describe("classes of a table", () => {
  it("gives instances, nested, in collections and with accessors of the prototype, without running a constructor", () => {
    const point = new Point(new Point(1))
    point.tags.push("a", "b")
    const before = made
    const copy = trip({ list: [point], map: new Map([["k", point]]), set: new Set([point]) })
    expect(made).toBe(before)
    expect(copy.list[0]).toBeInstanceOf(Point)
    expect(copy.list[0].x).toBeInstanceOf(Point)
    expect(copy.list[0].count).toBe(2)
    expect(copy.map.get("k")).toBe(copy.list[0])
    expect([...copy.set][0]).toBe(copy.list[0])
  })

  it("keeps cycles and the identity of instances", () => {
    const a = new Point(1)
    const b = new Point(a)
    a.next = b
    const [one, other] = trip([a, b])
    expect(one.next).toBe(other)
    expect(other.x).toBe(one)
  })

  it("gives instances of derived classes what is in them and their own properties", () => {
    const bag = new Bag()
    Map.prototype.set.call(bag, "a", new Point(2))
    bag.label = "mine"
    const copy = trip(bag)
    expect(copy).toBeInstanceOf(Bag)
    expect(copy.label).toBe("mine")
    expect(copy.get("a")).toBeInstanceOf(Point)
    expect(trip(Pile.from([1, 2, 3])).top()).toBe(3)
    expect(trip(new Group([1, 2]))).toEqual(new Group([1, 2]))
    const samples = trip(Object.assign(new Samples([1.5, 2]), { unit: "km" }))
    expect([samples instanceof Samples, ...samples, samples.unit]).toEqual([true, 1.5, 2, "km"])
    expect(trip(new Stamp(5))).toMatchObject({ zone: "UTC" })
    expect(trip(new Stamp(5)).getTime()).toBe(5)
    const failure = trip(new Failure("no", { cause: new Point(3) }))
    expect(failure).toBeInstanceOf(Failure)
    expect([failure.message, failure.code, failure.name, failure.cause.x]).toEqual(["no", 7, "Failure", 3])
  })

  it("lets a class with private state say what is sent, and derived classes with it", () => {
    const copy = trip([new Account(5, new Point(1)), new Savings(7)])
    expect(copy.map((one: Account) => one.cents)).toEqual([5, 7])
    expect(copy[0].owner).toBeInstanceOf(Point)
    expect(copy[1]).toBeInstanceOf(Savings)
    const shared = new Account(1)
    const [one, other] = trip([shared, shared])
    expect(one).toBe(other)
  })

  it("names an instance with private members that its class does not help to copy", () => {
    const strict = ClassTable.make([{ class: Base, hasPrivates: true }])
    expect(() => encodeArgs([{ deep: [new Base()] }], strict)).toThrow(
      /^args\[0\]\.deep\[0\] is a Base with private members.*Symbol\.for\("dispy\.encode"\)/
    )
  })

  it("names what cannot be sent in an instance and in the state of one", () => {
    expect(() => encode(new Point(() => {}), "value", table)).toThrow("value.x is a function")
    expect(() => encode([new Account(1, () => {})], "value", table)).toThrow(/^value\[0\].*\.owner is a function/)
    const endless = new Account(1)
    Object.defineProperty(endless, "owner", { value: endless })
    expect(() => encode(endless, "value", table)).toThrow("without end")
  })

  it("gives plain objects for instances of other classes, and for all without a table", () => {
    expect(Object.getPrototypeOf(trip(new Unlisted()))).toBe(Object.prototype)
    expect(Object.getPrototypeOf(decode(encode(new Point(1))))).toBe(Object.prototype)
    class Derived extends Point {}
    expect(Object.getPrototypeOf(trip(new Derived(1)))).toBe(Object.prototype)
  })

  it("copies nests of instances of 100,000 levels", () => {
    let value: unknown = null
    for (let i = 0; i < 100_000; i++) value = Object.assign(new Point(value), { tags: undefined })
    let copy = trip(value)
    let depth = 0
    for (; copy !== null; copy = copy.x) {
      if (!(copy instanceof Point)) throw new Error("not an instance")
      depth++
    }
    expect(depth).toBe(100_000)
  })

  it("keeps a __proto__ property of an instance an ordinary property", () => {
    const point = new Point(1)
    Object.defineProperty(point, "__proto__", { value: { bad: 1 }, enumerable: true })
    const copy = trip(point)
    expect(Object.getPrototypeOf(copy)).toBe(Point.prototype)
    expect(Object.getOwnPropertyDescriptor(copy, "__proto__")?.value).toEqual({ bad: 1 })
  })

  it("copies random graphs of instances with their classes and references", () => {
    const kinds: Record<string, () => any> = {
      base: () => new Base(),
      point: () => new Point(0),
      bag: () => new Bag(),
      pile: () => new Pile(),
      group: () => new Group(),
      failure: () => new Failure("f"),
      plain: () => ({}),
      list: () => []
    }
    const edge = fc.tuple(fc.nat(), fc.nat(), fc.string({ maxLength: 3 }))
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...Object.keys(kinds)), { minLength: 1, maxLength: 20 }),
        fc.array(edge, { maxLength: 40 }),
        (names, edges) => {
          const nodes = names.map((name) => kinds[name]!())
          for (const [from, to, key] of edges) {
            const source = nodes[from % nodes.length]
            const target = nodes[to % nodes.length]
            if (Array.isArray(source)) source.push(target)
            else if (source instanceof Map) Map.prototype.set.call(source, key, target)
            else if (source instanceof Set) source.add(target)
            else Object.defineProperty(source, `k${key}`, { value: target, enumerable: true, configurable: true })
          }
          const copies = trip(nodes)
          const seen = new Map<unknown, unknown>()
          const same = (a: any, b: any): void => {
            if (typeof a !== "object" || a === null) return expect(b).toBe(a)
            if (seen.has(a)) return expect(seen.get(a)).toBe(b)
            seen.set(a, b)
            expect(Object.getPrototypeOf(b)).toBe(Object.getPrototypeOf(a))
            if (a instanceof Map) same([...a], [...b])
            if (a instanceof Set) same([...a], [...b])
            expect(Object.keys(b)).toEqual(Object.keys(a))
            for (const key of Object.keys(a)) same(a[key], b[key])
          }
          same(nodes, copies)
        }
      ),
      { numRuns: 500 }
    )
  })

  it("gives errors of the classes as they were thrown, also as a cause", () => {
    const thrown = decodeError(encodeError(new Failure("no", { cause: new Error("inner") }), table), table)
    expect(thrown.instance).toBeInstanceOf(Failure)
    const outer = decodeError(encodeError(new Error("outer", { cause: new Failure("no") }), table), table)
    expect(outer.instance).toBe(undefined)
    expect(outer.cause?.instance).toBeInstanceOf(Failure)
    expect(decodeError(encodeError(new Point(4), table), table).value).toBeInstanceOf(Point)
  })
})

describe("bytes from a peer", () => {
  it("are refused when they name a class that is not there, or give it another body than it has", () => {
    const known = encode(new Point(1), "value", table)
    expect(() => decode(known)).toThrow("there is no class")
    const bodies = [
      [0xd1, 0xfe, 99 * 4],
      [0xd1, 0xfe, 4, 5], // an instance made of a number
      [0xd1, 0xc1, 0xfe, 4, 0xec, 0], // of the array that it is in
      [0xd1, 0xfe, 8 * 4, 0xd0], // properties of a class that makes its own instances
      [0xd1, 0xfe, 4 + 2, 2, 0xd1, 0x01], // a state of one that does not
      [0xd1, 0xfe, 4 + 3, 0xd0],
      [0xd1, 0xfe, 8 * 4 + 2, 0x7f]
    ]
    for (const bytes of bodies) expect(() => decode(Uint8Array.from(bytes), table)).toThrow(InvalidValue)
  })

  it("run no code of a class but its decoder, and never pollute, whatever was damaged", () => {
    const point = new Point(new Bag())
    point.next = [point, new Failure("f"), new Samples(3), new Group([new Pile()])]
    const corpus = [point, new Bag(), new Samples(4), new Stamp(1), new Failure("m", { cause: point }), [
      new Account(3)
    ]]
      .map((value) => encode(value, "value", table))
    const prototypes = listed.map((one) => JSON.stringify(Reflect.ownKeys(one.prototype).map(String)))
    const before = made
    let refused = 0
    fc.assert(
      fc.property(
        fc.nat({ max: corpus.length - 1 }),
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }),
        fc.nat({ max: 3 }),
        (which, changes, cut) => {
          const bytes = Uint8Array.from(corpus[which]!).slice(0, corpus[which]!.length - (cut === 3 ? 2 : 0))
          for (const [at, value] of changes) bytes[1 + at % (bytes.length - 1)] = value
          try {
            decode(bytes, table)
          } catch (error) {
            refused++
            // What the decoder of a class makes of a damaged state is its own affair.
            if (!(error instanceof InvalidValue)) expect(String(error)).toMatch(/Cannot destructure/)
          }
        }
      ),
      { numRuns: 20_000 }
    )
    expect(refused).toBeGreaterThan(1000)
    expect(made).toBe(before)
    expect(listed.map((one) => JSON.stringify(Reflect.ownKeys(one.prototype).map(String)))).toEqual(prototypes)
    expect(Object.keys(Object.prototype)).toEqual([])
  })
})
