import { describe, expect, it } from "vitest"
import type { InterfaceAddress } from "../../src/domain/discovery/Routes.ts"
import * as LocalAddress from "../../src/domain/LocalAddress.ts"

const anAddress = (name: string, address: string, netmask: string): InterfaceAddress => ({
  name,
  address,
  netmask,
  family: address.includes(":") ? 6 : 4,
  isLoopback: name === "lo"
})

const interfaces = [
  anAddress("lo", "127.0.0.1", "255.0.0.0"),
  anAddress("lo", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
  anAddress("eth0", "10.1.0.5", "255.255.0.0"),
  anAddress("eth1", "192.168.3.5", "255.255.255.0"),
  anAddress("eth1", "fd00:3::5", "ffff:ffff:ffff:ffff::"),
  anAddress("eth1", "fe80::5", "ffff:ffff:ffff:ffff::")
]

const all = ["10.1.0.5", "192.168.3.5", "fd00:3::5", "fd00:4::5"]

describe("the local addresses of a connection", () => {
  it.each<[string, ReadonlyArray<string>, string, ReadonlyArray<string>]>([
    ["are left to the system when none is given", [], "10.1.0.9", []],
    ["begin with that of the node's network", all, "192.168.3.9", ["192.168.3.5", "10.1.0.5"]],
    ["are tried in their order where no network is the node's", all, "203.0.113.1", ["10.1.0.5", "192.168.3.5"]],
    ["are of the same kind of IP", all, "fd00:3::9", ["fd00:3::5", "fd00:4::5"]],
    ["are left to the system where none is of that kind", ["10.1.0.5"], "fd00:3::9", []],
    ["are those of loopback for loopback only", ["127.0.0.1", ...all], "127.0.0.2", ["127.0.0.1"]],
    ["are never all of them", ["0.0.0.0", "::"], "10.1.0.9", []],
    ["may have a zone", ["fe80::5%eth1"], "fe80::9%eth1", ["fe80::5%eth1"]]
  ])("%s", (_, allowed, host, expected) => {
    expect(LocalAddress.candidates(allowed, host, interfaces)).toEqual(expected)
  })

  it("are this machine's", () => {
    const own = ["10.1.0.5", "FD00:3:0::5", "fe80::5%eth1", "127.0.5.5", "::1", "0.0.0.0", "::"]
    expect(own.filter((address) => !LocalAddress.isOwn(address, interfaces))).toEqual([])
    const others = ["10.1.0.6", "fd00:3::6", "192.0.2.1"]
    expect(others.filter((address) => LocalAddress.isOwn(address, interfaces))).toEqual([])
  })
})
