import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as InputReader from "../../../src/programs/client/InputReader.ts"

const readAll = async <I>(reader: InputReader.InputReader<I>, limit: number): Promise<Array<Array<I>>> => {
  const groups: Array<Array<I>> = []
  while (true) {
    const items = await reader.take(limit, Infinity)
    if (items.length === 0) return groups
    groups.push(items)
  }
}

describe("groups of items", () => {
  it("hold every item once, in order, at most as many as asked for", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat()),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        async (items, limit, isAsync) => {
          const source = isAsync
            ? (async function*() {
              yield* items
            })()
            : items
          const groups = await readAll(InputReader.make(source), limit)
          expect(groups.flat()).toEqual(items)
          expect(Math.max(0, ...groups.map((group) => group.length))).toBeLessThanOrEqual(limit)
        }
      )
    ))

  it("end when their items get large", async () => {
    const large = (n: number) => ({ n, bytes: new Uint8Array(400) })
    const groups = [[large(1), large(2), large(3)], [large(4)]]
    const reader = InputReader.make(groups.flat())
    expect(await reader.take(10, 1000)).toEqual(groups[0])
    expect(await reader.take(10, 1000)).toEqual(groups[1])
  })

  it("do not wait for a slow item", async () => {
    let proceed = (): void => {}
    const slow = new Promise<void>((resolve) => {
      proceed = resolve
    })
    const reader = InputReader.make((async function*() {
      yield 1
      yield 2
      await slow
      yield 3
    })())
    expect(await reader.take(10, Infinity)).toEqual([1, 2])
    proceed()
    expect(await reader.take(10, Infinity)).toEqual([3])
    expect(await reader.take(10, Infinity)).toEqual([])
  })

  it("pass on what the iterable throws, and tell it when no more is wanted", async () => {
    let isClosed = false
    const failing = InputReader.make((async function*() {
      try {
        yield 1
        yield 2
      } finally {
        isClosed = true
      }
    })())
    expect(await failing.take(1, Infinity)).toEqual([1])
    await failing.close()
    expect(isClosed).toBe(true)
    const throwing = InputReader.make((function*() {
      yield* []
      throw new Error("broken source")
    })())
    expect(() => throwing.take(1, Infinity)).toThrow("broken source")
  })
})
