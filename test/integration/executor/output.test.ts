/** What a job prints comes with its reply: its own only, all of it up to the limit, from children and native code too. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { afterAll, expect } from "vitest"
import { ReplyFlags } from "../../../src/domain/wire/Entries.ts"
import { openFunction, outcomeOf, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess, leftDirectories } from "../../support/ExecutorProcesses.ts"

afterAll(() => expect(leftDirectories()).toEqual([]))

const children = `const { execFileSync, spawn, spawnSync } = process.getBuiltinModule("node:child_process");`

describe("what a job prints", () => {
  it.live("comes with its own reply, from console and streams, in order", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`async (n) => {
        console.log("log", n)
        process.stdout.write("write " + n + "\\n")
        console.error("error", n)
        if (n % 7 === 0) await null
        console.table([n])
        process.stderr.write(Buffer.from("bytes\\n"))
      }`)
      const replies = yield* opened.replies(opened.submit(Array.from({ length: 300 }, (_, i) => [i])))
      replies.forEach((reply, i) => {
        expect(reply.stdout).toMatch(new RegExp(`^log ${i}\nwrite ${i}\n┌[^]* ${i} +│\n└[^]*┘\n$`))
        expect(reply.stderr).toBe(`error ${i}\nbytes\n`)
        expect(reply.flags).toBe(0)
      })
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("is cut in the middle beyond the limit, and says how much is missing", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `(lines) => { for (let i = 0; i < lines; i++) console.log("line " + i + " ü"); console.error("one") }`,
        { outputLimitBytes: 1000 }
      )
      const reply = yield* opened.run([100_000])
      expect(reply.stdout).toMatch(/^line 0 ü\nline 1 ü\n/)
      expect(reply.stdout).toMatch(/line 99998 ü\nline 99999 ü\n$/)
      const [, cut] = /\n\.\.\. dispy: (\d+) bytes were cut here \.\.\.\n/.exec(reply.stdout) ?? []
      expect(Number(cut)).toBeGreaterThan(1_300_000)
      expect(reply.stdout).not.toContain("\ufffd")
      expect(reply.stdout.length).toBeLessThan(1100)
      expect(reply.flags).toBe(ReplyFlags.stdoutTruncated)
      expect(reply.stderr).toBe("one\n")
      expect((yield* opened.run([1])).stdout).toBe("line 0 ü\n")
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("is bounded in memory however much it is", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`(count) => {
        const text = "x".repeat(1 << 20)
        for (let i = 0; i < count; i++) process.stdout.write(text)
        return process.resourceUsage().maxRSS
      }`)
      const small = valueOf(yield* opened.run([1])) as number
      const before = process.memoryUsage().rss
      const large = valueOf(yield* opened.run([1024])) as number
      expect(large - small).toBeLessThan(200 * 1024)
      expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})

describe("what children and native code print", () => {
  it.live("comes with the job that started them, between what other jobs print", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(`async (n) => {
        ${children}
        console.log("job " + n)
        if (n % 3 === 0) execFileSync("sh", ["-c", "echo sync " + n + "; echo oops >&2"], { stdio: "inherit" })
        if (n % 3 === 1) {
          const child = spawn("sh", ["-c", "echo async " + n], { stdio: ["ignore", "inherit", "inherit"] })
          await new Promise((done) => child.on("exit", done))
        }
        if (n % 3 === 2) process.getBuiltinModule("node:fs").writeSync(1, "raw " + n + "\\n")
      }`)
      const replies = yield* opened.replies(opened.submit(Array.from({ length: 60 }, (_, i) => [i])))
      replies.forEach((reply, i) => {
        const kind = ["sync", "async", "raw"][i % 3]
        expect(reply.stdout).toBe(`job ${i}\n${kind} ${i}\n`)
        expect(reply.stderr).toBe(i % 3 === 0 ? "oops\n" : "")
      })
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 }))))

  it.live("keeps the whole of a flood within the limit", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `() => { ${children} spawnSync("sh", ["-c", "yes | head -c 20000000"], { stdio: "inherit" }) }`,
        { outputLimitBytes: 10_000 }
      )
      const reply = yield* opened.run([])
      expect(outcomeOf(reply)).toBe("succeeded")
      expect(reply.stdout.length).toBeLessThan(11_000)
      expect(reply.stdout).toContain("bytes were cut here")
      expect(reply.flags).toBe(ReplyFlags.stdoutTruncated)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))

  it.live("does not hold up the reply when the job has closed its descriptors", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        `() => { ${children} const fs = process.getBuiltinModule("node:fs"); fs.closeSync(1); fs.closeSync(2); return 1 }`
      )
      expect(valueOf(yield* opened.run([]))).toBe(1)
    }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 1 }))))
})
