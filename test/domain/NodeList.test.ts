import { Result } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as IpAddress from "../../src/domain/IpAddress.ts"
import * as NodeList from "../../src/domain/NodeList.ts"

const availInfo = { cpu: 100, memory: 2 ** 30, disk: 2 ** 40, swap: 100 }

const aNode = (offer: Partial<NodeList.NodeOffer> = {}): NodeList.NodeOffer => ({
  cluster: "test",
  address: "10.0.0.7:51348",
  ipAddr: "10.0.0.7",
  name: "render-7",
  cpus: 4,
  availInfo,
  platform: "linux-x64",
  ...offer
})

const target = (text: string) => Result.getOrThrow(NodeList.parseTarget(text, 51348))

const rule = (text: string, cpus: number): NodeList.NodeRule => ({
  target: target(text),
  allocate: () => ({ cpus, reason: cpus > 0 ? "" : `${text} says no` })
})

describe("IP addresses", () => {
  it.each([
    ["FE80:0:0:0:0:0:0:1", "fe80::1"],
    ["::ffff:10.0.0.7", "10.0.0.7"],
    ["0:0:1:0:0:0:0:1", "0:0:1::1"],
    ["::", "::"],
    ["fe80::1%ETH0", "fe80::1%eth0"],
    ["Render-7.Example", "render-7.example"],
    ["1::2::3", "1::2::3"]
  ])("has one form for %s", (text, expected) => {
    expect(IpAddress.canonical(text)).toBe(expected)
  })

  it("keeps its own forms as they are, and each differs from every other address", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV6(), fc.ipV4()), fc.oneof(fc.ipV6(), fc.ipV4()), (a, b) => {
        const [usual, long = usual] = IpAddress.forms(a)
        expect(IpAddress.canonical(usual!)).toBe(usual)
        expect(IpAddress.canonical(long!)).toBe(usual)
        if (IpAddress.canonical(b) === usual) expect(IpAddress.forms(b).at(-1)).toBe(long)
      })
    )
  })
})

describe("patterns", () => {
  it.each([
    ["*", "10.0.0.7", true],
    ["10.0.0.*", "10.0.0.7", true],
    ["10.0.0.1*", "10.0.0.10", true],
    ["10.0.*.7", "10.0.0.7", true],
    ["10.0.0.1", "10.0.0.10", false],
    ["0.0.*", "10.0.0.7", false],
    ["10.0.0.*7", "10.0.0.71", false],
    ["aa*a", "aa", false]
  ])("match whole texts: %s and %s", (pattern, text, expected) => {
    expect(NodeList.isLike(text, pattern)).toBe(expected)
  })

  it("say what a regular expression says of the same parts", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 6 })
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), word, (parts, text) => {
        const expression = new RegExp(`^${parts.map((part) => part.replaceAll(".", "\\.")).join(".*")}$`)
        expect(NodeList.isLike(text, parts.join("*"))).toBe(expression.test(text))
      })
    )
  })

  it.each([
    ["192.168.3.*", { ipAddr: "192.168.3.9", address: "render:51348" }, true],
    ["render-*", {}, true],
    ["RENDER-*", {}, true],
    ["*.example.org", { address: "a.example.org:51348" }, true],
    ["fe80::*", { address: "[fe80::1:2]:51348", ipAddr: "fe80::1:2" }, true],
    ["fe80:0:0:*", { address: "[fe80::1:2]:51348", ipAddr: "fe80::1:2" }, true],
    ["fe80::*", { address: "[fe81::1]:51348", ipAddr: "fe81::1" }, false],
    ["*:51400", {}, false],
    ["*:51400", { address: "10.0.0.7:51400" }, true],
    ["[fe80::*]:51400", { address: "[fe80::1]:51400", ipAddr: "fe80::1" }, true],
    ["*", { address: "local", ipAddr: "127.0.0.1" }, true],
    ["127.*", { address: "local", ipAddr: "127.0.0.1" }, false],
    ["10.0.0.7", {}, true],
    ["10.0.0.7", { address: "render:51348" }, true],
    ["10.0.0.7", { address: "10.0.0.7:51400" }, false],
    ["local", { address: "local" }, true],
    ["local", {}, false]
  ])("%s and a node: %j", (text, node, expected) => {
    expect(NodeList.matches(target(text), aNode(node))).toBe(expected)
  })

  it.each([["a/*", "not a pattern"], ["*:0", "ports"], ["*:99999", "ports"]])("refuses %s", (text, reason) => {
    const parsed = NodeList.parseTarget(text, 1)
    expect(Result.isFailure(parsed) && parsed.failure.message).toContain(reason)
  })
})

describe("allocation", () => {
  it("asks the most specific entry first, and takes the first that gives something", () => {
    const rules = [rule("*", 1), rule("10.0.*", 2), rule("10.0.0.*", 0), rule("10.0.0.7", 0)]
    expect(NodeList.allocate(rules, aNode())).toEqual({ cpus: 2, reason: "" })
    expect(NodeList.allocate(rules.slice(2), aNode())).toEqual({ cpus: 0, reason: "10.0.0.7 says no" })
    expect(NodeList.allocate([rule("11.*", 1)], aNode())).toBeUndefined()
  })

  it("counts a node that has one of the addresses of a listed name as that name", () => {
    const rules = [rule("*", 1), rule("workers.example", 2), rule("workers.example:7", 3)]
    expect(NodeList.allocate(rules, { ...aNode(), listedAs: "Workers.Example" })?.cpus).toBe(2)
    expect(NodeList.allocate(rules, aNode())?.cpus).toBe(1)
  })

  it("gives no more cpus than there are", () => {
    expect(NodeList.allocate([rule("*", 100)], aNode())?.cpus).toBe(4)
  })

  it.each([[0, 4], [1, 1], [9, 4], [-1, 3], [-4, 4], [-9, 4]])(
    "takes %i cpus of a list for %i of 4",
    (wanted, used) => {
      expect(NodeList.cpusOf(wanted, 4)).toBe(used)
    }
  )

  it("changes cpus as dispy's set_node_cpus does, on two cpus", () => {
    let before = 2
    const used = [1, -1, 0, 5, -5, 2].map((wanted) => (before = NodeList.changedCpus(wanted, 2, before)))
    expect(used).toEqual([1, 1, 0, 2, 2, 2])
  })
})

describe("names of nodes", () => {
  const nodes = [
    aNode(),
    aNode({ address: "render-8:51348", ipAddr: "fe80::8", name: "Render-8" }),
    aNode({ address: "10.0.0.9:51400", ipAddr: "10.0.0.9", name: "nine" }),
    aNode({ address: "10.0.0.9:51401", ipAddr: "10.0.0.9", name: "ten" }),
    aNode({ address: "eleven@203.0.113.9:51348", ipAddr: "203.0.113.9", name: "eleven" }),
    aNode({ address: "twelve@[fd00::9]:51348", ipAddr: "fd00::9", name: "twelve" }),
    aNode({ address: "local", ipAddr: "127.0.0.1", name: "desk" })
  ]
  const addressOf = (word: string) => {
    const found = NodeList.find(word, nodes)
    return found._tag === "Found" ? found.node.address : found
  }

  it.each([
    ["10.0.0.7:51348", "10.0.0.7:51348"],
    ["10.0.0.7", "10.0.0.7:51348"],
    ["::ffff:10.0.0.7", "10.0.0.7:51348"],
    ["RENDER-7", "10.0.0.7:51348"],
    ["render-8", "render-8:51348"],
    ["FE80:0::8", "render-8:51348"],
    ["10.0.0.9:51401", "10.0.0.9:51401"],
    ["ten", "10.0.0.9:51401"],
    ["eleven", "eleven@203.0.113.9:51348"],
    ["eleven@203.0.113.9:51348", "eleven@203.0.113.9:51348"],
    ["203.0.113.9:51348", "eleven@203.0.113.9:51348"],
    ["fd00::9", "twelve@[fd00::9]:51348"],
    ["local", "local"],
    ["desk", "local"]
  ])("%s is %s", (word, address) => {
    expect(addressOf(word)).toBe(address)
  })

  it("says when a name means nothing, or several nodes", () => {
    expect(addressOf("10.0.0.70")).toEqual({ _tag: "NotFound" })
    expect(addressOf("10.0.0.7:1")).toEqual({ _tag: "NotFound" })
    expect(addressOf("10.0.0.9")).toEqual({ _tag: "Ambiguous", addresses: ["10.0.0.9:51400", "10.0.0.9:51401"] })
  })
})
