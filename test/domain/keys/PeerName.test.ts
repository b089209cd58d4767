/** Names in certificates. */
import { describe, expect, it } from "@effect/vitest"
import { Result } from "effect"
import * as PeerName from "../../../src/domain/keys/PeerName.ts"

const parsed = (role: PeerName.PeerRole, text: string) => Result.getOrThrow(PeerName.parse(role, text))

const refused = (role: PeerName.PeerRole, text: string): string => {
  const result = PeerName.parse(role, text)
  return Result.isFailure(result) ? result.failure.message : ""
}

describe("--node", () => {
  it("takes a host name with more names and addresses of both families", () => {
    expect(parsed("node", "Alpha.example, alpha,10.0.0.7,FD00:0::7")).toEqual({
      role: "node",
      name: "alpha.example",
      hostNames: ["alpha.example", "alpha"],
      ipAddresses: ["10.0.0.7", "fd00::7"]
    })
  })

  it("takes an address alone, and names its file without colons", () => {
    const peer = parsed("node", "fd00::7")
    expect(peer).toMatchObject({ name: "fd00::7", hostNames: [], ipAddresses: ["fd00::7"] })
    expect(PeerName.fileName(peer)).toBe("node-fd00--7.pem")
  })

  it("says what is wrong with a name, in one sentence with the flag", () => {
    for (
      const [text, reason] of [
        ["", "empty name"],
        ["alpha,", "empty name"],
        ["../alpha", "neither a host name nor an IP address"],
        ["al pha", "neither a host name nor an IP address"],
        ["10.0.0.256", "neither a host name nor an IP address"],
        ["-alpha", "neither a host name nor an IP address"],
        ["alpha/CN=beta", "neither a host name nor an IP address"],
        ["fe80::1%eth0", "without the interface"],
        [`${"a".repeat(60)}.example`, "more than 64 characters"],
        ["a".repeat(64), "neither a host name"]
      ] as const
    ) {
      expect(refused("node", text)).toContain(reason)
      expect(refused("node", text)).toMatch(/^--node /)
    }
  })
})

describe("--client", () => {
  it("takes what users and hosts are called", () => {
    const peer = parsed("client", "ada@laptop")
    expect(peer).toEqual({ role: "client", name: "ada@laptop", hostNames: [], ipAddresses: [] })
    expect(PeerName.fileName(peer)).toBe("client-ada@laptop.pem")
  })

  it("refuses what would be another file or another name", () => {
    for (const text of ["", "../ada", "a/b", "ada,CN=root", "..", "a".repeat(65)]) {
      expect(refused("client", text)).toMatch(/^--client /)
    }
  })
})
