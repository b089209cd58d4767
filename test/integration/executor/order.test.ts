/** Short jobs do not wait behind long ones, and every job runs exactly once, whatever happens around it. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import * as fs from "node:fs"
import { expect } from "vitest"
import { executorFiles } from "../../support/ExecutorFiles.ts"
import { openFunction, outcomeOf, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess } from "../../support/ExecutorProcesses.ts"

const aFile = executorFiles("order")

describe("a long job among short ones", () => {
  it.live("holds up none of 20,000 jobs", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`(file) => {
        const { existsSync } = process.getBuiltinModule("node:fs")
        while (file !== "" && !existsSync(file));
      }`)
      const count = 20_000
      yield* opened.replies(opened.submit(Array.from({ length: 2000 }, () => [""])))
      const file = aFile()
      const ids = [...opened.submit(Array.from({ length: count }, (_, i) => [i === count / 2 ? file : ""]))]
      const [long] = ids.splice(count / 2, 1)
      // Those that were with the same slot are taken back, go first, and run on the other slot while this one is busy.
      const replies = yield* opened.replies(ids)
      replies.map(valueOf)
      fs.writeFileSync(file, "")
      const [last] = yield* opened.replies([long!])
      valueOf(last!)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))
})

describe.each(
  [
    ["processes", "process", 1],
    ["threads", "thread", 1],
    ["processes, three at a time", "process", 3],
    ["threads, three at a time", "thread", 3]
  ] as const
)("any mix of jobs, crashes and cancels in %s", (name, executor, concurrency) => {
  // Where jobs share a process or a thread, one that takes it down takes others along.
  const isAlone = name === "processes"

  it.live("starts every job at most once, and exactly once if it succeeds", () =>
    Effect.gen(function*() {
      const file = aFile()
      const opened = yield* openFunction(
        `(what, id) => {
          const fs = process.getBuiltinModule("node:fs")
          fs.appendFileSync(file, id + "\\n")
          if (what === "exit") process.exit(1)
          if (what === "crash") process.kill(process.pid, "SIGKILL")
          if (what === "spin") { const end = performance.now() + 12; while (performance.now() < end); }
          if (what === "wait") return new Promise((done) => setTimeout(done, 3, id))
          if (what === "loop") for (;;);
          return id
        }`,
        { captures: { file }, graceMillis: 50, executor, concurrency }
      )
      const kinds = fc.oneof(
        { weight: 300, arbitrary: fc.constant("quick") },
        { weight: 4, arbitrary: fc.constantFrom("spin", "wait") },
        { weight: 1, arbitrary: fc.constantFrom("exit", "crash", "loop") }
      )
      const [mix] = fc.sample(fc.array(kinds, { minLength: 3000, maxLength: 3000 }), 1)
      const ids = opened.submit(mix!.map((what, i) => [what, i + 1]), { timeoutMillis: 1500 })
      opened.cancel(ids.filter((id) => id % 701 === 0))
      const replies = yield* opened.replies(ids)
      const lines = fs.readFileSync(file, "utf8").trim().split("\n").map(Number)
      const starts = new Map<number, number>()
      for (const id of lines) starts.set(id, (starts.get(id) ?? 0) + 1)
      for (const reply of replies) {
        const outcome = outcomeOf(reply)
        const count = starts.get(reply.jobId) ?? 0
        expect(count).toBeLessThanOrEqual(1)
        if (outcome === "succeeded") expect(count).toBe(1)
        if (outcome === "cancelled" && reply.startMillis === 0) expect(count).toBe(0)
        if (!isAlone) continue
        expect(count).toBe(outcome === "cancelled" && reply.startMillis === 0 ? 0 : 1)
        const kind = mix![reply.jobId - 1]!
        if (outcome === "slotDied") expect(["exit", "crash"]).toContain(kind)
        if (outcome === "timedOut") expect(kind).toBe("loop")
        if (kind === "quick" || kind === "spin" || kind === "wait") {
          expect(["succeeded", "cancelled"]).toContain(outcome)
        }
      }
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))), 60_000)
})
