/** What every executor promises, whatever it runs jobs in. */
import { describe, it } from "@effect/vitest"
import { Clock, Effect, type Layer, type Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import { expect } from "vitest"
import { JobFlags } from "../../src/domain/wire/Entries.ts"
import * as JobDepends from "../../src/domain/wire/JobDepends.ts"
import type { JobExecutor } from "../../src/services/JobExecutor.ts"
import * as ClassTable from "../../src/slot/ClassTable.ts"
import * as Values from "../../src/slot/Values.ts"
import * as Harness from "../support/ExecutorHarness.ts"
import { aFunction, errorOf, openCode, outcomeOf, valueOf } from "../support/ExecutorHarness.ts"

/** Adds the suite for one implementation; `layerOf` makes it with so many cpus, `kind` says what jobs run in. */
export const jobExecutorConformance = (
  name: string,
  layerOf: (cpus: number) => Layer.Layer<JobExecutor>,
  kind: Pick<Harness.OpenOptions, "executor" | "concurrency"> = {}
): void => {
  const openFunction = (source: string, options: Harness.OpenOptions = {}) =>
    Harness.openFunction(source, { ...kind, ...options })
  const refusedBecause = (options: Harness.OpenOptions) => Harness.refusedBecause({ ...kind, ...options })

  const withExecutor = (cpus = 2) => <A, E>(test: Effect.Effect<A, E, JobExecutor | Scope.Scope>) =>
    Effect.provide(Effect.scoped(test), layerOf(cpus))

  const temporaryFolder = Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(`${os.tmpdir()}/dispy-test-`)),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
  )

  const date = new Date(5)

  describe(`${name} runs functions`, () => {
    it.live("returns values of sync and async functions, with the attempt and the times of the job", () =>
      withExecutor()(Effect.gen(function*() {
        const before = yield* Clock.currentTimeMillis
        const sync = yield* openFunction("(a, b) => a * b")
        const reply = yield* sync.run([6, 7])
        expect(valueOf(reply)).toBe(42)
        expect(reply.attempt).toBe(7)
        expect(reply.startMillis).toBeGreaterThan(before - 1000)
        expect(reply.startMillis).toBeLessThan((yield* Clock.currentTimeMillis) + 1000)
        expect(reply.durationMicros).toBeGreaterThanOrEqual(0)
        const later = yield* openFunction("async (n) => { await new Promise((done) => setTimeout(done, n)); return n }")
        expect(valueOf(yield* later.run([20]))).toBe(20)
      })))

    it.live("passes every cloneable value both ways, undefined too", () =>
      withExecutor()(Effect.gen(function*() {
        const echo = yield* openFunction("(value) => value")
        const cyclic: { self?: unknown } = {}
        cyclic.self = cyclic
        const values = [
          undefined,
          null,
          1n,
          new Map([[1, new Set(["a"])]]),
          date,
          new Float64Array([1.5]),
          "ü€😀"
        ]
        const ids = echo.submit([...values, cyclic].map((value) => [value]))
        const replies = yield* echo.replies(ids)
        expect(replies.slice(0, -1).map(valueOf)).toEqual(values)
        const back = valueOf(replies.at(-1)!) as { self: unknown }
        expect(back.self).toBe(back)
      })))

    it.live("gives functions what they captured and what compilers leave in their source", () =>
      withExecutor()(Effect.gen(function*() {
        const opened = yield* openFunction(
          "(n) => { const inner = /* @__PURE__ */ __name((m) => m * factor, \"inner\"); return [inner(n), inner.name] }",
          { captures: { factor: 3 } }
        )
        expect(valueOf(yield* opened.run([5]))).toEqual([15, "inner"])
      })))

    it.live("tells what a function threw, sync or async, with the user's stack only", () =>
      withExecutor()(Effect.gen(function*() {
        const opened = yield* openFunction(
          "function work(n) { if (n === 1) throw new TypeError(\"sync \" + n); return Promise.reject(\"async \" + n) }",
          { name: "work" }
        )
        const thrown = yield* opened.run([1])
        expect(outcomeOf(thrown)).toBe("failed")
        const error = errorOf(thrown)
        expect(error).toMatchObject({ name: "TypeError", message: "sync 1" })
        expect(error.stack).toMatch(/at work \(dispy:work:1:\d+\)/)
        expect(error.stack).not.toMatch(/src\/slot|dist\/slot/)
        const rejected = yield* opened.run([2])
        expect(outcomeOf(rejected)).toBe("failed")
        expect(errorOf(rejected).message).toContain("async 2")
      })))

    it.live("says where a result is that cannot be sent", () =>
      withExecutor()(Effect.gen(function*() {
        const opened = yield* openFunction("() => ({ a: [1, () => 1] })")
        const reply = yield* opened.run([])
        expect(outcomeOf(reply)).toBe("notCloneable")
        expect(errorOf(reply).message).toContain("result.a[1]")
      })))

    it.live("runs a generator to its end, takes its return value, and sends before it what it yields, in order", () =>
      withExecutor()(Effect.gen(function*() {
        const opened = yield* openFunction("function* count(n) { for (let i = 0; i < n; i++) yield i; return n }")
        const reply = yield* opened.run([3])
        expect(valueOf(reply)).toBe(3)
        expect(opened.provisional.map(valueOf)).toEqual([0, 1, 2])
        expect(opened.provisional.every((one) => one.jobId === reply.jobId && one.attempt === reply.attempt)).toBe(true)
        const later = yield* openFunction("async function* count(n) { for (let i = 0; i < n; i++) yield i; return n }")
        expect(valueOf(yield* later.run([4]))).toBe(4)
        expect(later.provisional.map(valueOf)).toEqual([0, 1, 2, 3])
      })))

    it.live("fails a job whose generator yields what cannot be sent, and names it", () =>
      withExecutor()(Effect.gen(function*() {
        const opened = yield* openFunction("function* work() { yield { a: [() => 1] }; return 1 }")
        const reply = yield* opened.run([])
        expect(outcomeOf(reply)).toBe("failed")
        expect(errorOf(reply).message).toContain("provisional result.a[0] is a function")
      })))

    it.live("calls the function for each item of a chunk; an item that fails does not stop the others", () =>
      withExecutor()(Effect.gen(function*() {
        for (const prefix of ["", "async "]) {
          const opened = yield* openFunction(
            `${prefix}(n) => { if (n % 3 === 0) throw new Error("no " + n); return n * 10 }`
          )
          const reply = yield* opened.run([1, 2, 3, 4, 5, 6], { flags: JobFlags.chunk })
          const [values, failures] = valueOf(reply) as [Array<unknown>, Array<[number, Uint8Array]>]
          expect(values).toEqual([10, 20, undefined, 40, 50, undefined])
          expect(failures.map(([index, error]) => [index, Values.decodeError(error).message])).toEqual([[2, "no 3"], [
            5,
            "no 6"
          ]])
          expect(valueOf(yield* opened.run([], { flags: JobFlags.chunk }))).toEqual([[], []])
        }
      })))
  })

  describe(`${name} takes functions and classes along`, () => {
    const point = {
      kind: "class",
      name: "Point",
      source: "class Point { constructor(x) { this.x = x } get double() { return twice(this.x) } }"
    } as const
    const twice = { kind: "function", name: "twice", source: "(n) => n * 2" } as const
    class Point {
      x = 0
    }
    const table = ClassTable.make([{ class: Point, hasPrivates: false }])

    it.live("has them in scope, and instances arrive as such both ways", () =>
      withExecutor()(Effect.gen(function*() {
        const opened = yield* openFunction(
          "(p) => { if (!(p instanceof Point)) throw new Error(\"plain\"); return new Point(p.double) }",
          { definitions: [twice, point] }
        )
        const args = Values.encodeArgs([Object.assign(new Point(), { x: 4 })], table)
        const reply = yield* opened.runEncoded(args)
        const value = Values.decode(reply.result, table)
        expect(value).toBeInstanceOf(Point)
        expect(value).toEqual(Object.assign(new Point(), { x: 8 }))
      })))

    it.live("defines those together that use each other", () =>
      withExecutor()(Effect.gen(function*() {
        const even = { kind: "function", name: "even", group: 1, source: "(n) => n === 0 || odd(n - 1)" } as const
        const odd = { kind: "function", name: "odd", group: 1, source: "(n) => n !== 0 && even(n - 1)" } as const
        const opened = yield* openFunction("(n) => [even(n), odd(n)]", { definitions: [even, odd] })
        expect(valueOf(yield* opened.run([7]))).toEqual([false, true])
      })))

    it.live("has those of a single job as globals while it runs, and not after it, also when it failed", () =>
      withExecutor(1)(Effect.gen(function*() {
        const opened = yield* openFunction(
          "(n) => { if (n === 0) return typeof add; if (n < 0) throw new Error(add(n)); return add(n) }",
          { definitions: [twice] }
        )
        const add = [{ kind: "function", name: "add", source: "(n) => twice(n) + 1" }]
        const argsOf = (n: number) =>
          JobDepends.join(Values.encode({ definitions: add, modules: [] }), Values.encodeArgs([n]))
        const options = { flags: JobFlags.depends }
        expect(valueOf(yield* opened.runEncoded(argsOf(3), options))).toBe(7)
        expect(valueOf(yield* opened.run([0]))).toBe("undefined")
        expect(outcomeOf(yield* opened.runEncoded(argsOf(-1), options))).toBe("failed")
        expect(valueOf(yield* opened.run([0]))).toBe("undefined")
        expect(outcomeOf(yield* opened.runEncoded(Uint8Array.from([255, 255, 255, 255]), options))).toBe("failed")
      })))
  })

  describe(`${name} runs what is around the jobs`, () => {
    const timeoutMillis = 20_000
    const from = (source: string) => aFunction(source)

    it.live("runs setup once with its arguments; what it returns and its globals are there for every job", () =>
      withExecutor()(Effect.gen(function*() {
        const setup = from(
          "async (n) => { const { mkdtempSync } = await import(\"node:fs\"); globalThis.conformanceTable = new Map([[1, n]]); " +
            "return { once: mkdtempSync((await import(\"node:os\")).tmpdir() + \"/dispy-test-\"), n } }"
        )
        const cleanup = from("async () => (await import(\"node:fs\")).rmdirSync(dispy.shared.once)")
        const made = yield* Effect.scoped(Effect.gen(function*() {
          const opened = yield* openFunction(
            "async (n) => { await new Promise((done) => setTimeout(done, 50)); " +
              "return [dispy.shared, globalThis.conformanceTable.get(1)] }",
            { lifecycle: { setup, cleanup, timeoutMillis }, setupArgs: [41] }
          )
          const replies = yield* opened.replies(opened.submit([[1], [2], [3], [4]]))
          const values = replies.map(valueOf) as Array<[{ once: string; n: number }, number]>
          expect(new Set(values.map(([shared]) => shared.once)).size).toBe(1)
          expect(values.map(([shared, entry]) => [shared.n, entry])).toEqual([[41, 41], [41, 41], [41, 41], [41, 41]])
          expect(fs.existsSync(values[0]![0].once)).toBe(true)
          return values[0]![0].once
        }))
        // cleanup saw what setup had left, and ran.
        expect(fs.existsSync(made)).toBe(false)
      })))

    it.live("runs setupSlot after setup, before the first job", () =>
      withExecutor(1)(Effect.gen(function*() {
        const opened = yield* openFunction("() => globalThis.conformanceSquare(7)", {
          lifecycle: {
            setup: from("() => ({ power: 2 })"),
            setupSlot: from("() => { globalThis.conformanceSquare = (n) => n ** dispy.shared.power }"),
            timeoutMillis
          }
        })
        expect(valueOf(yield* opened.run([]))).toBe(49)
      })))

    it.live("gives the arguments of setup to setupSlot and cleanup too", () =>
      withExecutor(1)(Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const note = (file: string) =>
          from(`async (folder, n) => (await import("node:fs")).writeFileSync(folder + "/${file}", "got " + n)`)
        const lifecycle = { setup: note("1"), setupSlot: note("2"), cleanup: note("3"), timeoutMillis }
        yield* Effect.scoped(Effect.gen(function*() {
          const opened = yield* openFunction("() => 1", { lifecycle, setupArgs: [folder, 41] })
          expect(valueOf(yield* opened.run([]))).toBe(1)
        }))
        const noted = ["1", "2", "3"].map((file) => fs.readFileSync(`${folder}/${file}`, "utf8"))
        expect(noted).toEqual(["got 41", "got 41", "got 41"])
      })))

    it.live("refuses the computation and says why when setup or setupSlot fails", () =>
      withExecutor(1)(Effect.gen(function*() {
        const setup = (source: string, millis = timeoutMillis) => ({
          lifecycle: { setup: from(source), timeoutMillis: millis }
        })
        expect(yield* refusedBecause(setup("() => { throw new TypeError(\"no data\") }"))).toMatch(
          /^setup failed: TypeError: no data/
        )
        expect(yield* refusedBecause(setup("async () => 3"))).toMatch(/^setup failed: it returned 3/)
        expect(yield* refusedBecause(setup("() => new Promise((done) => setTimeout(done, 60000))", 200))).toMatch(
          /^setup failed: it did not end within 200 ms; raise setupTimeout/
        )
        expect(yield* refusedBecause(setup("() => ({ a: { handler: () => 1 } })"))).toMatch(
          /the value that it returned\.a\.handler is a function; make it in setupSlot/
        )
        expect(yield* refusedBecause(setup("() => { globalThis.conformanceBad = { f: () => 1 } }"))).toMatch(
          /globalThis\.conformanceBad\.f is a function; make it in setupSlot/
        )
        const setupSlot = from("() => { throw new Error(\"no connection\") }")
        expect(yield* refusedBecause({ lifecycle: { setupSlot, timeoutMillis } })).toMatch(
          /setupSlot failed: Error: no connection/
        )
      })))
  })

  describe(`${name} keeps jobs in order and to the cpus`, () => {
    it.live("runs no more jobs of a computation at a time than it may use cpus, and as many as it may from then on", () =>
      withExecutor(4)(Effect.gen(function*() {
        const source = "async (n) => { await new Promise((done) => setTimeout(done, n)); return n }"
        const opened = yield* openFunction(source, { cpus: 1 })
        const most = (replies: ReadonlyArray<{ readonly startMillis: number; readonly durationMicros: number }>) => {
          const spans = replies.map(({ durationMicros, startMillis }) =>
            [startMillis, startMillis + durationMicros / 1000 - 2] as const
          )
          return Math.max(...spans.map(([at]) => spans.filter(([from, to]) => from <= at && at < to).length))
        }
        const some = Array.from({ length: 6 }, () => [20])
        expect(most(yield* opened.replies(opened.submit(some)))).toBe(1)
        opened.setCpus(3)
        const many = Array.from({ length: 40 }, () => [30])
        expect(most(yield* opened.replies(opened.submit(many)))).toBe(3)
      })))

    it.live("gives back what has not started when a computation may use no cpus, and tells which jobs run", () =>
      withExecutor(2)(Effect.gen(function*() {
        const opened = yield* openFunction("(n) => new Promise((done) => setTimeout(done, n))", { cpus: 1 })
        const [running, ...others] = opened.submit([[200], [1], [1]])
        // What is submitted while the executor is busy telling something counts a moment later.
        yield* Effect.yieldNow
        expect(opened.jobs()).toEqual({ running: [running], waiting: others })
        opened.setCpus(0)
        const late = opened.submit([[1]])
        const replies = yield* opened.replies([running!, ...others, ...late])
        // The first may have started already.
        expect(["succeeded", "returned"]).toContain(outcomeOf(replies[0]!))
        expect(replies.slice(1).map(outcomeOf)).toEqual(["returned", "returned", "returned"])
        expect(opened.jobs()).toEqual({ running: [], waiting: [] })
      })))

    it.live("runs jobs one at a time on one cpu, in the order of their arrival, over all computations", () =>
      withExecutor(1)(Effect.gen(function*() {
        const source =
          "async (n) => { const from = Date.now(); await new Promise((done) => setTimeout(done, 5)); return n }"
        const one = yield* openFunction(source)
        const two = yield* openFunction(source)
        const first = one.submit(Array.from({ length: 10 }, (_, i) => [i]))
        const second = two.submit(Array.from({ length: 10 }, (_, i) => [i]))
        const replies = [...(yield* one.replies(first)), ...(yield* two.replies(second))]
        expect(one.arrived.map(valueOf)).toEqual(first.map((_, i) => i))
        expect(two.arrived.map(valueOf)).toEqual(second.map((_, i) => i))
        const spans = replies.map((reply) =>
          [reply.startMillis, reply.startMillis + reply.durationMicros / 1000] as const
        )
        spans.sort(([a], [b]) => a - b)
        for (let i = 1; i < spans.length; i++) expect(spans[i]![0]).toBeGreaterThanOrEqual(spans[i - 1]![1] - 2)
      })))

    it.live("gives every one of 5,000 jobs exactly one reply", () =>
      withExecutor(2)(Effect.gen(function*() {
        const opened = yield* openFunction("(n) => n")
        const ids = Array.from({ length: 50 }, (_, batch) =>
          opened.submit(Array.from({ length: 100 }, (_n, i) => [batch * 100 + i])))
        const replies = yield* opened.replies(ids.flat())
        expect(replies.map(valueOf)).toEqual(replies.map((_, i) =>
          i
        ))
      })))
  })

  describe(`${name} ends jobs`, () => {
    const waiting = "(n) => new Promise((done) => { if (n === 0) done(0); else setTimeout(done, 60_000) })"

    it.live("cancels queued and running jobs, each with one reply, and leaves the others alone", () =>
      withExecutor(1)(Effect.gen(function*() {
        const opened = yield* openFunction(waiting, { graceMillis: 200 })
        const [running, queued, other] = opened.submit([[1], [1], [0]])
        opened.cancel([queued!, 4711])
        const [gone] = yield* opened.replies([queued!])
        expect(outcomeOf(gone!)).toBe("cancelled")
        expect(gone!.startMillis).toBe(0)
        opened.cancel([running!])
        const [killed, fine] = yield* opened.replies([running!, other!])
        expect(outcomeOf(killed!)).toBe("cancelled")
        expect(valueOf(fine!)).toBe(0)
        expect(opened.arrived).toHaveLength(3)
      })))

    it.live("ends a job that runs longer than its timeout, counted from its start", () =>
      withExecutor(1)(Effect.gen(function*() {
        const opened = yield* openFunction(waiting, { graceMillis: 100 })
        const [late, next] = opened.submit([[1], [0]], { timeoutMillis: 150 })
        const [overdue, fine] = yield* opened.replies([late!, next!])
        expect(outcomeOf(overdue!)).toBe("timedOut")
        expect(overdue!.durationMicros).toBeGreaterThanOrEqual(140_000)
        expect(valueOf(fine!)).toBe(0)
      })))

    it.live("gives back what has not started, and only that", () =>
      withExecutor(1)(Effect.gen(function*() {
        const opened = yield* openFunction("(n) => new Promise((done) => setTimeout(done, n))")
        const [quick, ...rest] = opened.submit([[0], [100], [100], [100]])
        yield* opened.replies([quick!])
        opened.returnQueued()
        const replies = yield* opened.replies(rest)
        for (const reply of replies) {
          expect(outcomeOf(reply)).toBe(reply.startMillis === 0 ? "returned" : "succeeded")
        }
        expect(outcomeOf(replies.at(-1)!)).toBe("returned")
        expect(valueOf(yield* opened.run([0]))).toBe(undefined)
      })))

    it.live("gives no replies any more when its scope is closed", () =>
      withExecutor(1)(Effect.gen(function*() {
        const opened = yield* Effect.scoped(Effect.gen(function*() {
          const inner = yield* openFunction(waiting)
          inner.submit([[1], [1]])
          return inner
        }))
        expect(opened.arrived).toEqual([])
        const next = yield* openFunction("() => 1")
        expect(valueOf(yield* next.run([]))).toBe(1)
        expect(opened.arrived).toEqual([])
      })))
  })

  describe(`${name} refuses`, () => {
    it.live("source text that does not compile, and what is not a function, naming the computation", () =>
      withExecutor()(Effect.gen(function*() {
        const broken = yield* Effect.flip(openFunction("(n) => {", { name: "broken" }))
        expect(broken._tag).toBe("ComputationRefused")
        expect(broken.message).toMatch(/cannot run broken: SyntaxError/)
        const value = yield* Effect.flip(openFunction("42", { name: "value" }))
        expect(value.message).toMatch(/value.*number.*not a function/)
      })))

    it.live("a program that is not there", () =>
      withExecutor()(Effect.gen(function*() {
        const refused = yield* Effect.flip(openCode({ _tag: "ProgramCode", program: "no-such-program-of-dispy" }))
        expect(refused._tag).toBe("ComputationRefused")
      })))
  })
}
