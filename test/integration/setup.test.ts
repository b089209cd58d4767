/** Setup and cleanup as users write them: once per node, with arguments per node, and what happens when a node's fails. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { Computation } from "../../src/promise.ts"
import { eventually } from "../support/Eventually.ts"
import * as Nodes from "../support/Nodes.ts"

const { cluster, daemon, directory } = Nodes.forTests()

const where = () => [dispy.nodeName, dispy.shared] as const

const logTo = (file: string, word: string) => {
  process.getBuiltinModule("node:fs").appendFileSync(file, `${word} ${dispy.nodeName}\n`)
  return { word }
}

describe("setup", () => {
  it("runs once per node and cluster with the node's own arguments, and cleanup at the end", async () => {
    const [a, b] = await Promise.all([daemon("--name", "alpha", "--cpus", "2"), daemon("--name", "beta")])
    const log = join(directory(), "log")
    const made = await cluster(where, {
      setup: logTo,
      cleanup: logTo,
      setupArgs: [log, "usual"],
      nodes: [a.address, { host: b.address, setupArgs: [log, "own"] }]
    })
    const results = await Promise.all(Array.from({ length: 40 }, () => made.run()))
    expect(new Map(results)).toEqual(new Map([["alpha", { word: "usual" }], ["beta", { word: "own" }]]))
    const lines = async () => (await readFile(log, "utf8")).trim().split("\n").toSorted()
    expect(await lines()).toEqual(["own beta", "usual alpha"])
    await made.close()
    expect(await lines()).toEqual(["own beta", "own beta", "usual alpha", "usual alpha"])
  })

  it("that fails on one node leaves that one out, says why, and the others go on", async () => {
    const [a, b] = await Promise.all([daemon("--name", "alpha"), daemon("--name", "beta")])
    const made = await cluster(where, {
      setup: () => {
        if (dispy.nodeName === "beta") throw new Error("no disk here")
      },
      nodes: [a.address, b.address],
      logLevel: "none"
    })
    await eventually(() => expect(made.status().nodes.map((node) => node.state)).toEqual(["ready", "refused"]))
    expect(made.status().nodes[1]!.reason).toContain("Error: no disk here")
    for (let i = 0; i < 10; i++) expect((await made.run())[0]).toBe("alpha")
  })

  it("that fails on every node fails the cluster, naming what it printed", async () => {
    await expect(cluster(where, {
      setup: () => {
        console.log("looking for the table")
        return 2
      }
    })).rejects.toMatchObject({
      _tag: "ComputationRefused",
      reason: expect.stringMatching(/it returned 2.*stdout: looking for the table/s) as string
    })
  })

  it("may have captures, and is checked before anything is sent", async () => {
    const factor = 3
    const made = await cluster(() => dispy.shared, {
      setup: Computation.fromFunction(() => ({ factor }), { captures: { factor } })
    })
    expect(await made.run()).toEqual({ factor: 3 })
    await expect(cluster(where, { setup: () => factor })).rejects.toMatchObject({ _tag: "FreeVariables" })
    await expect(cluster(where, { setup: "sh" as never })).rejects.toMatchObject({
      _tag: "InvalidOption",
      option: "setup"
    })
    await expect(cluster(where, { setupArgs: [() => 1] })).rejects.toMatchObject({
      _tag: "NotCloneable",
      message: expect.stringContaining("setupArgs") as string
    })
  })
})
