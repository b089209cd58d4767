import { Result } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as NodeAddress from "../../src/domain/NodeAddress.ts"

describe("entries of a node list", () => {
  it.each([
    ["local", { _tag: "Local" }],
    ["10.0.0.7", { _tag: "Tcp", host: "10.0.0.7", port: 51348 }],
    [" render-3.example.org:51400 ", { _tag: "Tcp", host: "render-3.example.org", port: 51400 }],
    ["fe80::1", { _tag: "Tcp", host: "fe80::1", port: 51348 }],
    ["[fe80::1]", { _tag: "Tcp", host: "fe80::1", port: 51348 }],
    ["[fe80::1]:9", { _tag: "Tcp", host: "fe80::1", port: 9 }]
  ])("reads %s", (text, expected) => {
    expect(NodeAddress.parse(text, NodeAddress.defaultNodePort)).toEqual(Result.succeed(expected))
  })

  it.each([
    ["", "empty"],
    ["10.0.0.*", "wildcard"],
    ["host:", "ports are 1 to 65535"],
    ["host:0", "ports are 1 to 65535"],
    ["host:65536", "ports are 1 to 65535"],
    ["host:12ab", "ports are 1 to 65535"],
    ["http://host", "port"],
    ["a b", "not a host"]
  ])("refuses %j and says why", (text, reason) => {
    const parsed = NodeAddress.parse(text, 1)
    expect(Result.isFailure(parsed) && parsed.failure.message).toContain(reason)
  })

  it("reads what it writes", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()),
        fc.integer({ min: 1, max: 65535 }),
        (host, port) => {
          const address = { _tag: "Tcp", host, port } as const
          expect(NodeAddress.parse(NodeAddress.format(address), 1)).toEqual(Result.succeed(address))
        }
      )
    )
  })
})
