/** Programs that are killed, and those that recover their jobs, over real daemons. */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { describe, expect, it, onTestFinished } from "vitest"
import { type RecoveredJob, recoverJobs } from "../../src/promise.ts"
import * as CliProcess from "../support/CliProcess.ts"
import { eventually } from "../support/Eventually.ts"
import * as Nodes from "../support/Nodes.ts"

const { cluster, daemon, directory } = Nodes.forTests()

const program = fileURLToPath(new URL("../fixtures/integration/mortal.ts", import.meta.url))

const recoverFile = () => join(directory(), "recover")
const outcomesFile = () => join(directory(), "outcomes")

/** Numbers and statuses that the killed program's callback has written. */
const written = (): ReadonlyArray<string> =>
  fs.existsSync(outcomesFile()) ? fs.readFileSync(outcomesFile(), "utf8").trim().split("\n") : []

/** What nodes have written down of programs that are gone. */
const kept = (): Buffer =>
  Buffer.concat(
    fs.globSync("**/kept/*/*/replies", { cwd: directory() }).map((name) => fs.readFileSync(join(directory(), name)))
  )

interface Mortal {
  readonly child: ChildProcess
  readonly kill: () => Promise<void>
}

/** Starts the program, and waits until one of its jobs runs. */
const startMortal = async (
  nodes: ReadonlyArray<{ readonly address: string }>,
  { count, growth, millis }: { readonly count: number; readonly millis: number; readonly growth?: "growing" }
): Promise<Mortal> => {
  const addresses = nodes.map(({ address }) => address).join(",")
  const child = spawn(
    process.execPath,
    [program, addresses, recoverFile(), outcomesFile(), String(count), String(millis), growth ?? ""],
    { cwd: directory(), stdio: ["ignore", "pipe", "inherit"] }
  )
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

const awaitWritten = (count: number): Promise<void> =>
  eventually(() => expect(written().length).toBeGreaterThanOrEqual(count))

/** What every job of the program must become. */
const expectRight = (job: RecoveredJob): void => {
  const { number } = job
  expect(job.computation).toBe("compute")
  expect(job.stdout).toBe(`job ${number}\n`)
  if (number % 10 === 3) {
    expect(job).toMatchObject({ status: "Terminated", exception: { _tag: "JobFailed", errorName: "RangeError" } })
    expect(job.exception).toMatchObject({ userStack: expect.stringContaining("at dispy:compute:") as string })
  } else {
    const result = number % 10 === 7 ? "x".repeat(2 ** 20 + number) : number * number
    expect(job.status).toBe("Finished")
    expect(job.result === result).toBe(true)
  }
}

/** Nodes that give a client up soon. */
const hasty = ["--msg-timeout", "1"] as const

const idle = { logLevel: "none" } as const

describe("a program that is killed", () => {
  it.each([0, 1, 5, 17])(
    "loses no job that its nodes have, when it was killed after %i outcomes",
    async (outcomes) => {
      const nodes = await Promise.all([daemon(...hasty, "--name", "a"), daemon(...hasty, "--name", "b")])
      const mortal = await startMortal(nodes, { count: 20, millis: 150 })
      await awaitWritten(outcomes)
      await mortal.kill()
      const known = new Set(written().map((line) => Number(line.split(" ")[0])))
      const jobs = await recoverJobs(recoverFile(), idle)
      expect(jobs.isComplete).toBe(true)
      for (const job of jobs) expectRight(job)
      const numbers = jobs.map(({ number }) => number)
      expect(new Set(numbers).size).toBe(numbers.length)
      // Of those that its callback has seen, only what it had no time to acknowledge comes again.
      const all = new Set([...known, ...numbers])
      expect(all.size).toBeLessThanOrEqual(20)
      // What no node had is lost with the program.
      expect(all.size).toBeGreaterThanOrEqual(Math.min(20, known.size + 1))
      expect(fs.existsSync(recoverFile())).toBe(false)
      // Both nodes are free again.
      const next = await cluster(() => "free", { nodes: nodes.map(({ address }) => address) })
      await Nodes.settled(next)
      expect(next.status().nodes.map(({ state }) => state)).toEqual(["ready", "ready"])
    }
  )

  it("can be recovered in parts, by its own file only, and its jobs can be ended", async () => {
    const node = await daemon(...hasty, "--name", "a", "--cpus", "1")
    const mortal = await startMortal([node], { count: 2, millis: 15_000 })
    await expect(recoverJobs(recoverFile(), idle)).rejects.toThrow("its program still runs")
    expect(fs.statSync(recoverFile()).mode & 0o777).toBe(0o600)
    await mortal.kill()
    const quick = await CliProcess.run(["recover", recoverFile(), "--timeout", "300ms"])
    expect(quick).toMatchObject({ status: 124, stdout: "", stderr: expect.stringContaining(node.address) as string })
    const signal = AbortSignal.timeout(100)
    await expect(recoverJobs(recoverFile(), { ...idle, signal })).rejects.toThrow("aborted due to timeout")
    const early = await recoverJobs(recoverFile(), {
      ...idle,
      timeout: 2500,
      callback: () => expect.unreachable()
    })
    expect([early.isComplete, early.unfinished.map(({ node: address }) => address)]).toEqual([false, [node.address]])
    const rest = await recoverJobs(recoverFile(), { ...idle, terminatePending: true })
    expect(rest.isComplete).toBe(true)
    expect(rest.length).toBeGreaterThan(0)
    for (const { exception } of rest) expect(exception?._tag).toBe("JobCancelled")
    expect(fs.existsSync(recoverFile())).toBe(false)
  })

  it("loses nothing that its node had finished when the daemon is restarted, and knows what ran there", async () => {
    const node = await daemon(...hasty, "--name", "a")
    const mortal = await startMortal([node], { count: 4, millis: 1500, growth: "growing" })
    await mortal.kill()
    // The others run for a second and a half more, at least.
    await eventually(() => expect(["job 1\n", "job 2\n"].filter((text) => !kept().includes(text))).toEqual([]))
    await node.kill()
    await daemon(...hasty, "--name", "a", "--port", String(node.port))
    const jobs = await recoverJobs(recoverFile(), idle)
    expect(jobs.isComplete).toBe(true)
    expect(jobs.filter(({ status }) => status === "Finished").map(({ number }) => number)).toEqual([1, 2])
    for (const job of jobs) {
      if (job.status === "Finished") expectRight(job)
      else expect(job).toMatchObject({ status: "Abandoned", exception: { _tag: "NodeLost" } })
    }
  })

  it("is recovered on the command line, a line of JSON for each job", async () => {
    const node = await daemon(...hasty, "--name", "a")
    const mortal = await startMortal([node], { count: 2, millis: 500 })
    await mortal.kill()
    const { status, stderr, stdout } = await CliProcess.run(["recover", recoverFile()])
    const jobs = stdout.trim().split("\n").map((line) => JSON.parse(line) as RecoveredJob)
    const all = new Set([...written().map((line) => Number(line.split(" ")[0])), ...jobs.map(({ number }) => number)])
    expect([...all].toSorted((a, b) => a - b)).toEqual([1, 2])
    expect(status).toBe(jobs.some((job) => job.status !== "Finished") ? 1 : 0)
    expect(stderr).toMatch(/recovered \d jobs?/)
    expect(await CliProcess.run(["recover", recoverFile()])).toEqual({
      status: 2,
      stdout: "",
      stderr:
        `dispy: recover file ${recoverFile()}: there is no such file; a cluster that was closed has removed its own\n`
    })
  })
})

describe("a recover file", () => {
  it("is not there without a node that outlives the program, with `false`, and after the cluster was closed", async () => {
    const local = await cluster(() => 1, { recoverFile: recoverFile() })
    await local.run()
    expect(fs.existsSync(recoverFile())).toBe(false)
    await local.close()
    const node = await daemon()
    const remote = await cluster(() => 1, { nodes: node.address, recoverFile: recoverFile() })
    expect(fs.existsSync(recoverFile())).toBe(true)
    await remote.close()
    expect(fs.existsSync(recoverFile())).toBe(false)
  })

  it("is refused where there is one already or none can be", async () => {
    fs.writeFileSync(recoverFile(), "")
    await expect(cluster(() => 1, { recoverFile: recoverFile() })).rejects.toThrow(/^option recoverFile: .*recoverJobs/)
    await expect(cluster(() => 1, { recoverFile: 7 as never })).rejects.toThrow("7 is neither a path nor false")
  })
})
