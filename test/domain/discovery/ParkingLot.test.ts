import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { NodeBeacon } from "../../../src/domain/discovery/Datagram.ts"
import * as ParkingLot from "../../../src/domain/discovery/ParkingLot.ts"
import * as NodeAddress from "../../../src/domain/NodeAddress.ts"

const aNode = (incarnation: string, name = "alpha"): NodeBeacon => ({
  name,
  incarnation,
  port: 51348,
  addresses: [],
  version: "0.1.0"
})

const limits: ParkingLot.Limits = { strangers: 2, parked: 6, perSource: 4, perNode: 2 }

const gateway = "203.0.113.9"

/** Parks a connection that was not there before. */
const park = (lot: ParkingLot.ParkingLot<number>, connection: number, node: NodeBeacon, host = gateway) => {
  ParkingLot.enter(lot, connection)
  return ParkingLot.park(lot, connection, host, node)
}

const addressOf = (parked: ParkingLot.Parked<number>): string =>
  parked._tag === "Full" ? parked.reason : NodeAddress.format(parked.spot.address)

const at = (label: string): NodeAddress.ParkedAddress => ({ _tag: "Parked", label, host: gateway, port: 51348 })

describe("parked connections", () => {
  it("are taken by their node's address, the latest first, each once", () => {
    const lot = ParkingLot.make<number>(limits)
    expect(addressOf(park(lot, 1, aNode("a")))).toBe("alpha@203.0.113.9:51348")
    expect(addressOf(park(lot, 2, aNode("a")))).toBe("alpha@203.0.113.9:51348")
    park(lot, 3, aNode("b", "beta"))
    const take = (label: string) => ParkingLot.take(lot, at(label))?.connection
    expect([take("alpha"), take("alpha"), take("alpha"), take("beta"), take("gamma")]).toEqual([
      2,
      1,
      undefined,
      3,
      undefined
    ])
  })

  it("are of the start of the node that is asked for", () => {
    const lot = ParkingLot.make<number>(limits)
    park(lot, 1, aNode("a"))
    expect(ParkingLot.take(lot, { ...at("alpha"), incarnation: "b" })).toBeUndefined()
    expect(ParkingLot.take(lot, { ...at("alpha"), incarnation: "a" })?.connection).toBe(1)
  })

  it("of nodes with the same name, behind the same gateway, have different addresses; one that started again keeps its", () => {
    const lot = ParkingLot.make<number>(limits)
    park(lot, 1, aNode("11111111-a"))
    expect(addressOf(park(lot, 2, aNode("22222222-b")))).toBe("alpha-22222222@203.0.113.9:51348")
    ParkingLot.leave(lot, 1)
    expect(addressOf(park(lot, 3, aNode("33333333-c")))).toBe("alpha@203.0.113.9:51348")
    expect(addressOf(park(lot, 4, aNode("44444444-d"), "203.0.113.10"))).toBe("alpha@203.0.113.10:51348")
  })

  it.each([["host\u001b[2J\n", "host-2J-"], ["a@b:c", "a-b-c"], ["\u001b", "node"], ["", "node"]])(
    "have no name such as %j in their address",
    (name, label) => {
      const parked = park(ParkingLot.make<number>(limits), 1, aNode("a", name))
      expect(addressOf(parked)).toBe(`${label}@203.0.113.9:51348`)
    }
  )

  it("are limited for each node, whose oldest one goes, for each source, and in all", () => {
    const lot = ParkingLot.make<number>(limits)
    park(lot, 1, aNode("a"))
    park(lot, 2, aNode("a"))
    expect(park(lot, 3, aNode("a"))).toMatchObject({ _tag: "Parked", evicted: 1 })
    park(lot, 4, aNode("b", "b"))
    park(lot, 5, aNode("c", "c"))
    expect(addressOf(park(lot, 6, aNode("d", "d")))).toBe("more than 4 parked connections from one address")
    park(lot, 7, aNode("d", "d"), "192.0.2.1")
    park(lot, 8, aNode("e", "e"), "192.0.2.2")
    expect(addressOf(park(lot, 9, aNode("f", "f"), "192.0.2.3"))).toBe("more than 6 parked connections")
  })

  it("of strangers give way to the next, the oldest first", () => {
    const lot = ParkingLot.make<number>(limits)
    expect([1, 2, 3, 4].map((connection) => ParkingLot.enter(lot, connection))).toEqual([undefined, undefined, 1, 2])
    ParkingLot.leave(lot, 3)
    expect(ParkingLot.enter(lot, 5)).toBeUndefined()
  })

  it("are never more than the limits, and none is lost, whatever happens", () => {
    const event = fc.oneof(
      fc.record({ what: fc.constant("park" as const), source: fc.nat(3), node: fc.nat(4) }),
      fc.record({ what: fc.constant("enter" as const) }),
      fc.record({ what: fc.constant("leave" as const), which: fc.nat(60) }),
      fc.record({ what: fc.constant("take" as const), source: fc.nat(3), node: fc.nat(4) })
    )
    fc.assert(fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const lot = ParkingLot.make<number>(limits)
      /** Connections that are open, as far as whoever closes what it is told to knows. */
      const open = new Set<number>()
      events.forEach((one, i) => {
        const close = (connection: number | undefined): void =>
          void (connection !== undefined && open.delete(connection))
        if (one.what === "enter" || one.what === "park") {
          open.add(i)
          close(ParkingLot.enter(lot, i))
        }
        if (one.what === "park") {
          const parked = ParkingLot.park(lot, i, `192.0.2.${one.source}`, aNode(`${one.node}`, `n${one.node}`))
          close(parked._tag === "Full" ? i : parked.evicted)
        } else if (one.what === "leave") {
          ParkingLot.leave(lot, one.which)
          open.delete(one.which)
        } else if (one.what === "take") {
          const address = { ...at(`n${one.node}`), host: `192.0.2.${one.source}` }
          close(ParkingLot.take(lot, address)?.connection)
        }
        const parked = [...lot.spots.values()].flatMap((spot) => spot.parked)
        expect(new Set([...lot.strangers, ...parked])).toEqual(open)
        expect(lot.strangers.size + parked.length).toBe(open.size)
        expect(new Set(parked)).toEqual(new Set(lot.spotOf.keys()))
        expect(lot.strangers.size).toBeLessThanOrEqual(limits.strangers)
        expect(parked.length).toBeLessThanOrEqual(limits.parked)
        for (const spot of lot.spots.values()) expect(spot.parked.length).toBeLessThanOrEqual(limits.perNode)
      })
    }))
  })
})
