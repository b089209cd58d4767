import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as PingSchedule from "../../../src/domain/discovery/PingSchedule.ts"
import * as Sightings from "../../../src/domain/discovery/Sightings.ts"

const node = { name: "alpha", port: 51348, incarnation: "1", addresses: [], version: "0.1.0" }
const pattern = (text: string, port?: number) => ({ _tag: "Pattern", text, port } as const)

describe("nodes that answer", () => {
  it("are told once, on the first way that a pattern means", () => {
    const state = Sightings.make()
    const targets = [pattern("192.168.3.*")]
    expect(Sightings.see(state, targets, { source: "10.0.0.7", node }, 0)).toBeUndefined()
    expect([...state.unmatched]).toEqual(["10.0.0.7:51348 (alpha)"])
    expect(Sightings.see(state, targets, { source: "192.168.3.7", node }, 1)).toEqual({
      host: "192.168.3.7",
      port: 51348
    })
    expect(Sightings.see(state, targets, { source: "192.168.3.7", node }, 2)).toBeUndefined()
    expect(Sightings.see(state, targets, { source: "192.168.3.8", node }, 3)).toBeUndefined()
    expect(Sightings.see(state, targets, { source: "192.168.3.8", node: { ...node, incarnation: "2" } }, 4))
      .toMatchObject({ host: "192.168.3.8" })
  })

  it.each([
    ["alph*", { host: "10.0.0.7" }],
    ["beta*", undefined],
    ["fd00:*", undefined],
    ["10.*", { host: "10.0.0.7" }]
  ])("are meant by %s by address or name", (text, expected) => {
    const seen = Sightings.see(Sightings.make(), [pattern(text)], { source: "10.0.0.7", node }, 0)
    expect(seen?.host).toBe(expected?.host)
  })

  it("are dialled where they want to be, and looked for at the port of the pattern", () => {
    const outside = { ...node, addresses: ["203.0.113.5", "fd00::5"] }
    const see = (text: string, port?: number) =>
      Sightings.see(Sightings.make(), [pattern(text, port)], { source: "10.0.0.7", node: outside }, 0)?.host
    expect([see("*"), see("fd00::*"), see("10.*"), see("*", 51348), see("*", 1)]).toEqual([
      "203.0.113.5",
      "fd00::5",
      undefined,
      "203.0.113.5",
      undefined
    ])
  })

  it("are told again when they have moved, and after they have said goodbye", () => {
    const state = Sightings.make()
    const see = (source: string, now: number) => Sightings.see(state, [pattern("*")], { source, node }, now)?.host
    expect(see("10.0.0.7", 0)).toBe("10.0.0.7")
    expect(see("10.0.0.8", Sightings.movedMillis)).toBeUndefined()
    expect(see("10.0.0.8", Sightings.movedMillis + 1)).toBe("10.0.0.8")
    Sightings.forget(state, node.incarnation)
    expect(see("10.0.0.8", Sightings.movedMillis + 2)).toBe("10.0.0.8")
  })

  it("take bounded memory, however many pretend to be nodes", () => {
    const state = Sightings.make()
    for (let i = 0; i < 2 * Sightings.capacity; i++) {
      Sightings.see(state, [pattern("10.*")], {
        source: i % 2 ? "10.0.0.1" : "9.9.9.9",
        node: { ...node, name: `${i}`, incarnation: `${i}` }
      }, i)
    }
    expect(state.known.size).toBeLessThanOrEqual(Sightings.capacity)
    expect(state.unmatched.size).toBeLessThanOrEqual(8)
  })
})

/** Times of the pings, in milliseconds. */
const times = (foundAt: number, pingIntervalMillis: number | undefined, until: number): ReadonlyArray<number> => {
  const all = [0]
  let elapsedMillis = 0
  let gapMillis = 0
  while (elapsedMillis <= until) {
    const next = PingSchedule.next({ elapsedMillis, gapMillis, hasFound: foundAt <= elapsedMillis }, pingIntervalMillis)
    if (next === undefined) break
    elapsedMillis += next.afterMillis
    gapMillis = next.gapMillis
    all.push(elapsedMillis)
  }
  return all
}

describe("pings", () => {
  it("come at once, then 0.5, 1, 2, 4 and 8 seconds apart once something was found, and then no more", () => {
    expect(times(0, undefined, Infinity)).toEqual([0, 500, 1500, 3500, 7500, 15_500])
  })

  it("come five times a second for ten seconds while nothing is found", () => {
    const all = times(Infinity, undefined, Infinity)
    expect(all.filter((time) => time <= 10_000)).toHaveLength(51)
    expect(all.at(-1)).toBe(25_500)
  })

  it("go on at the ping interval, and are never further apart than it from the first on", () => {
    fc.assert(fc.property(fc.integer({ min: 200, max: 100_000 }), fc.nat({ max: 20_000 }), (interval, foundAt) => {
      const all = times(foundAt, interval, 400_000)
      expect(all.at(-1)).toBeGreaterThan(400_000)
      all.slice(1).forEach((time, i) => expect(time - all[i]!).toBeLessThanOrEqual(Math.max(interval, 8000)))
      expect(all.at(-1)! - all.at(-2)!).toBe(interval)
    }))
  })
})
