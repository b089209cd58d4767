/** Programs with durable clusters that are killed, and what is to be found after that. */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { expect, onTestFinished } from "vitest"
import { type RecoveredJob, recoverJobs } from "../../src/promise.ts"
import { eventually } from "./Eventually.ts"

const program = fileURLToPath(new URL("../fixtures/integration/durable.ts", import.meta.url))

/** A program that was started. */
interface Mortal {
  readonly child: ChildProcess
  readonly kill: () => Promise<void>
}

/** How many jobs it has, and how long each takes. */
interface Work {
  readonly count: number
  readonly millis: number
}

/** Options of recoveries in tests. */
const idle = { logLevel: "none" } as const

/** The numbers from 1. */
const numbersTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

const ascending = (numbers: Iterable<number>) => [...numbers].toSorted((a, b) => a - b)

const until = (isDone: () => boolean): Promise<void> => eventually(() => expect(isDone()).toBe(true))

const expectRight = (job: RecoveredJob): void => {
  expect(job).toMatchObject({ status: "Finished", result: job.number ** 2, id: ["job", job.number] })
}

/** What the programs in a directory do. */
const inDirectory = (directory: () => string) => {
  const place = (name: string) => join(directory(), name)
  const lines = (name: string): ReadonlyArray<string> =>
    fs.existsSync(place(name)) ? fs.readFileSync(place(name), "utf8").split("\n").slice(0, -1) : []

  const spawnMortal = (nodes: ReadonlyArray<string>, { count, millis }: Work): Mortal => {
    const args = [nodes.join(","), place("recover"), place("outcomes"), place("runs"), String(count), String(millis)]
    const child = spawn(process.execPath, [program, ...args], {
      cwd: directory(),
      stdio: ["ignore", "pipe", "inherit"]
    })
    onTestFinished(() => void child.kill("SIGKILL"))
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
    return {
      child,
      kill: async () => {
        child.kill("SIGKILL")
        await ended
      }
    }
  }

  /** Starts a program, and waits until it has submitted its jobs. */
  const startMortal = async (nodes: ReadonlyArray<string>, work: Work): Promise<Mortal> => {
    const mortal = spawnMortal(nodes, work)
    await new Promise<void>((resolve, reject) => {
      createInterface(mortal.child.stdout!).once("line", () => resolve())
      mortal.child.once("exit", (code) => reject(new Error(`it ended with ${code}`)))
    })
    return mortal
  }

  return {
    place,
    idle,
    numbersTo,
    until,
    expectRight,
    spawnMortal,
    startMortal,
    /** Nodes that give a client up soon. */
    hasty: ["--msg-timeout", "1", "--cpus", "2"] as const,
    /** Numbers of jobs that have run, once for each time. */
    runs: () => ascending(lines("runs").map(Number)),
    /** Numbers of jobs whose outcome the program had. */
    outcomes: () => lines("outcomes").map((line) => Number(line.split(" ")[0]))
  }
}

/** Verbs for the programs in a directory. */
export { inDirectory as in }

/** Jobs of a program that is killed some time. */
const count = 40

/**
 * Starts a program, kills it at a moment that the seed says, and recovers: each job runs at most once, and each has its
 * one outcome, with the program or with the recovery.
 */
export const killSomeTime = async (
  directory: () => string,
  nodes: ReadonlyArray<string>,
  seed: number
): Promise<void> => {
  const { outcomes, place, runs, spawnMortal } = inDirectory(directory)
  const mortal = spawnMortal(nodes, { count, millis: 1 + seed % 7 })
  // One that is quick may be done, and its file gone, before it is looked at.
  await until(() =>
    mortal.child.exitCode !== null || (fs.existsSync(place("recover")) && fs.statSync(place("recover")).size > 0)
  )
  await sleep((seed * 7919) % 300)
  await mortal.kill()
  const known = new Set(outcomes())
  if (!fs.existsSync(place("recover"))) {
    // It was done.
    expect(ascending(known)).toEqual(numbersTo(count))
    return
  }
  const jobs = await recoverJobs(place("recover"), idle)
  expect(jobs.isComplete).toBe(true)
  const numbers = jobs.map(({ number }) => number)
  const all = ascending(known.union(new Set(numbers)))
  expect(new Set(numbers).size).toBe(numbers.length)
  // It may have been killed before it had submitted them all; of those that it had none is left out.
  expect(all).toEqual(numbersTo(all.length))
  const ran = runs()
  expect(new Set(ran).size).toBe(ran.length)
  for (const job of jobs) {
    if (job.exception === undefined) expectRight(job)
    // Of one that was on its way to a node that keeps nothing nobody knows whether it began.
    else expect(job.exception._tag).toBe("NodeLost")
  }
  const lost = new Set(jobs.flatMap(({ exception, number }) => exception === undefined ? [] : [number]))
  expect(ran.filter((number) => !lost.has(number))).toEqual(all.filter((number) => !lost.has(number)))
  expect(fs.readdirSync(directory()).filter((name) => name.startsWith("recover"))).toEqual([])
}
