/** Jobs in threads of one process: what ends a thread, what costs the process, and what that means for the others. */
import { describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { expect } from "vitest"
import { executorFiles } from "../../support/ExecutorFiles.ts"
import * as Harness from "../../support/ExecutorHarness.ts"
import { deathOf, openCode, outcomeOf, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess } from "../../support/ExecutorProcesses.ts"
import { awaitFile, isRunning, whenGone } from "../../support/Processes.ts"

const graceMillis = 300

const aFile = executorFiles("threads")

const openFunction = (source: string, options: Harness.OpenOptions = {}) =>
  Harness.openFunction(source, { executor: "thread", graceMillis, ...options })

/** In a job: writes a file at once and whole. */
const tell = `const fs = process.getBuiltinModule("node:fs")
  const tell = (file, text) => { fs.writeFileSync(file + ".new", String(text)); fs.renameSync(file + ".new", file) }
  const whenThere = (file) => new Promise((done) => {
    const look = () => fs.existsSync(file) ? done() : setTimeout(look, 5)
    look()
  });`

/** What a job does on "bad", after it told that it runs; on "wait" it waits for a file, and on anything else it returns. */
const jobs = (bad: string): string =>
  `async (what, file, until) => {
    ${tell}
    if (what === "wait") { tell(file, process.pid); await whenThere(until); return process.pid }
    if (what === "bad") { tell(file, process.pid); ${bad} }
    return process.pid
  }`

/** Cpu time of a process, in hundredths of a second. */
const cpuTicks = (pid: number): number => {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return Number(fields[11]) + Number(fields[12])
}

/** When the process has used so much; nothing tells of that, so this looks again and again. */
const whenComputed = (pid: number, ticks: number): Effect.Effect<void> =>
  Effect.suspend(() => cpuTicks(pid) >= ticks ? Effect.void : Effect.fail("not yet")).pipe(
    Effect.retry(Schedule.spaced("5 millis")),
    Effect.orDie
  )

const ends: Readonly<Record<string, readonly [body: string, death: Record<string, unknown>]>> = {
  "process.exit": ["process.exit(3)", { reason: "process.exit(3) was called", exitCode: 3 }],
  "an exception in a timer": [
    "return new Promise(() => setTimeout(() => { throw new Error('boom') }, 1))",
    { reason: "uncaught exception: Error: boom", lastStderr: expect.stringContaining("dispy:test") }
  ],
  "an unhandled rejection": [
    "void Promise.reject(new TypeError('nobody cares')); return new Promise(() => {})",
    { reason: "unhandled rejection: TypeError: nobody cares" }
  ],
  "running out of heap": [
    "const all = []; for (;;) all.push({ all })",
    { reason: expect.stringMatching(/^ran out of heap memory \(V8 limit \d+ MB\)$/) }
  ]
}

describe.each(Object.entries(ends))("%s", (_name, [body, death]) => {
  it.live("ends its thread with the reason, while the job of another thread goes on", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(jobs(body))
      const [there, until, bad] = [aFile(), aFile(), aFile()]
      const [waits] = opened.submit([["wait", there, until]])
      const pid = Number(yield* awaitFile(there))
      const [ended, next] = opened.submit([["bad", bad], ["next"]])
      const [reply, after] = yield* opened.replies([ended!, next!])
      expect(outcomeOf(reply!)).toBe("slotDied")
      expect(deathOf(reply!)).toMatchObject(death)
      fs.writeFileSync(until, "")
      const [waited] = yield* opened.replies([waits!])
      expect([valueOf(waited!), valueOf(after!)]).toEqual([pid, pid])
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2, slotOptions: ["--max-old-space-size=96"] }))))
})

describe("cancelling", () => {
  it.live("a loop stops its thread alone, well before the grace is over", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(jobs("for (;;);"), { graceMillis: 20_000 })
      const [there, until, bad] = [aFile(), aFile(), aFile()]
      const [waits] = opened.submit([["wait", there, until]])
      const pid = Number(yield* awaitFile(there))
      const [looping] = opened.submit([["bad", bad]])
      yield* awaitFile(bad)
      opened.cancel([looping!])
      const [cancelled] = yield* opened.replies([looping!])
      expect(outcomeOf(cancelled!)).toBe("cancelled")
      fs.writeFileSync(until, "")
      const [waited] = yield* opened.replies([waits!])
      expect(valueOf(waited!)).toBe(pid)
      expect(valueOf(yield* opened.run(["next"]))).toBe(pid)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("native code costs the process: others say why, and what had not started runs in a fresh one", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        jobs("process.getBuiltinModule('node:crypto').pbkdf2Sync('secret', 'salt', 50_000_000, 64, 'sha512')")
      )
      const [there, until, bad] = [aFile(), aFile(), aFile()]
      const [waits] = opened.submit([["wait", there, until]])
      const pid = Number(yield* awaitFile(there))
      const [native] = opened.submit([["bad", bad]])
      yield* awaitFile(bad)
      // Nothing else in that process computes: the thread is in native code then.
      yield* whenComputed(pid, cpuTicks(pid) + 20)
      const queued = opened.submit([["next"], ["next"]])
      opened.cancel([native!])
      const [cancelled, other, ...rest] = yield* opened.replies([native!, waits!, ...queued])
      expect(outcomeOf(cancelled!)).toBe("cancelled")
      expect(outcomeOf(other!)).toBe("slotDied")
      expect(deathOf(other!).reason).toBe(
        `the process of its thread was killed because job ${native}, which ran in another thread, could not be stopped`
      )
      for (const reply of rest) expect(valueOf(reply)).not.toBe(pid)
      yield* whenGone([pid], 5000)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("fires dispy.signal, and a job that ends then keeps its thread and says cancelled", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `async (file) => { ${tell} if (file === undefined) return globalThis.mine
          globalThis.mine = "kept"; const { signal } = dispy; tell(file, "")
          await new Promise((done) => signal.addEventListener("abort", done)); return "ended" }`,
        { graceMillis: 20_000 }
      )
      const file = aFile()
      const [job] = opened.submit([[file]])
      yield* awaitFile(file)
      opened.cancel([job!])
      const [reply] = yield* opened.replies([job!])
      expect(outcomeOf(reply!)).toBe("cancelled")
      expect(valueOf(yield* opened.run([]))).toBe("kept")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("a job kills the children that it has started, and not those of another thread's job", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `(file) => new Promise(() => { ${tell}
          const child = process.getBuiltinModule("node:child_process").spawn("sleep", ["60"], { detached: true })
          child.on("spawn", () => tell(file, child.pid)) })`
      )
      const files = [aFile(), aFile()]
      const ids = opened.submit(files.map((file) => [file]))
      const pids: Array<number> = []
      for (const file of files) pids.push(Number(yield* awaitFile(file)))
      opened.cancel([ids[0]!])
      yield* opened.replies([ids[0]!])
      yield* whenGone([pids[0]!], 5000)
      expect(isRunning(pids[1]!)).toBe(true)
      opened.cancel([ids[1]!])
      yield* opened.replies([ids[1]!])
      yield* whenGone(pids, 5000)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))
})

describe("a crash of the process", () => {
  it.live("is blamed on the only job that ran; of several, all are named, and the rest runs elsewhere", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(jobs("process.kill(process.pid, 'SIGSEGV'); for (;;);"))
      const alone = yield* opened.run(["bad", aFile()])
      expect(deathOf(alone)).toMatchObject({ reason: "killed by SIGSEGV", signal: "SIGSEGV" })
      const there = aFile()
      const [waits] = opened.submit([["wait", there, aFile()]])
      const pid = Number(yield* awaitFile(there))
      const [bad, next] = opened.submit([["bad", aFile()], ["next"]])
      const [first, second, fine] = yield* opened.replies([waits!, bad!, next!])
      const reason =
        `killed by SIGSEGV; jobs ${waits} and ${bad} ran in the same process, and any of them may have caused it`
      expect([deathOf(first!).reason, deathOf(second!).reason]).toEqual([reason, reason])
      expect(valueOf(fine!)).not.toBe(pid)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))
})

describe("jobs in threads", () => {
  it.live("have each what they print, at the same time, and the working directory of the computation", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `async (n) => { for (let i = 0; i < 50; i++) { console.log(n, i); process.stderr.write(n + ";")
          await new Promise((done) => setImmediate(done)) } return [dispy.jobId, process.cwd()] }`
      )
      const ids = opened.submit(Array.from({ length: 8 }, (_, n) => [n]))
      const replies = yield* opened.replies(ids)
      replies.forEach((reply, n) => {
        const [jobId, cwd] = valueOf(reply) as [number, string]
        expect(jobId).toBe(ids[n])
        expect(path.basename(cwd)).toBe("work")
        expect(reply.stdout).toBe(Array.from({ length: 50 }, (_, i) => `${n} ${i}\n`).join(""))
        expect(reply.stderr).toBe(`${n};`.repeat(50))
      })
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("share the cpus with processes of other computations", () =>
    Effect.gen(function*() {
      const source = "(n) => { const until = performance.now() + n; while (performance.now() < until); return 1 }"
      const threads = yield* openFunction(source)
      const processes = yield* openFunction(source, { executor: "process" })
      const args = Array.from({ length: 20 }, () => [5])
      const ids = [threads.submit(args), processes.submit(args)] as const
      const replies = [...(yield* threads.replies(ids[0])), ...(yield* processes.replies(ids[1]))]
      const starts = replies.map((reply) => [reply.startMillis, 1] as const)
      const ended = replies.map((reply) => [reply.startMillis + reply.durationMicros / 1000 - 2, -1] as const)
      let running = 0
      for (const [, change] of [...starts, ...ended].sort(([a], [b]) => a - b)) {
        running += change
        expect(running).toBeLessThanOrEqual(2)
      }
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("are refused for programs", () =>
    Effect.gen(function*() {
      const refused = yield* Effect.flip(openCode({ _tag: "ProgramCode", program: "true" }, { executor: "thread" }))
      expect(refused.message).toContain("does not run in a thread")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("leave nothing when their computation is closed", () =>
    Effect.gen(function*() {
      const file = aFile()
      const pid = yield* Effect.scoped(Effect.gen(function*() {
        const opened = yield* openFunction(jobs("for (;;);"))
        opened.submit([["bad", file], ["bad", aFile()]])
        return Number(yield* awaitFile(file))
      }))
      expect(isRunning(pid)).toBe(false)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))
})
