/** Clients that are killed while something large is on its way: the node keeps nothing of it, and serves the next. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it, onTestFinished } from "vitest"
import { moves, sizeBytes } from "../support/LargeMoves.ts"
import * as Nodes from "../support/Nodes.ts"
import * as StallingProxy from "../support/StallingProxy.ts"

const { daemon, directory } = Nodes.forTests()

const program = fileURLToPath(new URL("../fixtures/integration/mover.ts", import.meta.url))

const isOfComputation = (file: string): boolean =>
  file.startsWith(directory()) && /\/(work|values|incoming)\//.test(file)

/** Files of computations that are there. */
const filesLeft = (): ReadonlyArray<string> =>
  fs.readdirSync(directory(), { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name)).filter(isOfComputation)

/** Files of computations that a process has open. */
const openFiles = (pid: number): ReadonlyArray<string> =>
  fs.readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return fs.readlinkSync(`/proc/${pid}/fd/${fd}`)
    } catch {
      // It was closed while we looked.
      return []
    }
  }).filter(isOfComputation)

/** Of what is moved, so much passes before it comes to a standstill. */
const passingBytes = sizeBytes / 8

/** Starts a client that moves something, and kills it when that is under way. */
const killMover = async (port: number, what: string, place: string, check: () => void): Promise<void> => {
  const proxy = await StallingProxy.start(port, passingBytes)
  const client = spawn(process.execPath, [program, proxy.address, what, place], { stdio: "inherit" })
  const ended = new Promise<NodeJS.Signals | null>((resolve) => client.once("exit", (_, signal) => resolve(signal)))
  onTestFinished(() => {
    client.kill("SIGKILL")
    proxy.close()
  })
  expect(await Promise.race([proxy.stalled, ended])).toBeUndefined()
  check()
  client.kill("SIGKILL")
  expect(await ended).toBe("SIGKILL")
}

describe.each(Object.entries(moves))("a client that is killed with %s on the way", (what, move) => {
  it("leaves nothing of it, neither files nor a transfer that goes on, and the next one has it moved", async () => {
    const node = await daemon("--cpus", "1", "--msg-timeout", "1")
    const place = join(directory(), "client")
    fs.mkdirSync(place)
    await killMover(node.port, what, place, () => expect(openFiles(node.pid)).toHaveLength(1))
    expect(await move(node.address, place)).toBe(sizeBytes)
    expect([filesLeft(), openFiles(node.pid)]).toEqual([[], []])
    // Nor does what the killed client had of it stay with the next.
    expect(fs.readdirSync(place).filter((name) => name !== "large")).toEqual([])
  })
})
