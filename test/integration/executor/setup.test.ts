/** What runs around the jobs: setup once and everywhere, failures that name their reason, cleanup before the files go. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { expect } from "vitest"
import { executorFiles } from "../../support/ExecutorFiles.ts"
import { aFunction, openCode, openFunction, outcomeOf, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess } from "../../support/ExecutorProcesses.ts"

const aFile = executorFiles("setup")

/** Source texts of what runs around the jobs. */
const around = (
  { timeoutMillis = 10_000, ...sources }: { readonly [K in "setup" | "setupSlot" | "cleanup"]?: string } & {
    readonly timeoutMillis?: number
  }
) => ({
  ...Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, aFunction(source)])),
  timeoutMillis
})

/** Little for what is to be late, and enough on a busy machine for all else. */
const timeFor = (reason: RegExp): number => reason.source.includes("300 ms") ? 300 : 60_000

const withFs = `const fs = process.getBuiltinModule("node:fs");`

describe.each(["process", "thread"] as const)("setup with executor %s", (executor) => {
  it.live("runs once, in the jobs' directory, and what it leaves is in every slot, a replaced one too", () =>
    Effect.gen(function*() {
      const log = aFile()
      const opened = yield* openFunction(
        `(n) => {
          if (n === -1) process.exit(1)
          return [dispy.shared, table.get("b"), process.getBuiltinModule("node:fs").readFileSync("made-by-setup", "utf8")]
        }`,
        {
          executor,
          setupArgs: [log, new Map([["b", 2]])],
          lifecycle: around({
            setup: `async (log, table) => { ${withFs}
              fs.appendFileSync(log, "setup ")
              fs.writeFileSync("made-by-setup", "here")
              globalThis.table = table
              await null
              return { rows: [1, 2] } }`
          })
        }
      )
      const expected = [{ rows: [1, 2] }, 2, "here"]
      const before = yield* opened.replies(opened.submit(Array.from({ length: 20 }, (_, n) => [n])))
      for (const reply of before) expect(valueOf(reply)).toEqual(expected)
      expect(outcomeOf(yield* opened.run([-1]))).toBe("slotDied")
      const after = yield* opened.replies(opened.submit(Array.from({ length: 20 }, (_, n) => [n])))
      for (const reply of after) expect(valueOf(reply)).toEqual(expected)
      expect(fs.readFileSync(log, "utf8")).toBe("setup ")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("is not run again when it ends its process: it may have done half of what is to be done once", () =>
    Effect.gen(function*() {
      const log = aFile()
      const setup = `(log) => { ${withFs} fs.appendFileSync(log, "begun "); process.exit(3) }`
      const error = yield* Effect.flip(
        openFunction("() => 1", { executor, setupArgs: [log], lifecycle: around({ setup }) })
      )
      expect(error.reason).toMatch(/^setup failed: .*exited with code 3/)
      expect(fs.readFileSync(log, "utf8")).toBe("begun ")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("refuses the computation, and says why, when it fails in any way", () =>
    Effect.gen(function*() {
      const failures: ReadonlyArray<readonly [string, RegExp]> = [
        ["() => { throw new RangeError('no table') }", /RangeError: no table \(at .*setup/],
        [
          "() => { console.log('looking'); console.error('for it'); return 3 }",
          /it returned 3, and a number other than 0 means/
        ],
        ["async () => Promise.reject(new Error('later'))", /Error: later/],
        ["() => process.exit(5)", /setup failed: .*exited with code 5/],
        ["() => process.kill(process.pid, 'SIGKILL')", /setup failed: .*SIGKILL/],
        ["() => { globalThis.call = () => 1 }", /globalThis.call(:| is a function).*setupSlot/],
        ["() => ({ a: [() => 1] })", /the value that it returned(\.a\[0\] is a function|: DataCloneError).*setupSlot/],
        ["() => { for (;;); }", /setup failed: it did not end within 300 ms; raise setupTimeout/],
        ["() => new Promise((done) => setTimeout(done, 1e6))", /setup failed: it did not end within 300 ms/]
      ]
      for (const [setup, reason] of failures) {
        const exit = yield* Effect.exit(Effect.scoped(
          openFunction("() => 1", { executor, lifecycle: around({ setup, timeoutMillis: timeFor(reason) }) })
        ))
        const error = yield* Effect.flip(exit)
        expect(error._tag).toBe("ComputationRefused")
        expect(error.reason).toMatch(reason)
        if (setup.includes("looking")) expect(error.reason).toMatch(/stdout: looking; stderr: for it/)
      }
      // The node itself is none the worse for it.
      const opened = yield* openFunction("() => dispy.shared", {
        executor,
        lifecycle: around({ setup: "() => 'fine'" })
      })
      expect(valueOf(yield* opened.run([]))).toBe("fine")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))), 60_000)
})

describe("setupSlot", () => {
  it.live("runs in every slot before its first job, after setup, and may leave what cannot be copied", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction("(n) => n === -1 ? process.exit(1) : [twice(n), process.pid]", {
        lifecycle: around({
          setup: "() => ({ factor: 2 })",
          setupSlot: "() => { const { factor } = dispy.shared; globalThis.twice = (n) => n * factor }"
        })
      })
      expect(valueOf(yield* opened.run([4]))).toMatchObject([8, expect.any(Number)])
      yield* opened.run([-1])
      expect(valueOf(yield* opened.run([5]))).toMatchObject([10, expect.any(Number)])
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live.each(["process", "thread"] as const)(
    "refuses the computation when it fails in any way, with executor %s, and says which of the two it was",
    (executor) =>
      Effect.gen(function*() {
        const failures: ReadonlyArray<readonly [string, RegExp]> = [
          ["() => { console.log('begun'); return 7 }", /^setupSlot failed: it returned 7.*; stdout: begun$/],
          ["() => { throw new RangeError('no table') }", /^setupSlot failed: RangeError: no table \(at .*setupSlot/],
          ["() => { for (;;); }", /^setupSlot failed: it did not end within 300 ms; raise setupTimeout/],
          ["() => process.exit(5)", /^setupSlot failed: .*exited with code 5/]
        ]
        for (const [setupSlot, reason] of failures) {
          const error = yield* Effect.flip(Effect.scoped(
            openFunction("() => 1", { executor, lifecycle: around({ setupSlot, timeoutMillis: timeFor(reason) }) })
          ))
          expect(error.reason).toMatch(reason)
        }
      }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 })))
  )
})

describe("cleanup", () => {
  it.live("runs once with what setup left, after the last job and before the files go", () =>
    Effect.gen(function*() {
      const log = aFile()
      const layer = layerProcess({ cpus: 2 })
      yield* Effect.gen(function*() {
        yield* Effect.scoped(Effect.gen(function*() {
          const opened = yield* openFunction("() => 1", {
            setupArgs: [log],
            lifecycle: around({
              setup: `(log) => { ${withFs} fs.writeFileSync("data", "12"); globalThis.word = "word"; return { n: 1 } }`,
              cleanup: `(log) => { ${withFs}
                fs.appendFileSync(log, JSON.stringify([dispy.shared, word, fs.readFileSync("data", "utf8")])) }`
            })
          })
          yield* opened.run([])
          expect(fs.existsSync(log)).toBe(false)
        }))
        expect(fs.readFileSync(log, "utf8")).toBe("[{\"n\":1},\"word\",\"12\"]")
      }).pipe(Effect.scoped, Effect.provide(layer))
    }))

  it.live("does not hold up the end for longer than its time, whatever it does", () =>
    Effect.gen(function*() {
      const opened = yield* Effect.scoped(Effect.gen(function*() {
        const computation = yield* openFunction("() => 'ran'", {
          lifecycle: around({ cleanup: "() => { for (;;); }", timeoutMillis: 200 })
        })
        return valueOf(yield* computation.run([]))
      }))
      expect(opened).toBe("ran")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})

describe("programs", () => {
  it.live("find the files of setup, and its globals that are texts or numbers in their environment", () =>
    Effect.gen(function*() {
      const opened = yield* openCode({ _tag: "ProgramCode", program: "sh" }, {
        lifecycle: around({
          setup:
            `() => { ${withFs} fs.writeFileSync("greeting", "hello"); globalThis.WORD = "world"; globalThis.N = 7 }`
        })
      })
      const reply = yield* opened.run(["-c", "echo $(cat greeting) $WORD $N"])
      expect(reply.stdout).toBe("hello world 7\n")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})
