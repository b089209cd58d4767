/** Durable programs that are killed: what they did not get to send runs when they are recovered, and nothing runs twice. */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { describe, expect, it, onTestFinished, vi } from "vitest"
import { type RecoveredJob, recoverJobs } from "../../src/promise.ts"
import * as Nodes from "../support/Nodes.ts"

const { daemon, directory } = Nodes.forTests()

const program = fileURLToPath(new URL("../fixtures/integration/durable.ts", import.meta.url))

const place = (name: string) => join(directory(), name)

const lines = (name: string): ReadonlyArray<string> =>
  fs.existsSync(place(name)) ? fs.readFileSync(place(name), "utf8").split("\n").slice(0, -1) : []

/** Numbers of jobs that have run, once for each time. */
const runs = () => lines("runs").map(Number).toSorted((a, b) => a - b)

/** Numbers of jobs whose outcome the program had. */
const outcomes = () => lines("outcomes").map((line) => Number(line.split(" ")[0]))

interface Mortal {
  readonly child: ChildProcess
  readonly kill: () => Promise<void>
}

const startMortal = async (
  nodes: ReadonlyArray<string>,
  { count, millis }: { readonly count: number; readonly millis: number }
): Promise<Mortal> => {
  const args = [nodes.join(","), place("recover"), place("outcomes"), place("runs"), String(count), String(millis)]
  const child = spawn(process.execPath, [program, ...args], {
    cwd: directory(),
    stdio: ["ignore", "pipe", "inherit"]
  })
  onTestFinished(() => void child.kill("SIGKILL"))
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  await new Promise<void>((resolve, reject) => {
    createInterface(child.stdout).once("line", () => resolve())
    child.once("exit", (code) => reject(new Error(`it ended with ${code}`)))
  })
  return {
    child,
    kill: async () => {
      child.kill("SIGKILL")
      await ended
    }
  }
}

const hasty = ["--msg-timeout", "1", "--cpus", "2"] as const
const idle = { logLevel: "none" } as const

const until = (isDone: () => boolean): Promise<void> =>
  vi.waitFor(() => expect(isDone()).toBe(true), { timeout: 20_000, interval: 5 })

const numbersTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

const expectRight = (job: RecoveredJob): void => {
  expect(job).toMatchObject({ status: "Finished", result: job.number ** 2, id: ["job", job.number] })
}

describe("a durable program that is killed", () => {
  it("has every job run once, those that it never sent too, and each outcome given once", async () => {
    const node = await daemon(...hasty)
    const mortal = await startMortal([node.address], { count: 60, millis: 20 })
    await until(() => outcomes().length >= 10)
    await mortal.kill()
    const known = new Set(outcomes())
    expect(known.size).toBeLessThan(60)
    const jobs = await recoverJobs(place("recover"), idle)
    for (const job of jobs) expectRight(job)
    expect(jobs.isComplete).toBe(true)
    expect(runs()).toEqual(numbersTo(60))
    const numbers = jobs.map(({ number }) => number)
    expect(new Set(numbers).size).toBe(numbers.length)
    expect([...known.union(new Set(numbers))].toSorted((a, b) => a - b)).toEqual(numbersTo(60))
    expect(fs.readdirSync(directory()).filter((name) => name.startsWith("recover"))).toEqual([])
  })
})
