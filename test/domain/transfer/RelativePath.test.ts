import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as path from "node:path"
import * as RelativePath from "../../../src/domain/transfer/RelativePath.ts"
import { hostileNames } from "../../support/HostileNames.ts"

const name = fc.stringMatching(/^[a-zA-Z0-9 _.äß日本😀-]{1,20}$/u)

describe("a path of a peer", () => {
  it("is taken when it is an ordinary one", () => {
    for (
      const good of [
        "a",
        "a/b/c.txt",
        ".hidden",
        "..a",
        "a..b",
        "con fusion",
        "naïve/日本 😀.csv",
        "12:30 notes",
        "x".repeat(255)
      ]
    ) {
      expect([good, RelativePath.problem(good)]).toEqual([good, undefined])
    }
  })

  it("is refused when it is hostile: all 500 of the corpus", () => {
    expect(hostileNames.length).toBeGreaterThanOrEqual(500)
    for (const hostile of hostileNames) {
      expect([hostile, typeof RelativePath.problem(hostile)]).toEqual([hostile, "string"])
    }
  })

  it("leads below the directory, on this system and on Windows, whatever text it is", () => {
    const pieces = fc.array(
      fc.oneof(fc.constantFrom("..", ".", "/", "\\", "C:", "\0", "~", "%2e", "．．", "／", ""), name, fc.string())
    )
    fc.assert(
      fc.property(pieces, (parts) => {
        const text = parts.join("")
        if (RelativePath.problem(text) !== undefined) return
        for (const [system, root] of [[path.posix, "/root/of"], [path.win32, "C:\\root\\of"]] as const) {
          const joined = system.resolve(root, text)
          expect(joined.startsWith(root + system.sep)).toBe(true)
          const back = system.relative(root, joined).split(system.sep)
          expect(back.every((part) => part !== ".." && part !== "")).toBe(true)
        }
      }),
      { numRuns: 2000 }
    )
  })
})

describe("a set of paths", () => {
  it("is refused when two are one file, or one is a directory of the other, on some file system", () => {
    const clashes = [
      ["a", "a"],
      ["Readme", "README"],
      ["straße", "STRASSE"],
      ["é", "e\u0301"],
      ["ﬁle", "file"],
      ["a", "a/b"],
      ["A", "a/b"],
      ["Data/x", "data/y"]
    ]
    for (const pair of clashes) {
      expect([pair, RelativePath.collision(["other", ...pair])]).toEqual([pair, expect.any(Array)])
    }
    expect(RelativePath.collision(["a/b", "a/c", "a.b", "b/a/c"])).toBeUndefined()
  })

  it("has no collision exactly when all folded paths and their parents tell files from directories", () => {
    const paths = fc.uniqueArray(
      fc.array(fc.constantFrom("a", "A", "b", "c"), { minLength: 1, maxLength: 3 }).map((names) => names.join("/"))
    )
    fc.assert(
      fc.property(paths, (all) => {
        const folded = all.map(RelativePath.fold)
        const isFileTwice = new Set(folded).size < folded.length
        const isBoth = folded.some((one) => folded.some((other) => other.startsWith(`${one}/`)))
        const parents = all.flatMap((one) =>
          one.split("/").slice(0, -1).map((_, i) => one.split("/").slice(0, i + 1).join("/"))
        )
        const isDirectoryTwice = new Set(parents).size > new Set(parents.map(RelativePath.fold)).size
        expect(RelativePath.collision(all) !== undefined).toBe(isFileTwice || isBoth || isDirectoryTwice)
      })
    )
  })
})
