/** Files that single jobs take along: shared, waited for, and gone with the last job that uses them. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as FileUses from "../../../src/domain/node/FileUses.ts"

const entry = (path: string, content = "1") => ({ path, sha256: content.repeat(64), sizeBytes: 1, mode: 0o644 })

const removed = (uses: FileUses.FileUses, job: string) => FileUses.release(uses, job).map(({ path }) => path)

describe("files that jobs take along", () => {
  it("are shared by jobs that bring the same content, and go with the last of them", () => {
    const uses = FileUses.make()
    for (const job of ["a", "b"]) FileUses.take(uses, job, [entry("data/in.csv")])
    FileUses.at(uses, "data/in.csv")!.state = "brought"
    expect(removed(uses, "a")).toEqual([])
    expect(removed(uses, "a")).toEqual([])
    expect(removed(uses, "b")).toEqual(["data/in.csv"])
    expect(FileUses.at(uses, "data/in.csv")).toBeUndefined()
  })

  it("stay where they were found", () => {
    const uses = FileUses.make()
    FileUses.take(uses, "a", [entry("in.csv")])
    FileUses.at(uses, "in.csv")!.state = "found"
    expect(removed(uses, "a")).toEqual([])
  })

  it("clash with another content of the same place, also where only some file systems see the same place", () => {
    const uses = FileUses.make()
    FileUses.take(uses, "a", [entry("In.csv")])
    expect(FileUses.clash(uses, [entry("other.csv"), entry("In.csv", "2")])?.path).toBe("In.csv")
    expect(FileUses.clash(uses, [entry("in.csv")])?.path).toBe("in.csv")
    expect(FileUses.clash(uses, [entry("In.csv")])).toBeUndefined()
    FileUses.release(uses, "a")
    expect(FileUses.clash(uses, [entry("In.csv", "2")])).toBeUndefined()
  })

  it("are removed exactly once, by the last that uses them, whatever the order of jobs", () => {
    const step = fc.record({
      job: fc.constantFrom("a", "b", "c", "d"),
      files: fc.uniqueArray(fc.constantFrom("x", "y", "z")),
      isEnd: fc.boolean()
    })
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const uses = FileUses.make()
      const model = new Map<string, ReadonlyArray<string>>()
      for (const { files, isEnd, job } of steps) {
        if (!isEnd && !model.has(job)) {
          FileUses.take(uses, job, files.map((name) => entry(name)))
          for (const name of files) FileUses.at(uses, name)!.state = "brought"
          model.set(job, files)
        } else if (isEnd) {
          const held = model.get(job) ?? []
          model.delete(job)
          const others = new Set([...model.values()].flat())
          expect(removed(uses, job).toSorted()).toEqual(
            held.filter((name) => !others.has(name)).toSorted()
          )
        }
        expect(uses.files.size).toBe(new Set([...model.values()].flat()).size)
        expect(uses.jobs.size).toBe(model.size)
      }
    }))
  })
})
