/** A job over its memory limit is killed with all it started, wherever the memory is; others, and later ones, go on. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { afterAll, expect } from "vitest"
import { decodeMemoryPeak } from "../../../src/domain/wire/MemoryPeak.ts"
import { deathOf, openCode, openFunction, outcomeOf, type TestReply, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess, leftDirectories } from "../../support/ExecutorProcesses.ts"
import { hogs } from "../../support/MemoryHogs.ts"
import { whenGone } from "../../support/Processes.ts"

afterAll(() => expect(leftDirectories()).toEqual([]))

const limitKiB = 192 * 1024

/** Demands that the job was killed for what it used. */
const demandKilled = (reply: TestReply): void => {
  expect(outcomeOf(reply)).toBe("outOfMemory")
  const { limitBytes, peakBytes } = decodeMemoryPeak(reply.result)
  expect(limitBytes).toBe(limitKiB * 1024)
  expect(peakBytes).toBeGreaterThan(limitBytes)
}

describe.each(Object.entries(hogs))("memory that is %s", (_name, body) => {
  it.live("costs the job its life, twice, and no other job anything", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`(isLarge) => { if (!isLarge) return process.pid; ${body} }`)
      for (let round = 0; round < 2; round++) {
        const before = opened.submit(Array.from({ length: 20 }, () => [false]), { memoryKiB: limitKiB })
        const [large] = opened.submit([[true]], { memoryKiB: limitKiB })
        const after = opened.submit(Array.from({ length: 20 }, () => [false]), { memoryKiB: limitKiB })
        const [reply] = yield* opened.replies([large!])
        demandKilled(reply!)
        for (const other of yield* opened.replies([...before, ...after])) valueOf(other)
      }
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))
})

describe("a memory limit", () => {
  it.live("holds for a program, and for what that starts", () =>
    Effect.gen(function*() {
      const opened = yield* openCode({ _tag: "ProgramCode", program: "sh" })
      const grow = "a=0123456789abcdef; while :; do a=$a$a; done"
      const [one, other, fine] = opened.submit(
        [["-c", grow], ["-c", `echo $$; (${grow}) & wait`], ["-c", "exit 3"]],
        { memoryKiB: limitKiB }
      )
      const replies = yield* opened.replies([one!, other!, fine!])
      demandKilled(replies[0]!)
      demandKilled(replies[1]!)
      expect(valueOf(replies[2]!)).toBe(3)
      yield* whenGone([Number(replies[1]!.stdout)], 5000)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("counts what processes share once", () =>
    Effect.gen(function*() {
      // Eight processes have the 150 MiB of their parent, which none of them changes.
      const script = `import os, sys, time
table = bytearray(os.urandom(1 << 20) * 150)
for _ in range(8):
    if os.fork() == 0:
        time.sleep(1)
        os._exit(0)
for _ in range(8): os.wait()
print(len(table))`
      const opened = yield* openCode({ _tag: "ProgramCode", program: "python3" })
      const reply = yield* opened.run(["-c", script], { memoryKiB: 400 * 1024 })
      expect(valueOf(reply)).toBe(0)
      expect(reply.stdout).toBe(`${150 << 20}\n`)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("does not hold what earlier jobs left against a job", () =>
    Effect.gen(function*() {
      // Each of them leaves 50 MiB of rubbish, and would be fine alone.
      const opened = yield* openFunction(`(n) => {
        const all = []
        for (let i = 0; i < 50; i++) all.push(new Array(131072).fill(n + i))
        const until = performance.now() + 40
        while (performance.now() < until) {}
        return all.length
      }`)
      const ids = opened.submit(Array.from({ length: 12 }, (_, n) => [n]), { memoryKiB: limitKiB })
      for (const reply of yield* opened.replies(ids)) expect(valueOf(reply)).toBe(50)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("has a slot replaced that keeps what its jobs used", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`() => {
        (globalThis.kept ??= []).push(Buffer.alloc(30 << 20, 1))
        return [process.pid, kept.length]
      }`)
      const ids = opened.submit(Array.from({ length: 12 }, () => []), { memoryKiB: limitKiB })
      const answers = (yield* opened.replies(ids)).map((reply) => valueOf(reply) as readonly [number, number])
      expect(new Set(answers.map(([pid]) => pid)).size).toBeGreaterThan(2)
      expect(Math.max(...answers.map(([, kept]) => kept))).toBeLessThan(5)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("leaves no time to a job that grows while it is to end", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `async () => {
          dispy.signal
          const kept = []
          console.log("growing")
          await new Promise((done) => dispy.signal.addEventListener("abort", done))
          for (;;) { kept.push(Buffer.alloc(1 << 20, 1)); await new Promise((done) => setTimeout(done, 2)) }
        }`,
        { graceMillis: 3_600_000 }
      )
      const reply = yield* opened.run([], { memoryKiB: limitKiB, timeoutMillis: 50 })
      expect(outcomeOf(reply)).toBe("timedOut")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("tells the peak of a job that ran out of heap by itself", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`() => { ${hogs["in the heap"]} }`)
      const reply = yield* opened.run([], { memoryKiB: 4 * 1024 ** 2 })
      expect(outcomeOf(reply)).toBe("slotDied")
      expect(deathOf(reply).reason).toMatch(/^ran out of heap memory/)
      expect(deathOf(reply).peakBytes).toBeGreaterThan(0)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1, slotOptions: ["--max-old-space-size=256"] }))))
})

describe("slots of a computation", () => {
  it.live("are replaced after so many jobs", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction("() => process.pid", { slotLimits: { jobs: 10, memoryKiB: 0 } })
      const pids = (yield* opened.replies(opened.submit(Array.from({ length: 45 }, () => [])))).map(valueOf)
      const jobs = Map.groupBy(pids, (pid) => pid)
      expect(Math.max(...[...jobs.values()].map((one) => one.length))).toBe(10)
      expect(jobs.size).toBe(5)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("are replaced when they keep too much, not while a job uses it", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `async (isLeaking) => {
          const all = []
          for (let i = 0; i < 150; i++) all.push(Buffer.alloc(1 << 20, 1))
          if (isLeaking) globalThis.kept = all
          await new Promise((done) => setTimeout(done, 1500))
          return [process.pid, all.length]
        }`,
        { slotLimits: { jobs: 0, memoryKiB: 180 * 1024 } }
      )
      const [first, length] = valueOf(yield* opened.run([true])) as readonly [number, number]
      expect(length).toBe(150)
      yield* whenGone([first], 10_000)
      expect((valueOf(yield* opened.run([false])) as ReadonlyArray<number>)[0]).not.toBe(first)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})
