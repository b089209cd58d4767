import { describe, expect, it } from "vitest"
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

  it("and dial out are meant by what they tell of themselves or come from, at the port of the pattern", () => {
    const parked = {
      address: { _tag: "Parked", label: "alpha", host: "203.0.113.9", port: 51348 } as const,
      node: { ...node, addresses: ["10.0.0.7"] }
    }
    const state = Sightings.make()
    const see = (text: string, port?: number) => Sightings.seeParked(state, [pattern(text, port)], parked)
    expect([see("203.*"), see("10.*"), see("alph*"), see("203.*", 51348)]).toEqual([
      "203.0.113.9",
      "10.0.0.7",
      "10.0.0.7",
      "203.0.113.9"
    ])
    expect(state.unmatched.size).toBe(0)
    expect([see("fd00:*"), see("*", 1)]).toEqual([undefined, undefined])
    expect([...state.unmatched]).toEqual(["alpha@203.0.113.9:51348"])
  })
})
