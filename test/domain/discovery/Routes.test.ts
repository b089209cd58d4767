import * as fc from "fast-check"
import { BlockList } from "node:net"
import { describe, expect, it } from "vitest"
import * as Routes from "../../../src/domain/discovery/Routes.ts"

const lo4 = { name: "lo", address: "127.0.0.1", netmask: "255.0.0.0", family: 4, isLoopback: true } as const
const lo6 = { name: "lo", address: "::1", netmask: "ffff::", family: 6, isLoopback: true } as const
const lan4 = { name: "eth0", address: "10.0.0.7", netmask: "255.255.255.0", family: 4, isLoopback: false } as const
const other4 = { ...lan4, name: "eth1", address: "192.168.3.4" } as const
const link6 = { name: "eth0", address: "fe80::7", netmask: "ffff::", family: 6, isLoopback: false } as const
const lan6 = { ...link6, address: "fd00::7" } as const
const all = [lo4, lo6, lan4, other4, link6, lan6]

const everybody = (hosts: ReadonlyArray<string>, isMulticast = false) =>
  Routes.toEverybody(hosts, [51348], all, { isMulticast }).map(({ from, host }) => `${from} > ${host}`)

const opened = (hosts: ReadonlyArray<string>, isMulticast = false) =>
  Routes.doors(hosts, 51348, all, { isMulticast, isShared: false }).map(({ address, groups }) =>
    [address, ...groups.map(({ on }) => on)].join(" ")
  )

describe("broadcast addresses", () => {
  it("are the last of their network, whatever its size", () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 1, max: 30 }), (address, bits) => {
        const mask = (2 ** 32 - 2 ** (32 - bits)) >>> 0
        const netmask = [24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join(".")
        const broadcast = Routes.broadcastOf(address, netmask)!
        const network = new BlockList()
        network.addSubnet(address, bits)
        expect(network.check(broadcast)).toBe(true)
        const value = broadcast.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0)
        const next = [24, 16, 8, 0].map((shift) => Math.floor((value + 1) / 2 ** shift) & 255).join(".")
        expect(network.check(next)).toBe(false)
      })
    )
  })

  it.each([["10.0.0.1", "255.255.255.255"], ["10.0.0.1", "255.255.255.254"], ["fe80::1", "ffff::"], ["a", "b"]])(
    "are none for %s %s",
    (address, netmask) => expect(Routes.broadcastOf(address, netmask)).toBeUndefined()
  )
})

describe("what is for everybody", () => {
  it("goes out on every interface, from each of its addresses, and to this machine", () => {
    expect(everybody(["0.0.0.0", "::"])).toEqual([
      "127.0.0.1 > 127.0.0.1",
      "127.0.0.1 > 127.255.255.255",
      "::1 > ::1",
      "10.0.0.7 > 10.0.0.255",
      "192.168.3.4 > 192.168.3.255",
      "fd00::7 > ff02::b409:3171:9705:5134:6159%eth0",
      "fe80::7%eth0 > ff02::b409:3171:9705:5134:6159%eth0"
    ])
  })

  it("goes by multicast instead of broadcast where that is wanted, and only from the addresses that are named", () => {
    expect(everybody(["10.0.0.7"], true)).toEqual(["10.0.0.7 > 239.255.61.59"])
    expect(everybody(["fe80::7%eth0"])).toEqual(["fe80::7%eth0 > ff02::b409:3171:9705:5134:6159%eth0"])
    expect(everybody(["127.0.0.1"])).toEqual(["127.0.0.1 > 127.0.0.1", "127.0.0.1 > 127.255.255.255"])
    expect(everybody(["10.9.9.9"])).toEqual([])
  })

  it("goes to a single host from an address of its family", () => {
    const hosts = ["127.0.0.1", "10.0.0.7", "::"]
    expect(Routes.toOne(hosts, "10.0.0.9", 1)?.from).toBe("10.0.0.7")
    expect(Routes.toOne(hosts, "127.0.0.9", 1)?.from).toBe("127.0.0.1")
    expect(Routes.toOne(hosts, "fd00::9", 1)?.from).toBe("::")
    expect(Routes.toOne(["10.0.0.7"], "fd00::9", 1)).toBeUndefined()
  })
})

describe("sockets", () => {
  it("are on loopback only for a node that listens there only", () => {
    expect(opened(["127.0.0.1", "::1"], true)).toEqual(["127.0.0.1", "127.255.255.255", "::1"])
  })

  it("hear the networks of the addresses that a node listens on, and no others", () => {
    expect(opened(["10.0.0.7"])).toEqual(["10.0.0.7", "10.0.0.255"])
    expect(opened(["10.0.0.7"], true)).toEqual(["10.0.0.7", "10.0.0.255", "239.255.61.59 10.0.0.7"])
    expect(opened(["fd00::7"])).toEqual([
      "fd00::7",
      "ff02::b409:3171:9705:5134:6159%eth0 ::%eth0"
    ])
    expect(opened(["0.0.0.0", "::"], true)).toEqual(["0.0.0.0 10.0.0.7 192.168.3.4", ":: ::%eth0"])
    expect(opened(["localhost"])).toEqual([])
  })
})
