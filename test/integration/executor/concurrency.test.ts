/** Several jobs at a time in one slot: what belongs to each, and what they share. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { expect } from "vitest"
import { executorFiles } from "../../support/ExecutorFiles.ts"
import * as Harness from "../../support/ExecutorHarness.ts"
import { deathOf, errorOf, openCode, outcomeOf, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess } from "../../support/ExecutorProcesses.ts"
import { awaitFile, isRunning, whenGone } from "../../support/Processes.ts"

const aFile = executorFiles("concurrency")

const tell = `const fs = process.getBuiltinModule("node:fs")
  const tell = (file, text) => { fs.writeFileSync(file + ".new", String(text)); fs.renameSync(file + ".new", file) };`

/** In a job: goes on when `count` jobs of its slot have come here. */
const meet = `globalThis.here ??= []
  const meet = (count) => new Promise((done) => { here.push(done); if (here.length >= count) for (const one of here.splice(0)) one() });`

describe.each(["process", "thread"] as const)("several jobs at a time in a %s", (executor) => {
  const openFunction = (source: string, options: Harness.OpenOptions = {}) =>
    Harness.openFunction(source, { executor, concurrency: 3, ...options })
  const layer = layerProcess({ cpus: 1 })

  it.live("run at the same time on one slot, as many as are allowed, and end in any order", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`async (n) => { ${meet} globalThis.most ??= 0; globalThis.now ??= 0
        most = Math.max(most, ++now); await meet(3); await new Promise((done) => setTimeout(done, 60 - 20 * n)); now--
        return most }`)
      const ids = opened.submit([[0], [1], [2], [0], [1], [2]])
      const replies = yield* opened.replies(ids)
      expect(replies.map(valueOf)).toEqual([3, 3, 3, 3, 3, 3])
      expect(opened.arrived.slice(0, 3).map((reply) => reply.jobId)).not.toEqual(ids.slice(0, 3))
    }).pipe(Effect.scoped, Effect.provide(layer)))

  it.live("have each a job id, what they print and their provisional results", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`async (n) => { ${meet} await meet(3)
        for (let i = 0; i < 20; i++) { console.log(n, i); process.stderr.write(n + ";"); dispy.provisionalResult([n, i])
          await new Promise((done) => setTimeout(done, 1)) }
        return dispy.jobId }`)
      const ids = opened.submit([[0], [1], [2]])
      const replies = yield* opened.replies(ids)
      expect(replies.map(valueOf)).toEqual(ids)
      replies.forEach((reply, n) => {
        expect(reply.stdout).toBe(Array.from({ length: 20 }, (_, i) => `${n} ${i}\n`).join(""))
        expect(reply.stderr).toBe(`${n};`.repeat(20))
        const sent = opened.provisional.filter((one) => one.jobId === reply.jobId).map(valueOf)
        expect(sent).toEqual(Array.from({ length: 20 }, (_, i) => [n, i]))
      })
    }).pipe(Effect.scoped, Effect.provide(layer)))

  it.live("are asked to end one by one; the others do not notice", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `async (file) => { ${tell} ${meet} const { signal } = dispy; tell(file, "")
          return await new Promise((done) => { signal.addEventListener("abort", () => done("ended"))
            globalThis.release ??= []; release.push(() => done("released"))
            if (release.length === 3) release[2]() }) }`,
        { graceMillis: 20_000 }
      )
      const files = [aFile(), aFile()]
      const [first, second] = opened.submit(files.map((file) => [file]))
      for (const file of files) yield* awaitFile(file)
      opened.cancel([first!])
      const [cancelled] = yield* opened.replies([first!])
      expect(outcomeOf(cancelled!)).toBe("cancelled")
      const [third] = opened.submit([[aFile()]])
      const [last] = yield* opened.replies([third!])
      expect(valueOf(last!)).toBe("released")
      opened.cancel([second!])
      expect(outcomeOf((yield* opened.replies([second!]))[0]!)).toBe("cancelled")
    }).pipe(Effect.scoped, Effect.provide(layer)))

  it.live("end with their slot when one does not end in time, and say which", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `(file) => file === undefined ? "fine" : new Promise(() => { ${tell} tell(file, ""); setTimeout(() => {}, 60_000) })`,
        { graceMillis: 100 }
      )
      const files = [aFile(), aFile()]
      const [deaf, other] = opened.submit(files.map((file) => [file]))
      for (const file of files) yield* awaitFile(file)
      opened.cancel([deaf!])
      const replies = yield* opened.replies([deaf!, other!])
      expect(replies.map(outcomeOf)).toEqual(["cancelled", "slotDied"])
      expect(deathOf(replies[1]!).reason).toContain(
        `job ${deaf}, which ran in it at the same time, did not end in time`
      )
      expect(valueOf(yield* opened.run([]))).toBe("fine")
    }).pipe(Effect.scoped, Effect.provide(layer)))

  it.live("end together when one takes the slot down, and say which did", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`async (what) => { ${meet} await meet(2)
        if (what === "exit") process.exit(3)
        if (what === "throw") setTimeout(() => { throw new Error("boom") }, 1)
        return new Promise(() => setTimeout(() => {}, 60_000)) }`)
      for (
        const [what, reason] of [["exit", "process.exit(3) was called"], ["throw", "uncaught exception: Error: boom"]]
      ) {
        const ids = opened.submit([["wait"], [what]])
        const [other, guilty] = yield* opened.replies(ids)
        expect(deathOf(guilty!).reason).toBe(reason)
        expect(deathOf(other!).reason).toBe(`${reason} by job ${ids[1]}, which ran in the same ${executor}`)
      }
    }).pipe(Effect.scoped, Effect.provide(layer)))

  it.live("have each a timeout of its own", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        "(n) => new Promise((done) => { dispy.signal.addEventListener('abort', () => done('late')); setTimeout(done, n, 'in time') })",
        { graceMillis: 20_000 }
      )
      const [late, fine] = opened.submit([[60_000], [10]], { timeoutMillis: 300 })
      const replies = yield* opened.replies([late!, fine!])
      expect(replies.map(outcomeOf)).toEqual(["timedOut", "succeeded"])
    }).pipe(Effect.scoped, Effect.provide(layer)))

  it.live("that have not started go to another slot while one computes", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`(file, until) => { ${tell} if (file === undefined) return 1
        tell(file, ""); while (!fs.existsSync(until)); return 0 }`)
      const [file, until] = [aFile(), aFile()]
      const [computes] = opened.submit([[file, until]])
      yield* awaitFile(file)
      const others = opened.submit(Array.from({ length: 10 }, () => []))
      expect((yield* opened.replies(others)).map(valueOf)).toEqual(others.map(() => 1))
      fs.writeFileSync(until, "")
      expect(valueOf((yield* opened.replies([computes!]))[0]!)).toBe(0)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("give every one of 5,000 jobs exactly one reply", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction("async (n) => { if (n % 3 === 0) await null; return n }")
      const ids = opened.submit(Array.from({ length: 5000 }, (_, n) => [n]))
      expect((yield* opened.replies(ids)).map(valueOf)).toEqual(ids.map((_, n) => n))
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))
})

describe("as many jobs as there can be", () => {
  it.live("fail when nothing is left that they could wait for", () =>
    Effect.gen(function*() {
      const source = `async () => { ${meet} await meet(2); return new Promise(() => {}) }`
      const opened = yield* Harness.openFunction(source, { concurrency: 2 })
      const replies = yield* opened.replies(opened.submit([[], []]))
      for (const reply of replies) expect(errorOf(reply).message).toContain("can never settle")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})

describe("several programs at a time", () => {
  it.live("have each what they print, and one that is cancelled ends alone", () =>
    Effect.gen(function*() {
      const opened = yield* openCode({ _tag: "ProgramCode", program: "sh" }, { concurrency: 2, graceMillis: 400 })
      const [file, until] = [aFile(), aFile()]
      const script = (
        before: string
      ) => ["-c", `${before}; echo $$; echo $$ > ${file}.new; mv ${file}.new ${file}; sleep 60`]
      const wait = ["-c", `echo there; until test -e ${until}; do sleep 0.02; done; echo done`]
      const [deaf, other] = opened.submit([script("trap '' TERM"), wait])
      const pid = Number(yield* awaitFile(file))
      opened.cancel([deaf!])
      const [cancelled] = yield* opened.replies([deaf!])
      expect(outcomeOf(cancelled!)).toBe("cancelled")
      expect(cancelled!.stdout).toBe(`${pid}\n`)
      yield* whenGone([pid], 5000)
      expect(isRunning(pid)).toBe(false)
      fs.writeFileSync(until, "")
      const [fine] = yield* opened.replies([other!])
      expect([valueOf(fine!), fine!.stdout]).toEqual([0, "there\ndone\n"])
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})
