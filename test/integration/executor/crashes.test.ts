/** A job that takes its slot down fails with the reason, alone; every other job goes on. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { afterAll, expect } from "vitest"
import { deathOf, errorOf, openFunction, outcomeOf, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess, leftDirectories } from "../../support/ExecutorProcesses.ts"

afterAll(() => expect(leftDirectories()).toEqual([]))

const memory = "const all = []; for (;;) all.push(new Array(100000).fill(all.length))"

/** Body of the job, and what is said of its end. */
const crashes: Readonly<Record<string, readonly [body: string, death: Record<string, unknown>]>> = {
  "process.exit": ["process.exit(3)", { reason: "process.exit(3) was called", exitCode: 3, signal: null }],
  "process.exit in a timer": [
    "return new Promise(() => setTimeout(() => process.exit(0), 1))",
    { reason: "process.exit(0) was called", exitCode: 0 }
  ],
  "process.abort": ["process.abort()", {
    reason: expect.stringContaining("SIGABRT"),
    signal: "SIGABRT",
    exitCode: null
  }],
  "a segmentation fault": [
    "process.kill(process.pid, 'SIGSEGV'); for (;;);",
    { reason: "killed by SIGSEGV", signal: "SIGSEGV", exitCode: null }
  ],
  "an exception in a timer": [
    "return new Promise(() => setTimeout(() => { throw new Error('boom') }, 1))",
    {
      reason: expect.stringMatching(/^uncaught exception: Error: boom/),
      lastStderr: expect.stringContaining("dispy:crash")
    }
  ],
  "an unhandled rejection": [
    "Promise.reject(new TypeError('nobody cares')); return new Promise(() => {})",
    { reason: expect.stringMatching(/^unhandled rejection: TypeError: nobody cares/) }
  ],
  "running out of heap": [
    memory,
    { reason: expect.stringMatching(/^ran out of heap memory \(V8 limit \d+ MB\)$/), signal: "SIGABRT" }
  ],
  "an exit without a word": ["process.reallyExit(7)", { reason: "exited with code 7", exitCode: 7 }]
}

const crashing = (body: string): string =>
  `(isCrash) => { if (!isCrash) return process.pid; console.log("before"); console.error("warned"); ${body} }`

describe.each(Object.entries(crashes))("%s", (_name, [body, death]) => {
  it.live("fails its job with the reason and what it printed, and no other one", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(crashing(body), { name: "crash" })
      yield* opened.replies(opened.submit(Array.from({ length: 500 }, () => [false])))
      const before = opened.submit(Array.from({ length: 20 }, () => [false]))
      const [crash] = opened.submit([[true]])
      const after = opened.submit(Array.from({ length: 200 }, () => [false]))
      const [reply] = yield* opened.replies([crash!])
      expect(outcomeOf(reply!)).toBe("slotDied")
      expect(deathOf(reply!)).toMatchObject(death)
      expect(reply!.stdout).toContain("before")
      expect(reply!.stderr).toContain("warned")
      for (const other of yield* opened.replies([...before, ...after])) valueOf(other)
    }).pipe(
      Effect.scoped,
      Effect.provide(layerProcess({ cpus: 2, slotOptions: ["--max-old-space-size=64"] }))
    ))
})

describe("what an earlier job left behind", () => {
  it.live("is not blamed on a later job without a word", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `(what) => what === "leave" ? void setTimeout(() => { throw new Error("late") }, 30) : new Promise(() => {})`
      )
      valueOf(yield* opened.run(["leave"]))
      const reply = yield* opened.run(["wait"])
      expect(deathOf(reply).reason).toBe(
        "uncaught exception: Error: late (possibly left behind by an earlier job of this slot)"
      )
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("recycles an idle slot and fails nothing", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`(what) => what === "leave"
        ? (setTimeout(() => { throw new Error("late") }, 1), process.pid)
        : process.pid`)
      const first = valueOf(yield* opened.run(["leave"]))
      // The slot is replaced at some moment; until then it still answers.
      for (;;) if (valueOf(yield* opened.run([])) !== first) break
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})

describe("a job that awaits what can never happen", () => {
  it.live("fails and says so, instead of hanging; one that waits for dispy.signal goes on", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `(what) => what === "signal"
          ? new Promise((done) => dispy.signal.addEventListener("abort", () => done("aborted")))
          : what === "never" ? new Promise(() => {}) : process.pid`,
        { graceMillis: 5000 }
      )
      const pid = valueOf(yield* opened.run([]))
      const [before, never, after, signal] = opened.submit([["now"], ["never"], ["now"], ["signal"]])
      const [first, stuck, last] = yield* opened.replies([before!, never!, after!])
      expect([first!, last!].map(valueOf)).toEqual([pid, pid])
      expect(outcomeOf(stuck!)).toBe("failed")
      expect(errorOf(stuck!).message).toMatch(/can never settle/)
      opened.cancel([signal!])
      const [cancelled] = yield* opened.replies([signal!])
      expect(outcomeOf(cancelled!)).toBe("cancelled")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})

describe("a job that breaks the rules", () => {
  it.live("fails when it writes garbage to its node, and its slot is replaced", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `(isBad) => { if (isBad) { process.getBuiltinModule("node:fs").writeSync(4, "\\x00".repeat(64)); for (;;); }
          return process.pid }`
      )
      const before = valueOf(yield* opened.run([false]))
      const reply = yield* opened.run([true])
      expect(outcomeOf(reply)).toBe("slotDied")
      expect(deathOf(reply).reason).toMatch(/frame/)
      expect(valueOf(yield* opened.run([false]))).not.toBe(before)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})
