import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Errors from "../../src/domain/ComputationError.ts"
import { FileTooLarge } from "../../src/domain/TransferError.ts"

const examples = [
  new Errors.NotAFunction({ received: "an object" }),
  new Errors.UnsupportedFunction({ computation: "max", reason: "it is a native function" }),
  new Errors.FreeVariables({ computation: "f", variables: [{ name: "x", line: 1, column: 2 }] }),
  new Errors.ModuleNotFound({ module: "/a/b.ts" }),
  new Errors.ExportNotFound({ module: "/a/b.ts", exportName: "rendr", available: ["render"] }),
  new Errors.ExportNotFunction({ module: "/a/b.ts", exportName: "render", received: "a string" }),
  new Errors.BundleFailed({ module: "/a/b.ts", errors: [{ text: "no", file: "c.ts", line: 3, column: 4 }] }),
  new Errors.NativeAddon({ module: "/a/b.ts", file: "x.node" }),
  new Errors.ProgramNotFound({ program: "./p", searched: ["/a/p"] }),
  new Errors.NotExecutable({ program: "./p" }),
  new Errors.ComputationTooLarge({ computation: "f", sizeBytes: 70_000_000, limitBytes: 50_000_000 }),
  new Errors.ModuleIsProgram({ module: "/a/b.ts" }),
  new Errors.FileNotUsable({ file: "/a/b.csv", reason: "there is no such file or directory" }),
  new Errors.FilesCollide({ files: ["/a/b.csv", "/c/b.csv"], place: "b.csv" }),
  new FileTooLarge({ file: "/a/b.csv", sizeBytes: 2000, limitBytes: 1000, limitOf: "this cluster" }),
  new Errors.InvalidDepend({ entry: "class Point", reason: "there is another of this name; rename one of them" }),
  new Errors.NotCloneable({ what: "captures of f", path: "value.g", type: "function" })
]

const Any = Schema.Union([
  Errors.NotAFunction,
  Errors.UnsupportedFunction,
  Errors.FreeVariables,
  Errors.ModuleNotFound,
  Errors.ExportNotFound,
  Errors.ExportNotFunction,
  Errors.BundleFailed,
  Errors.NativeAddon,
  Errors.ProgramNotFound,
  Errors.NotExecutable,
  Errors.NotCloneable,
  Errors.InvalidDepend,
  Errors.ComputationTooLarge,
  Errors.ModuleIsProgram,
  Errors.FileNotUsable,
  Errors.FilesCollide,
  FileTooLarge
])

describe("ComputationError", () => {
  it("survives its codec, every one of them", () => {
    for (const error of examples) {
      const copy = Schema.decodeUnknownSync(Any)(Schema.encodeSync(Any)(error))
      expect(copy).toBeInstanceOf(error.constructor)
      expect(copy.message).toBe(error.message)
    }
  })

  it("suggests the export that was meant", () => {
    expect(new Errors.ExportNotFound({ module: "m.ts", exportName: "rendr", available: ["render", "x"] }).message)
      .toBe("module m.ts has no export rendr; did you mean render? It exports render, x")
    expect(new Errors.ExportNotFound({ module: "m.ts", exportName: "default", available: [] }).message)
      .toBe("module m.ts has no default export. It exports nothing")
  })

  it("shows where a bundle failed", () => {
    const errors = Array.from({ length: 12 }, (_, i) => ({ text: `problem ${i}`, file: "c.ts", line: i, column: 4 }))
    const { message } = new Errors.BundleFailed({ module: "m.ts", errors })
    expect(message).toContain("module m.ts cannot be bundled:\n  c.ts:0:4: problem 0\n")
    expect(message).toMatch(/and 2 more$/)
  })
})
