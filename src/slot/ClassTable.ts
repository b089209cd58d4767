/**
 * The classes whose instances arrive as instances. Client and slot make the table from the same list, so that a class
 * is known on the wire by its place in it: a peer can name no other, and nothing is ever looked up by a name it sent.
 *
 * An instance is restored from its own enumerable properties, without running a constructor. A class with state of
 * another kind (private fields, a handle) says itself what is sent, with a method `[Symbol.for("dispy.encode")]()` and
 * a static `[Symbol.for("dispy.decode")](state)`.
 */

/** Name of the instance method that gives what is sent of an instance. */
export const encodeKey = Symbol.for("dispy.encode")

/** Name of the static method that makes an instance of what was sent. */
export const decodeKey = Symbol.for("dispy.decode")

/** A class as it comes from the user's code. */
export interface RegisteredClass {
  readonly class: Function
  /** Whether its instances, or those of a base, have private members: a copy without them would be broken. */
  readonly hasPrivates: boolean
}

/** A class in the table. */
export interface ClassEntry {
  readonly name: string
  readonly prototype: object
  readonly hasPrivates: boolean
  /** Gives what is sent of an instance; undefined for its properties. */
  readonly encode: ((instance: object) => unknown) | undefined
  readonly decode: ((state: unknown) => unknown) | undefined
}

/** The classes, and how to find them. */
export interface ClassTable {
  readonly entries: ReadonlyArray<ClassEntry>
  /** Place of a class by the prototype of its instances. */
  readonly places: ReadonlyMap<object, number>
}

/** The method of a class or prototype under a symbol, its own or inherited. */
const methodOf = (target: object, key: symbol): Function | undefined => {
  const found: unknown = Reflect.get(target, key)
  return typeof found === "function" ? found : undefined
}

const entryOf = ({ class: constructor, hasPrivates }: RegisteredClass): ClassEntry => {
  const prototype = constructor.prototype as object
  const encode = methodOf(prototype, encodeKey)
  const decode = methodOf(constructor, decodeKey)
  const isHooked = encode !== undefined && decode !== undefined
  return {
    name: constructor.name,
    prototype,
    hasPrivates,
    // By their keys, as a subclass may have its own.
    encode: isHooked ? (instance) => (instance as Record<symbol, () => unknown>)[encodeKey]!() : undefined,
    decode: isHooked
      ? (state) => (constructor as unknown as Record<symbol, (state: unknown) => unknown>)[decodeKey]!(state)
      : undefined
  }
}

/** The table of these classes, in this order; undefined when there are none. */
export const make = (classes: ReadonlyArray<RegisteredClass>): ClassTable | undefined => {
  if (classes.length === 0) return undefined
  const entries = classes.map(entryOf)
  return { entries, places: new Map(entries.map((entry, place) => [entry.prototype, place])) }
}

/** A table with more classes behind those of another. */
export const extend = (
  table: ClassTable | undefined,
  classes: ReadonlyArray<RegisteredClass>
): ClassTable | undefined => {
  const more = make(classes)
  if (table === undefined || more === undefined) return table ?? more
  const entries = [...table.entries, ...more.entries]
  return { entries, places: new Map(entries.map((entry, place) => [entry.prototype, place])) }
}
