import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import { decodeError, encode, encodeError, InvalidValue } from "../../src/slot/Values.ts"

describe("encodeError", () => {
  const tripError = (thrown: unknown) => decodeError(encodeError(thrown))

  it("keeps name, message, stack, causes and the fields that can be sent", () => {
    class DatabaseError extends Error {
      readonly _tag = "DatabaseError"
      code = "ECONN"
      errno = -111
      when = new Date(0)
      retry = () => 1
    }
    const cause = new TypeError("inner", { cause: "a reason" })
    const error = new DatabaseError("outer", { cause })
    const thrown = tripError(error)
    expect(thrown).toMatchObject({ name: "DatabaseError", message: "outer", stack: error.stack, isError: true })
    expect(thrown.fields).toEqual({ _tag: "DatabaseError", code: "ECONN", errno: -111, when: new Date(0) })
    expect(thrown.dropped).toEqual(["retry"])
    expect(thrown.cause).toMatchObject({ name: "TypeError", message: "inner" })
    expect(thrown.cause?.cause).toMatchObject({
      isError: false,
      name: "string",
      message: "a reason",
      value: "a reason"
    })
    expect(thrown.isTruncated).toBe(false)
  })

  it("keeps the errors of an AggregateError", () => {
    const thrown = tripError(new AggregateError([new Error("one"), "two"], "both"))
    expect(thrown.errors.map((error) => error.message)).toEqual(["one", "two"])
  })

  it("takes anything that was thrown", () => {
    expect(tripError(undefined)).toMatchObject({ isError: false, name: "undefined", message: "undefined" })
    expect(tripError(null)).toMatchObject({ name: "null", value: null })
    expect(tripError({ status: 404 })).toMatchObject({
      name: "Object",
      message: "{ status: 404 }",
      value: { status: 404 }
    })
    expect(tripError(Symbol("s"))).toMatchObject({ name: "symbol", message: "Symbol(s)" })
    expect(tripError(() => 1)).not.toHaveProperty("value")
    expect(tripError(new Map([[1, 2]])).value).toEqual(new Map([[1, 2]]))
    expect(tripError(new DOMException("stop", "AbortError"))).toMatchObject({ name: "AbortError", message: "stop" })
  })

  it("survives errors that resist being read", () => {
    const trap = new Proxy({}, {
      get: () => {
        throw 1
      },
      ownKeys: () => {
        throw 2
      },
      getPrototypeOf: () => {
        throw 3
      }
    })
    const revoked = Proxy.revocable({}, {})
    revoked.revoke()
    const hostile = new Error("m")
    for (const key of ["message", "stack", "name", "cause", "code"]) {
      Object.defineProperty(hostile, key, {
        get: () => {
          throw new Error("no")
        },
        enumerable: true
      })
    }
    for (
      const thrown of [
        trap,
        revoked.proxy,
        hostile,
        Object.create(null),
        new (class extends Error {
          override message = 1n as never
        })()
      ]
    ) {
      expect(typeof tripError(thrown).message).toBe("string")
    }
  })

  it("cuts long texts, long chains and large fields, and says so", () => {
    const endless: Error = new Error("loop")
    endless.cause = endless
    expect(tripError(endless).isTruncated || tripError(endless).cause !== undefined).toBe(true)
    const huge = new Error("x".repeat(1e6), { cause: new Error("y".repeat(1e6)) })
    huge.stack = "at z\n".repeat(1e6)
    Object.assign(huge, { small: 1, large: "w".repeat(1e6) })
    const bytes = encodeError(huge)
    expect(bytes.length).toBeLessThan(80 * 1024)
    const thrown = decodeError(bytes)
    expect(thrown.isTruncated).toBe(true)
    expect(thrown.message).toMatch(/^x{16384}… \(983616 more characters\)$/)
    expect([thrown.fields, thrown.dropped]).toEqual([{ small: 1 }, ["large"]])
    const many = new AggregateError(Array.from({ length: 1000 }, (_, i) => new Error(`e${i}`)), "many")
    expect(tripError(many)).toMatchObject({ isTruncated: true })
    expect(tripError("s".repeat(1e6)).value).toBe(undefined)
  })

  it("always encodes", () => {
    fc.assert(fc.property(fc.anything({ withNullPrototype: true, withMap: true }), (value) => {
      const error = Object.assign(new Error("m"), typeof value === "object" ? value : { value })
      expect(typeof tripError(error).message).toBe("string")
      expect(typeof tripError(value).message).toBe("string")
    }))
  })

  it("refuses bytes that are no error", () => {
    expect(() => decodeError(encode({ name: "x" }))).toThrow(InvalidValue)
    expect(() => decodeError(encode(undefined))).toThrow(InvalidValue)
  })
})
