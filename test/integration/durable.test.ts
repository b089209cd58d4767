/** Durable programs that are killed: what they did not get to send runs when they are recovered, and nothing runs twice. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { createInterface } from "node:readline"
import { describe, expect, it, onTestFinished, vi } from "vitest"
import { type RecoveredJob, recoverJobs } from "../../src/promise.ts"
import * as CliProcess from "../support/CliProcess.ts"
import * as DurablePrograms from "../support/DurablePrograms.ts"
import * as Nodes from "../support/Nodes.ts"

// Each starts several processes, one after another.
vi.setConfig({ testTimeout: 120_000 })

const { daemon, directory } = Nodes.forTests()

const { expectRight, hasty, idle, numbersTo, outcomes, place, runs, startMortal, until } = DurablePrograms.in(directory)

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

describe("a durable program that is killed at any moment", () => {
  it.each([1, 2, 3])("has each outcome exactly once in the end (seed %i)", async (seed) => {
    const nodes = await Promise.all([daemon(...hasty), daemon(...hasty)])
    await DurablePrograms.killSomeTime(directory, nodes.map(({ address }) => address), seed)
  })
})

describe("the recovery of a durable program", () => {
  it("can be killed as well, and repeated: every job is handed over once and runs once", async () => {
    const nodes = await Promise.all([daemon(...hasty), daemon(...hasty)])
    const mortal = await startMortal(nodes.map(({ address }) => address), { count: 40, millis: 30 })
    await until(() => runs().length >= 5)
    await mortal.kill()
    const child = spawn(process.execPath, [CliProcess.program, "recover", place("recover")], {
      cwd: directory(),
      stdio: ["ignore", "pipe", "ignore"]
    })
    onTestFinished(() => void child.kill("SIGKILL"))
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
    const handed: Array<number> = []
    for await (const line of createInterface(child.stdout)) {
      handed.push((JSON.parse(line) as RecoveredJob).number)
      if (handed.length === 6) child.kill("SIGKILL")
    }
    await ended
    const jobs = await recoverJobs(place("recover"), idle)
    expect(jobs.isComplete).toBe(true)
    const numbers = jobs.map(({ number }) => number)
    expect(new Set(handed).size).toBe(handed.length)
    expect(new Set(numbers).size).toBe(numbers.length)
    // Who was killed may have written one line that was not noted yet.
    expect(numbers.filter((number) => handed.includes(number)).length).toBeLessThanOrEqual(1)
    expect([...new Set([...outcomes(), ...handed, ...numbers])].toSorted((a, b) => a - b)).toEqual(numbersTo(40))
    expect(runs().filter((number, i, all) => all.indexOf(number) !== i)).toEqual([])
    for (const { exception, number } of jobs) {
      // Of a job that was on its way to a node that keeps nothing nobody knows whether it began.
      if (exception !== undefined) expect([number, exception._tag]).toEqual([number, "NodeLost"])
    }
  })

  it("says where every job is, of a program that runs and of one that died, and takes nothing", async () => {
    const node = await daemon(...hasty)
    const mortal = await startMortal([node.address], { count: 12, millis: 1000 })
    await until(() => runs().length >= 2)
    const live = await CliProcess.run(["explain", place("recover"), "--json"])
    const known = JSON.parse(live.stdout) as {
      readonly nodes: ReadonlyArray<object>
      readonly jobs: ReadonlyArray<object>
    }
    expect(live).toMatchObject({ status: 0, stderr: "" })
    expect(known.nodes).toEqual([expect.objectContaining({ address: node.address, state: "connected" })])
    expect(known.jobs).toContainEqual(expect.objectContaining({ number: 12, state: "waiting" }))
    await mortal.kill()
    const before = fs.readFileSync(place("recover"))
    const dead = await CliProcess.run(["explain", place("recover"), "12"])
    expect(dead).toMatchObject({ status: 0, stderr: "" })
    expect(dead.stdout).toMatch(/which is gone; jobs: /)
    expect(dead.stdout).toContain("job 12: it waits: it was not sent to any node")
    expect(await CliProcess.run(["explain", place("recover"), "13"])).toMatchObject({
      status: 1,
      stderr: "dispy: neither the file nor a node that answered knows of a job 13\n"
    })
    expect(fs.readFileSync(place("recover")).equals(before)).toBe(true)
    expect((await CliProcess.run(["explain", place("recover"), "--jsn"])).stderr).toContain("--json")
    // Nothing is run with `terminatePending`, and nothing is left.
    const jobs = await recoverJobs(place("recover"), { ...idle, terminatePending: true })
    expect(jobs.isComplete).toBe(true)
    expect(jobs.find(({ number }) => number === 12)).toMatchObject({ status: "Cancelled", id: ["job", 12] })
    expect(runs().length).toBeLessThan(12)
    expect(fs.existsSync(place("recover"))).toBe(false)
  })

  it("leaves what was never sent in the file with `resume: false`, and runs it where `nodes` says", async () => {
    const node = await daemon(...hasty)
    const mortal = await startMortal([node.address], { count: 10, millis: 300 })
    await until(() => runs().length >= 2)
    await mortal.kill()
    const first = await recoverJobs(place("recover"), { ...idle, resume: false })
    expect(first.isComplete).toBe(false)
    expect(first.unfinished).toEqual([
      expect.objectContaining({ node: "the recover file", reason: expect.stringContaining("no outcome") as string })
    ])
    await node.kill()
    const other = await daemon(...hasty)
    const rest = await recoverJobs(place("recover"), { ...idle, nodes: [other.address] })
    expect(rest.isComplete).toBe(true)
    for (const { ipAddr } of rest) expect(ipAddr).toBe(other.address)
    const all = [...outcomes(), ...first.map(({ number }) => number), ...rest.map(({ number }) => number)]
    expect(all.toSorted((a, b) => a - b)).toEqual(numbersTo(10))
    expect(runs()).toEqual(numbersTo(10))
  })
})
