import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { NotExecutable, ProgramNotFound } from "../../../src/domain/ComputationError.ts"
import * as Program from "../../../src/layers/computation/Program.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(path.join(os.tmpdir(), "program-"))),
  (created) => Effect.promise(() => fs.rm(created, { recursive: true, force: true }))
)

/** A file in a folder of its own. */
const aFile = Effect.fnUntraced(function*(name: string, text: string, mode = 0o644) {
  const cwd = yield* folder
  yield* Effect.promise(() => fs.writeFile(path.join(cwd, name), text, { mode }))
  yield* Effect.promise(() => fs.chmod(path.join(cwd, name), mode))
  return cwd
})

describe("Program", () => {
  it.live("sends an executable file with its permissions", () =>
    Effect.gen(function*() {
      const cwd = yield* aFile("simulate", "binary", 0o755)
      const expected = { kind: "file", name: "simulate", bytes: Buffer.from("binary"), mode: 0o755 }
      expect(yield* Program.resolve("./simulate", cwd)).toEqual(expected)
      expect(yield* Program.resolve(path.join(cwd, "simulate"))).toEqual(expected)
      expect(yield* Program.resolve(`../${path.basename(cwd)}/simulate`, cwd)).toEqual(expected)
    }))

  it.live("knows the interpreter of scripts by their ending", () =>
    Effect.gen(function*() {
      const endings = {
        js: "node",
        mjs: "node",
        cjs: "node",
        ts: "node",
        mts: "node",
        cts: "node",
        py: "python3",
        PY: "python3",
        java: "java"
      }
      for (const [ending, runner] of Object.entries(endings)) {
        const cwd = yield* aFile(`script.${ending}`, "1")
        expect(yield* Program.resolve(`./script.${ending}`, cwd)).toMatchObject({ runner, mode: 0o644 })
      }
    }))

  it.live("takes a script with a #! line that nobody may execute", () =>
    Effect.gen(function*() {
      const cwd = yield* aFile("run.sh", "#!/bin/sh\n")
      const found = yield* Program.resolve("./run.sh", cwd)
      expect(found).toMatchObject({ kind: "file", name: "run.sh", mode: 0o644 })
      expect(found).not.toHaveProperty("runner")
    }))

  it.live("follows links to what they mean", () =>
    Effect.gen(function*() {
      const cwd = yield* aFile("real", "#!/bin/sh\n")
      yield* Effect.promise(() => fs.symlink("real", path.join(cwd, "link")))
      expect(yield* Program.resolve("./link", cwd)).toMatchObject({ name: "link", bytes: Buffer.from("#!/bin/sh\n") })
    }))

  it.effect("leaves a bare word to the nodes, even where this machine has no such command", () =>
    Effect.gen(function*() {
      expect(yield* Program.resolve("no-such-command-anywhere")).toEqual({
        kind: "command",
        name: "no-such-command-anywhere"
      })
    }))

  it.live("refuses a file that cannot be executed and says how to make it so", () =>
    Effect.gen(function*() {
      const cwd = yield* aFile("data.txt", "text")
      const error = yield* Effect.flip(Program.resolve("./data.txt", cwd))
      expect(error).toBeInstanceOf(NotExecutable)
      expect(error.message).toMatch(/^\.\/data\.txt is not executable: chmod \+x it/)
    }))

  it.live("names the path of what does not exist or is no file", () =>
    Effect.gen(function*() {
      const cwd = yield* aFile("file", "text")
      const refusal = (program: string) => Effect.flip(Program.resolve(program, cwd))
      expect(yield* refusal("./missing")).toEqual(
        new ProgramNotFound({ program: "./missing", searched: [path.join(cwd, "missing")] })
      )
      expect((yield* refusal("./missing")).message).toContain(
        `there is no program ./missing (looked at ${cwd}/missing)`
      )
      expect((yield* refusal("./file/below")).message).toContain("there is no program ./file/below")
      expect((yield* refusal("./")).message).toContain("which is no file")
      expect(yield* refusal("")).toBeInstanceOf(ProgramNotFound)
    }))

  it.live("does not wait for a pipe", () =>
    Effect.gen(function*() {
      const cwd = yield* folder
      execFileSync("mkfifo", [path.join(cwd, "pipe")])
      const error = yield* Effect.flip(Program.resolve("./pipe", cwd))
      expect(error.message).toContain("which is no file")
    }))
})
