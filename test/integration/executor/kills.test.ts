/** A job that is cancelled or overdue is dead, with everything that it started, whatever it is doing. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { expect } from "vitest"
import { executorFiles } from "../../support/ExecutorFiles.ts"
import { openFunction, outcomeOf, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess } from "../../support/ExecutorProcesses.ts"
import { awaitFile, besideKills, isRunning, whenGone } from "../../support/Processes.ts"

const graceMillis = 300

const aFile = executorFiles("kills")

/** In a job: writes the pids that are to be gone, its own first. */
const tell = `const tell = (file, ...pids) => {
  const fs = process.getBuiltinModule("node:fs")
  fs.writeFileSync(file + ".new", [process.pid, ...pids].join(" "))
  fs.renameSync(file + ".new", file)
};`

const children = `const { spawn } = process.getBuiltinModule("node:child_process");`

const endless: Readonly<Record<string, string>> = {
  "an endless loop": `(file) => { ${tell} tell(file); for (;;); }`,
  "a catastrophic regular expression": `(file) => { ${tell} tell(file); return /^(a+)+$/.test("a".repeat(60) + "b") }`,
  "pbkdf2Sync with 20 million iterations": `(file) => { ${tell} tell(file);
    return process.getBuiltinModule("node:crypto").pbkdf2Sync("secret", "salt", 20_000_000, 64, "sha512") }`,
  "a job that handles SIGTERM and loops":
    `(file) => { process.on("SIGTERM", () => {}); ${tell} tell(file); for (;;); }`,
  "a child that ignores SIGTERM": `(file) => new Promise(() => { ${tell} ${children}
    const child = spawn("sh", ["-c", "trap '' TERM; echo; while :; do sleep 60; done"], { stdio: ["ignore", "pipe", "inherit"] })
    child.stdout.once("data", () => tell(file, child.pid)) })`,
  "grandchildren, one of them in a session of its own": `(file) => new Promise(() => { ${tell} ${children}
    const inner = "const c = require('child_process').spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });"
      + "console.log(c.pid); setTimeout(() => {}, 60000)"
    const child = spawn(process.execPath, ["-e", inner], { detached: true, stdio: ["ignore", "pipe", "inherit"] })
    child.stdout.once("data", (pid) => tell(file, child.pid, Number(pid))) })`,
  "an orphan with an environment of its own": `(file) => new Promise(() => { ${tell} ${children}
    const child = spawn("sh", ["-c", "sleep 60 & echo $!"], { env: {}, stdio: ["ignore", "pipe", "inherit"] })
    child.stdout.once("data", (pid) => tell(file, Number(pid))) })`
}

const pidsIn = (text: string): ReadonlyArray<number> => text.split(" ").map(Number)

describe.each(Object.entries(endless))("%s", (_name, source) => {
  const handlesTerm = source.includes("SIGTERM\", ()")

  it.live("is gone within the grace when it is cancelled; its slot is replaced, the other slot undisturbed", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(source, { graceMillis })
      const other = yield* openFunction("() => process.pid")
      const otherPid = valueOf(yield* other.run([]))
      const file = aFile()
      const [job] = opened.submit([[file]])
      const pids = pidsIn(yield* awaitFile(file))
      const since = performance.now()
      opened.cancel([job!])
      const [[[reply], goneAt], noise] = yield* besideKills(
        Effect.all([opened.replies([job!]), whenGone(pids, 30_000)])
      )
      expect(outcomeOf(reply!)).toBe("cancelled")
      const limit = graceMillis + 50 + 20 * noise
      expect(goneAt - since).toBeLessThan(limit)
      expect(reply!.arrivedAt - since).toBeLessThan(handlesTerm ? limit : limit - graceMillis + 100)
      expect(valueOf(yield* other.run([]))).toBe(otherPid)
      const again = aFile()
      const [next] = opened.submit([[again]])
      yield* awaitFile(again)
      opened.cancel([next!])
      yield* opened.replies([next!])
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("is gone within the grace after its timeout", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(source, { graceMillis })
      const file = aFile()
      const timeoutMillis = 1000
      const [job] = opened.submit([[file]], { timeoutMillis })
      const pids = pidsIn(yield* awaitFile(file))
      const [[[reply], goneAt], noise] = yield* besideKills(
        Effect.all([opened.replies([job!]), whenGone(pids, 30_000)])
      )
      expect(outcomeOf(reply!)).toBe("timedOut")
      expect(reply!.durationMicros).toBeGreaterThanOrEqual(timeoutMillis * 1000 - 1)
      const startedAt = reply!.startMillis - performance.timeOrigin
      expect(goneAt - startedAt).toBeLessThan(timeoutMillis + graceMillis + 50 + 20 * noise)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})

describe("a job that listens", () => {
  it.live("ends by itself when dispy.signal fires, keeps its slot and what it printed", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `(file) => new Promise((done) => { ${tell}
          if (file === undefined) return done(process.pid)
          console.log("working")
          dispy.signal.addEventListener("abort", () => { console.log(dispy.signal.reason.name); done("partial") })
          tell(file) })`,
        { graceMillis: 5000 }
      )
      const file = aFile()
      const [job] = opened.submit([[file]])
      const [pid] = pidsIn(yield* awaitFile(file))
      opened.cancel([job!])
      const [reply] = yield* opened.replies([job!])
      expect(outcomeOf(reply!)).toBe("cancelled")
      expect(reply!.stdout).toBe("working\nAbortError\n")
      expect(valueOf({ ...reply!, outcome: 0 })).toBe("partial")
      expect(valueOf(yield* opened.run([]))).toBe(pid)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("is killed like any other when it does not end", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `(file) => { ${tell} dispy.signal; console.log("busy"); tell(file); for (;;); }`,
        { graceMillis: 200 }
      )
      const file = aFile()
      const [job] = opened.submit([[file]])
      const pids = pidsIn(yield* awaitFile(file))
      const since = performance.now()
      opened.cancel([job!])
      const [reply] = yield* opened.replies([job!])
      expect(outcomeOf(reply!)).toBe("cancelled")
      expect(reply!.stdout).toBe("busy\n")
      expect(reply!.arrivedAt - since).toBeGreaterThanOrEqual(99)
      expect(pids.filter(isRunning)).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})

describe("closing", () => {
  it.live("a computation kills its running jobs with what they started, and children that earlier jobs left", () =>
    Effect.gen(function*() {
      const left = yield* Effect.scoped(Effect.gen(function*() {
        const opened = yield* openFunction(`() => { ${children}
          return spawn("sleep", ["60"], { detached: true, stdio: "ignore" }).pid }`)
        const looping = yield* openFunction(endless["an endless loop"]!)
        const child = valueOf(yield* opened.run([])) as number
        const file = aFile()
        looping.submit([[file]])
        const [loop] = pidsIn(yield* awaitFile(file))
        expect([child, loop!].filter(isRunning)).toEqual([child, loop])
        return [child, loop!]
      }))
      expect(left.filter(isRunning)).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("a killed job does not take the blame of another one", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction("(n) => { if (n === 0) for (;;); return process.pid }", { graceMillis: 0 })
      yield* opened.replies(opened.submit(Array.from({ length: 2000 }, () => [1])))
      const [loop, ...rest] = opened.submit([[0], ...Array.from({ length: 500 }, () => [1])])
      const replies = opened.replies(rest)
      yield* opened.replies([rest[0]!])
      opened.cancel([loop!])
      for (const reply of yield* replies) valueOf(reply)
      const [killed] = yield* opened.replies([loop!])
      expect(outcomeOf(killed!)).toBe("cancelled")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))
})

describe("a job that says more than its client takes", () => {
  it.live("waits, and can be cancelled all the same", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `(file) => { ${tell}
          if (file === undefined) return 1
          for (let i = 0;; i++) { dispy.provisionalResult(new Uint8Array(1000)); if (i === 0) tell(file) } }`,
        { graceMillis }
      )
      expect(valueOf(yield* opened.run([]))).toBe(1)
      opened.setPaused(true)
      const file = aFile()
      const [job] = opened.submit([[file]])
      const pids = pidsIn(yield* awaitFile(file))
      // What is in the pipe when reading stops may still come; a megabyte would be a thousand results.
      expect(opened.provisional.length).toBeLessThan(1000)
      opened.cancel([job!])
      const [reply] = yield* opened.replies([job!])
      expect(outcomeOf(reply!)).toBe("cancelled")
      yield* whenGone(pids, 10_000)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})
