/** Programs that are ended by a signal: their jobs end with them, unless the program says otherwise. */
import { spawn } from "node:child_process"
import { readdirSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { untilIdle } from "../support/Leftovers.ts"
import * as Nodes from "../support/Nodes.ts"

const { cluster, daemon } = Nodes.forTests()

const program = fileURLToPath(new URL("../fixtures/integration/ended.ts", import.meta.url))

let directory = ""
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "dispy-ended-test-"))
})
afterEach(() => rm(directory, { recursive: true }))

/** Starts the program and waits until its jobs run. */
const start = async (...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, [program, ...args], { cwd: directory, stdio: ["ignore", "pipe", "pipe"] })
  let [stdout, stderr] = ["", ""]
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
  const ended = new Promise<
    { readonly status: number | null; readonly signal: string | null; readonly stderr: string }
  >(
    (resolve) => child.once("close", (status, signal) => resolve({ status, signal, stderr }))
  )
  await new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
      if (stdout.includes("running")) resolve()
    })
    void ended.then(() => reject(new Error(`it ended before its jobs ran: ${stderr}`)))
  })
  return { child, ended, stdout: () => stdout }
}

describe("a program that is asked to end", () => {
  it.each(["SIGINT", "SIGTERM"] as const)(
    "ends its jobs, gives the node back and leaves no file: %s",
    async (signal) => {
      const node = await daemon()
      const { child, ended } = await start(node.address)
      expect(readdirSync(directory)).toEqual([expect.stringMatching(/^_dispy_\d{14}/)])
      child.kill(signal)
      expect(await ended).toEqual({ status: null, signal, stderr: "" })
      expect(readdirSync(directory)).toEqual([])
      const next = await cluster(() => "next", { nodes: node.address })
      expect(next.status().nodes[0]?.state).toBe("ready")
      expect(await next.run()).toBe("next")
    }
  )

  it("ends with the node that it started", async () => {
    const { child, ended } = await start("local")
    child.kill("SIGINT")
    expect(await ended).toEqual({ status: null, signal: "SIGINT", stderr: "" })
    await untilIdle()
  })

  it("does what it has a handler of its own for, and nothing else", async () => {
    const node = await daemon("--drain-grace", "100ms")
    const { child, ended, stdout } = await start(node.address, "handles")
    child.kill("SIGINT")
    expect(await ended).toEqual({ status: 7, signal: null, stderr: "" })
    expect(stdout()).toBe("running\nhandled\n")
    expect(readdirSync(directory)).toHaveLength(1)
  })
})
