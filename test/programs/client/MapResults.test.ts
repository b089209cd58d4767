import { describe, expect, it } from "vitest"
import { MapResults } from "../../../src/programs/client/MapResults.ts"

const over = (groups: ReadonlyArray<ReadonlyArray<number> | Error>) => {
  const rest = [...groups]
  const closed: Array<number> = []
  const results = new MapResults<number>({
    pull: async () => {
      await Promise.resolve()
      const group = rest.shift() ?? []
      if (group instanceof Error) throw group
      return group
    },
    close: async () => {
      closed.push(rest.length)
    }
  })
  return { results, closed }
}

describe("the results of a map", () => {
  it("come one by one, and end", async () => {
    const { closed, results } = over([[1, 2], [3]])
    const all: Array<number> = []
    for await (const result of results) all.push(result)
    expect(all).toEqual([1, 2, 3])
    expect(await results.next()).toEqual({ done: true, value: undefined })
    expect(closed).toEqual([0])
  })

  it("answer overlapping calls in their order", async () => {
    const { results } = over([[1, 2], [3], [4, 5]])
    const calls = Array.from({ length: 7 }, () => results.next())
    expect((await Promise.all(calls)).map((result) => result.value)).toEqual([1, 2, 3, 4, 5, undefined, undefined])
  })

  it("cancel the rest, once, when the loop is left", async () => {
    const { closed, results } = over([[1, 2], [3]])
    for await (const n of results) if (n === 1) break
    await results.return()
    expect(closed).toEqual([1])
    expect(await results.next()).toMatchObject({ done: true })
  })

  it("reject with what ended the map, and then end", async () => {
    const { closed, results } = over([[1], new Error("item 1 failed"), [2]])
    expect(await results.next()).toEqual({ done: false, value: 1 })
    await expect(results.next()).rejects.toThrow("item 1 failed")
    expect(await results.next()).toMatchObject({ done: true })
    expect(closed).toEqual([1])
  })
})
