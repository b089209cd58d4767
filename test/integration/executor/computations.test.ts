/** The three kinds of computations in real slots, and the surroundings of their jobs. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as path from "node:path"
import { afterAll, expect } from "vitest"
import type { Code } from "../../../src/domain/Computation.ts"
import { errorOf, openCode, openFunction, outcomeOf, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess, leftDirectories } from "../../support/ExecutorProcesses.ts"

afterAll(() => expect(leftDirectories()).toEqual([]))

const utf8 = new TextEncoder()

const aModule = (code: string, exportName = "default"): Code => ({ _tag: "ModuleCode", code, exportName })

const aScript = (program: string, text: string, runner?: string): Code => ({
  _tag: "ProgramCode",
  program,
  bytes: utf8.encode(text),
  ...(runner === undefined ? {} : { runner })
})

const withExecutor = Effect.provide(layerProcess({ cpus: 2, nodeName: "n1", ipAddr: "192.0.2.7" }))

describe("a module", () => {
  it.live("is loaded once per slot and its export called per job", () =>
    Effect.gen(function*() {
      const opened = yield* openCode(aModule(
        "import { basename } from 'node:path'\nlet calls = 0\nexport const work = async (file) => [basename(file), ++calls]",
        "work"
      ))
      expect(valueOf(yield* opened.run(["/a/b"]))).toEqual(["b", 1])
      expect(valueOf(yield* opened.run(["/a/c"]))).toEqual(["c", 2])
    }).pipe(Effect.scoped, withExecutor))

  it.live("has stacks in its sources by its source map", () =>
    Effect.gen(function*() {
      // One line of code that stands for line 3 of `render.ts`.
      const map = {
        version: 3,
        sources: ["render.ts"],
        sourcesContent: ["\n\nexport default () => { throw new Error('x') }"],
        names: [],
        mappings: "AAEA"
      }
      const encoded = Buffer.from(JSON.stringify(map)).toString("base64")
      const opened = yield* openCode(aModule(
        `export default () => { throw new Error('mapped') }\n//# sourceMappingURL=data:application/json;base64,${encoded}`
      ))
      const reply = yield* opened.run([])
      expect(errorOf(reply).stack).toMatch(/render\.ts:3:\d+/)
    }).pipe(Effect.scoped, withExecutor))

  it.live("is refused without its export, when it throws, and when it ends the process while it loads", () =>
    Effect.gen(function*() {
      const missing = yield* Effect.flip(openCode(aModule("export const a = 1, b = 2", "render"), { name: "render" }))
      expect(missing.message).toMatch(/render.*no export "render"; it exports a, b/)
      const thrown = yield* Effect.flip(openCode(aModule("throw new RangeError('at load')")))
      expect(thrown.message).toContain("RangeError: at load")
      const ended = yield* Effect.flip(openCode(aModule("process.exit(4)")))
      expect(ended.message).toContain("exited with code 4")
    }).pipe(Effect.scoped, withExecutor))
})

describe("a program", () => {
  it.live("gets its arguments and gives its exit status and what it printed", () =>
    Effect.gen(function*() {
      const opened = yield* openCode(aScript("greet.sh", "#!/bin/sh\necho \"hello $1\"; echo \"$2\" >&2; exit $3\n"))
      const reply = yield* opened.run(["wörld", "careful", "3"])
      expect(valueOf(reply)).toBe(3)
      expect(reply.stdout).toBe("hello wörld\n")
      expect(reply.stderr).toBe("careful\n")
      expect(valueOf(yield* opened.run(["", "", "0"]))).toBe(0)
    }).pipe(Effect.scoped, withExecutor))

  it.live("runs with a runner, finds its folder in the PATH, and knows its job and node", () =>
    Effect.gen(function*() {
      const opened = yield* openCode(
        aScript("where", "command -v where; echo $DISPY_JOB_ID $DISPY_NODE_NAME $DISPY_IP_ADDR", "sh")
      )
      const reply = yield* opened.run([])
      const [found, facts] = reply.stdout.trim().split("\n")
      expect(path.basename(found!)).toBe("where")
      expect(facts).toBe(`${reply.jobId} n1 192.0.2.7`)
    }).pipe(Effect.scoped, withExecutor))

  it.live("that is killed by a signal has its negative number as status", () =>
    Effect.gen(function*() {
      const opened = yield* openCode(aScript("suicide", "#!/bin/sh\nkill -9 $$\n"))
      expect(valueOf(yield* opened.run([]))).toBe(-9)
    }).pipe(Effect.scoped, withExecutor))

  it.live("refuses arguments that are not strings", () =>
    Effect.gen(function*() {
      const opened = yield* openCode({ _tag: "ProgramCode", program: "echo" })
      const reply = yield* opened.run(["a", 5])
      expect(outcomeOf(reply)).toBe("failed")
      expect(errorOf(reply).message).toBe("argument 2 of a program must be a string, not number")
    }).pipe(Effect.scoped, withExecutor))

  it.live("that is missing, or not executable, is refused with its name and the node's", () =>
    Effect.gen(function*() {
      const missing = yield* Effect.flip(openCode({ _tag: "ProgramCode", program: "no-such-program" }))
      expect(missing.message).toMatch(/no-such-program is not found in the PATH \(node n1\)/)
      const runner = yield* Effect.flip(openCode(aScript("a.py", "", "no-such-runner")))
      expect(runner.message).toMatch(/no-such-runner/)
    }).pipe(Effect.scoped, withExecutor))

  it.live("ends on SIGTERM when its job is cancelled, and what it printed until then is kept", () =>
    Effect.gen(function*() {
      const opened = yield* openCode(
        aScript("wait.sh", "#!/bin/sh\ntrap 'echo ending; exit 5' TERM\necho started\nwhile :; do sleep 0.05; done\n"),
        { graceMillis: 5000 }
      )
      const [job] = opened.submit([[]], { timeoutMillis: 1000 })
      const [reply] = yield* opened.replies([job!])
      expect(outcomeOf(reply!)).toBe("timedOut")
      expect(reply!.stdout).toBe("started\nending\n")
      expect(valueOf({ ...reply!, outcome: 0 })).toBe(5)
    }).pipe(Effect.scoped, withExecutor))
})

describe("the surroundings of a job", () => {
  it.live("are its computation's directory, a clean environment, and dispy", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction(
        "() => [process.cwd(), process.env, dispy.jobId, dispy.nodeName, dispy.ipAddr]"
      )
      const reply = yield* opened.run([])
      const [cwd, env, jobId, nodeName, ipAddr] = valueOf(reply) as [
        string,
        Record<string, string>,
        number,
        string,
        string
      ]
      expect(path.basename(cwd)).toBe("work")
      expect([jobId, nodeName, ipAddr]).toEqual([reply.jobId, "n1", "192.0.2.7"])
      const allowed = /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|TMP|TEMP|DISPY_SLOT)$/
      expect(Object.keys(env).filter((name) => !allowed.test(name))).toEqual([])
      const second = yield* openFunction("() => process.cwd()")
      expect(valueOf(yield* second.run([]))).not.toBe(cwd)
    }).pipe(Effect.scoped, withExecutor))

  it.live("let a function import what Node has", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction("async () => (await import('node:path')).join('a', 'b')")
      expect(valueOf(yield* opened.run([]))).toBe("a/b")
    }).pipe(Effect.scoped, withExecutor))

  it.live("do not let a result through that is too large for a message", () =>
    Effect.gen(function*() {
      const opened = yield* openFunction("(size) => new Uint8Array(size)")
      const reply = yield* opened.run([49 * 1024 * 1024])
      expect(outcomeOf(reply)).toBe("notCloneable")
      expect(errorOf(reply).message).toMatch(/the result has \d+ bytes, more than the 50331648 that can be sent/)
      expect((valueOf(yield* opened.run([40 * 1024 * 1024])) as Uint8Array).length).toBe(40 * 1024 * 1024)
    }).pipe(Effect.scoped, withExecutor))
})
