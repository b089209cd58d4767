/** What users write into a node list, and what comes of it when a node is there. */
import { Result } from "effect"
import { describe, expect, it } from "vitest"
import type { NodeOffer } from "../../../src/domain/NodeList.ts"
import * as NodeAllocate from "../../../src/programs/client/NodeAllocate.ts"
import * as ClassTable from "../../../src/slot/ClassTable.ts"
import * as Values from "../../../src/slot/Values.ts"

const node: NodeOffer = {
  cluster: "test",
  address: "10.0.0.7:51348",
  ipAddr: "10.0.0.7",
  name: "render-7",
  cpus: 4,
  availInfo: { cpu: 100, memory: 2 ** 30, disk: 2 ** 40, swap: 100 },
  platform: "linux-x64"
}

const ruleOf = (entry: NodeAllocate.NodeListEntry) => Result.getOrThrow(NodeAllocate.rulesOf([entry], 51348))[0]!

const given = (entry: NodeAllocate.NodeListEntry) => ruleOf(entry).allocate(node)

describe("an entry of a node list", () => {
  it.each<readonly [NodeAllocate.NodeListEntry, unknown]>([
    ["10.0.0.7", { _tag: "Tcp", host: "10.0.0.7", port: 51348 }],
    [["10.0.0.7", 9], { _tag: "Tcp", host: "10.0.0.7", port: 9 }],
    [{ host: "10.0.0.7", port: 9 }, { _tag: "Tcp", host: "10.0.0.7", port: 9 }],
    [{ cpus: 1 }, { _tag: "Pattern", text: "*", port: undefined }],
    [["10.*", 9], { _tag: "Pattern", text: "10.*", port: 9 }],
    [new NodeAllocate.NodeAllocate("local"), { _tag: "Local" }]
  ])("is for the nodes that it names: %j", (entry, target) => {
    expect(ruleOf(entry).target).toEqual(target)
  })

  it.each<readonly [NodeAllocate.NodeListEntry, number]>([
    ["*", 4],
    [["*", undefined, 2], 2],
    [["*", undefined, -1], 3],
    [{ cpus: 9 }, 4],
    [{ allocate: ({ cpus }) => cpus / 2 }, 2],
    [{ allocate: () => ({ cpus: 1 }) }, 1],
    [new NodeAllocate.NodeAllocate("*", { cpus: -3 }), 1]
  ])("gives some cpus of a node with 4: %j", (entry, cpus) => {
    expect(given(entry)).toEqual({ cpus, reason: "" })
  })

  it.each<readonly [() => unknown, string]>([
    [() => Number.NaN, "allocate returned null, not a number of cpus"],
    [() => undefined, "allocate returned undefined"],
    [() => ({ slots: 1 }), "allocate returned {\"slots\":1}"],
    [() => {
      throw new TypeError("no")
    }, "allocate threw TypeError: no"],
    [() => ({ cpus: 1, setupArgs: [() => 1] }), "allocate threw"]
  ])("that makes no sense of a node does not use it, and says why (%#)", (allocate, reason) => {
    const allocation = given({ allocate: allocate as () => number })
    expect(allocation).toMatchObject({ cpus: 0, isMistake: true })
    expect(allocation.reason).toContain(reason)
  })

  it("sends instances of the computation's classes in a node's own setupArgs", () => {
    class Part {
      readonly number = 7
    }
    const classes = ClassTable.make([{ class: Part, hasPrivates: false }])
    const { setupArgs } = ruleOf({ host: "*", setupArgs: [new Part()] }).knowing(classes).allocate(node)
    expect(Values.decodeArgs(setupArgs!, classes)[0]).toBeInstanceOf(Part)
  })

  it("refuses a port in the place of the options, as dispy has it, instead of overlooking it", () => {
    expect(() => new NodeAllocate.NodeAllocate("alpha", 51400 as never)).toThrow(
      /the second argument of NodeAllocate\("alpha", 51400\) is not an object; write \{ port, cpus/
    )
  })

  it("gives each node its own setupArgs and depends, returned or set by allocate", () => {
    class Parts extends NodeAllocate.NodeAllocate {
      override allocate(_cluster: object, ipAddr: string): number {
        this.setupArgs = [ipAddr]
        return 2
      }
    }
    const set = given(new Parts("*"))
    expect(Values.decodeArgs(set.setupArgs!)).toEqual(["10.0.0.7"])
    const returned = given({ allocate: ({ name }) => ({ cpus: 1, setupArgs: [name], depends: ["part.bin"] }) })
    expect([Values.decodeArgs(returned.setupArgs!), returned.depends]).toEqual([["render-7"], ["part.bin"]])
  })
})
