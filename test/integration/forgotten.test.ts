/** Programs that forget to close their clusters: they end when their jobs are done, and leave nothing. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { untilIdle } from "../support/Leftovers.ts"
import * as Nodes from "../support/Nodes.ts"

const { cluster, daemon } = Nodes.forTests()

const program = fileURLToPath(new URL("../fixtures/integration/forgotten.ts", import.meta.url))

const run = (node: string) =>
  new Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [program, node], { stdio: ["ignore", "pipe", "pipe"], timeout: 20_000 })
    let [stdout, stderr] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    child.once("close", (status) => resolve({ status, stdout, stderr }))
  })

describe("a program that forgets to close its cluster", () => {
  it("ends when its jobs and callbacks are done, with the node that it started", async () => {
    expect(await run("local")).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^the end\n300 Finished\n400 Finished\n$/) as string,
      stderr: ""
    })
    await untilIdle()
  })

  it("gives back the nodes of others", async () => {
    const node = await daemon("--name", "n")
    expect(await run(node.address)).toMatchObject({ status: 0, stderr: "" })
    const next = await cluster(() => "free", { nodes: node.address })
    expect(await next.run()).toBe("free")
  })
})
