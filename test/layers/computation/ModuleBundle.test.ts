import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { promisify } from "node:util"
import {
  BundleFailed,
  ExportNotFound,
  ExportNotFunction,
  ModuleNotFound,
  NativeAddon
} from "../../../src/domain/ComputationError.ts"
import * as ModuleBundle from "../../../src/layers/computation/ModuleBundle.ts"

const run = promisify(execFile)
const fixture = (name: string) => new URL(`../../fixtures/computation/${name}`, import.meta.url)
const bundle = (name: string, exportName: string) => ModuleBundle.bundle({ module: fixture(name), exportName })
const refusal = (name: string, exportName: string) => Effect.flip(bundle(name, exportName))

const folder = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(path.join(os.tmpdir(), "bundle-"))),
  (created) => Effect.promise(() => fs.rm(created, { recursive: true, force: true }))
)

/** Imports a bundle in another process, far from any node_modules, and evaluates `code` with it as `module`. */
const evaluate = Effect.fnUntraced(function*(bundled: ModuleBundle.Bundle, code: string) {
  const file = path.join(yield* folder, "code.mjs")
  yield* Effect.promise(() => fs.writeFile(file, bundled.code))
  const script = `const module = await import(${
    JSON.stringify(pathToFileURL(file).href)
  })\nconsole.log(JSON.stringify(${code}))`
  const args = ["--enable-source-maps", "--input-type=module", "-e", script]
  const { stdout } = yield* Effect.promise(() => run(process.execPath, args, { cwd: path.dirname(file) }))
  return JSON.parse(stdout)
})

/** Whether a process is there, and not just its exit status that nobody has read. */
const isRunning = (pid: number): boolean => {
  const { stdout } = spawnSync("ps", ["-o", "stat=", "-p", String(pid)])
  return /^[^Z]/.test(stdout.toString().trim())
}

describe("ModuleBundle", () => {
  it.live("bundles TypeScript, local files, npm packages, CommonJS, JSON and top-level await", () =>
    Effect.gen(function*() {
      const bundled = yield* bundle("render.ts", "render")
      expect(yield* evaluate(bundled, "module.render({ row: 4 })")).toEqual([
        8,
        `${path.sep} function string string`,
        3,
        "loaded",
        "BinaryExpression"
      ])
      expect(bundled.inputs).toEqual(expect.arrayContaining([
        "test/fixtures/computation/render.ts",
        "test/fixtures/computation/lib/scale.ts",
        "test/fixtures/computation/lib/legacy.cjs",
        "test/fixtures/computation/lib/settings.json"
      ]))
      expect(bundled.inputs.some((input) => input.includes("node_modules/acorn/"))).toBe(true)
      expect(bundled.externals).toEqual([])
      expect(bundled.sha256).toBe(createHash("sha256").update(bundled.code).digest("hex"))
    }))

  it.live("makes the same bundle from the same module", () =>
    Effect.gen(function*() {
      expect((yield* bundle("names.ts", "names")).sha256).toBe((yield* bundle("names.ts", "names")).sha256)
    }))

  it.live("gives the export alone, whichever way the module exports it", () =>
    Effect.gen(function*() {
      for (const name of ["default", "scale", "resize", "a name with blanks", "fails"]) {
        const bundled = yield* bundle("render.ts", name)
        const code = `[Object.keys(module), typeof module[${JSON.stringify(name)}]]`
        expect(yield* evaluate(bundled, code)).toEqual([[name], "function"])
      }
      expect((yield* bundle("render.ts", "resize")).code).not.toContain("no function")
    }))

  it.live("bundles an export of a CommonJS module", () =>
    Effect.gen(function*() {
      const bundled = yield* bundle("lib/legacy.cjs", "separator")
      expect(yield* evaluate(bundled, "module.separator()")).toBe(`${path.sep} function string string`)
    }))

  it.live("bundles a large package", () =>
    Effect.gen(function*() {
      expect(yield* evaluate(yield* bundle("with-effect.ts", "twice"), "await module.twice(21)")).toBe(42)
    }))

  it.live("leaves the user's own require, __filename and __dirname alone", () =>
    Effect.gen(function*() {
      const bundled = yield* bundle("names.ts", "names")
      expect(yield* evaluate(bundled, "module.names()")).toEqual([
        "function",
        true,
        `${path.sep} function string string`
      ])
    }))

  it.live("names the original file and line in stacks", () =>
    Effect.gen(function*() {
      const bundled = yield* bundle("render.ts", "fails")
      const stack = yield* evaluate(
        bundled,
        "(() => { try { module.fails(1) } catch (error) { return error.stack } })()"
      )
      const text = yield* Effect.promise(() => fs.readFile(fixture("render.ts"), "utf8"))
      const line = text.split("\n").findIndex((item) => item.includes("throw new RangeError")) + 1
      expect(stack).toContain("RangeError: no 1")
      expect(stack).toContain(`${fileURLToPath(fixture("render.ts"))}:${line}:9`)
    }))

  it.live("gives import.meta.url the place of the bundle", () =>
    Effect.gen(function*() {
      expect(yield* evaluate(yield* bundle("render.ts", "place"), "module.place()")).toMatch(/^file:.*\/code\.mjs$/)
    }))

  it.live("takes a path from the current directory, or the text of a URL", () =>
    Effect.gen(function*() {
      const relative = path.relative(process.cwd(), fileURLToPath(fixture("names.ts")))
      const first = yield* ModuleBundle.bundle({ module: relative, exportName: "names" })
      const second = yield* ModuleBundle.bundle({ module: fixture("names.ts").href, exportName: "names" })
      expect(first.sha256).toBe(second.sha256)
    }))

  it.live("says where there is no module", () =>
    Effect.gen(function*() {
      for (
        const module of [fixture("nowhere.ts"), new URL("http://example.org/a.ts"), fixture("lib/"), "", "nowhere.ts"]
      ) {
        const error = yield* Effect.flip(ModuleBundle.bundle({ module, exportName: "x" }))
        expect(error).toBeInstanceOf(ModuleNotFound)
      }
      expect((yield* refusal("nowhere.ts", "x")).message).toContain(fileURLToPath(fixture("nowhere.ts")))
    }))

  it.live("suggests the export that was meant, among all that the module has", () =>
    Effect.gen(function*() {
      const error = yield* refusal("render.ts", "rendr")
      expect(error).toBeInstanceOf(ExportNotFound)
      expect(error).toMatchObject({
        available: expect.arrayContaining(["render", "default", "scale", "resize", "a name with blanks"])
      })
      expect(error.message).toContain("has no export rendr; did you mean render?")
      expect((yield* refusal("render.ts", "resise")).message).toContain("did you mean resize?")
      expect((yield* refusal("names.ts", "default")).message).toContain("has no default export")
    }))

  it.live("refuses an export that plainly is no function", () =>
    Effect.gen(function*() {
      const received = { title: "a string", options: "an object", Renderer: "a class" }
      for (const [name, what] of Object.entries(received)) {
        const error = yield* refusal("render.ts", name)
        expect(error).toBeInstanceOf(ExportNotFunction)
        expect(error.message).toContain(`export ${name} of module ${fileURLToPath(fixture("render.ts"))} is ${what};`)
      }
    }))

  it.live("shows the bundler's complaints with file, line and column", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const complaint = Effect.fnUntraced(function*(text: string) {
        const module = path.join(files, "module.ts")
        yield* Effect.promise(() => fs.writeFile(module, text))
        const error = yield* Effect.flip(ModuleBundle.bundle({ module, exportName: "broken" }))
        expect(error).toBeInstanceOf(BundleFailed)
        expect((error as BundleFailed).errors[0]?.file).toBe(path.relative(process.cwd(), module))
        return error.message
      })
      expect(yield* complaint("export const broken = (n: number) => {\n  return n +\n}\n")).toMatch(
        /^module \S+\/module\.ts cannot be bundled:\n {2}\S+\/module\.ts:3:1: Unexpected "\}"$/
      )
      const missing = yield* complaint(
        `import { a } from "./nowhere.ts"\nimport b from "no-such-package"\nexport const broken = () => [a, b]\n`
      )
      expect(missing).toContain(`module.ts:1:19: Could not resolve "./nowhere.ts"`)
      expect(missing).toContain(`module.ts:2:15: Could not resolve "no-such-package"`)
      yield* Effect.promise(() => fs.writeFile(path.join(files, "other.ts"), "export const name = 1"))
      expect(yield* complaint(`import { nam } from "./other.ts"\nexport const broken = () => nam\n`)).toMatch(
        /module\.ts:1:10: No matching export in "\S+other\.ts" for import "nam"/
      )
    }))

  it.live("names a native addon of the user, which cannot work elsewhere", () =>
    Effect.gen(function*() {
      const error = yield* refusal("addon/own.cjs", "run")
      expect(error).toBeInstanceOf(NativeAddon)
      expect(error.message).toContain("imports the native addon ./build/Release/addon.node")
    }))

  it.live("leaves packages with native parts to the nodes and names them", () =>
    Effect.gen(function*() {
      const { code, externals } = yield* bundle("native-package.ts", "bundles")
      expect(externals).toEqual(["esbuild"])
      expect(code.length).toBeLessThan(5000)
    }))

  it.live("loads esbuild only to bundle, and its helper neither delays the program's end nor outlives it", () =>
    Effect.gen(function*() {
      const started = performance.now()
      const args = ["--no-warnings", fileURLToPath(fixture("bundle-and-end.ts"))]
      const { stdout } = yield* Effect.promise(() => run(process.execPath, args, { timeout: 20_000 }))
      const { before, helper, inputs } = JSON.parse(stdout)
      expect(before).toBe(false)
      expect(inputs).toBe(2)
      expect(helper).toBeGreaterThan(0)
      expect(performance.now() - started).toBeLessThan(20_000)
      // It ends when it reads the end of the pipe to the program that is gone.
      yield* Effect.repeat(Effect.sync(() => isRunning(helper)), { until: (running) => !running })
    }))
})
