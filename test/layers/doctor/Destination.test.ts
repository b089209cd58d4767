/** Whether a node could keep files in a directory. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Destination from "../../../src/layers/doctor/Destination.ts"
import * as DaemonProcess from "../../support/DaemonProcess.ts"

const isRoot = process.getuid?.() === 0

const runsDirectory = (prefix: string): string => path.join(prefix, `dispy-${os.userInfo().username}`, "node")

describe("Destination", () => {
  it.live("finds nothing wrong with a directory of this user's, and leaves no file there", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const facts = yield* Destination.check(directory)
      expect(facts).toMatchObject({ directory, unusable: "" })
      expect(facts.freeBytes).toBeGreaterThan(0)
      expect(fs.readdirSync(runsDirectory(directory))).toEqual([])
    }))

  it.live("names what keeps a node out: a file in the way, or somebody who may write there", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const file = path.join(directory, "file")
      fs.writeFileSync(file, "")
      expect((yield* Destination.check(file)).unusable).toMatch(/ENOTDIR|not a directory/)
      yield* Destination.check(directory)
      fs.chmodSync(path.dirname(runsDirectory(directory)), 0o777)
      expect((yield* Destination.check(directory)).unusable).toContain("others may write to")
    }))

  it.live.skipIf(isRoot)(
    "names a directory that this user may not write to (skipped as root, who may)",
    () =>
      Effect.gen(function*() {
        const directory = yield* DaemonProcess.aDirectory
        fs.chmodSync(directory, 0o500)
        expect((yield* Destination.check(directory)).unusable).toContain("EACCES")
        fs.chmodSync(directory, 0o700)
      })
  )

  it.live.skipIf(!isRoot || process.platform !== "linux")(
    "finds a disk that is full, or can only be read (skipped where it cannot be mounted: needs root and Linux)",
    () =>
      Effect.gen(function*() {
        const directory = yield* DaemonProcess.aDirectory
        yield* Effect.acquireRelease(
          Effect.sync(() => execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", directory])),
          () => Effect.sync(() => execFileSync("umount", [directory]))
        )
        // Room for directories, and for less than is tried.
        fs.writeFileSync(path.join(directory, "ballast"), Buffer.alloc(512 * 1024))
        expect((yield* Destination.check(directory)).unusable).toMatch(/ENOSPC|no space left/)
        expect(fs.readdirSync(runsDirectory(directory))).toEqual([])
        execFileSync("mount", ["-o", "remount,ro", directory])
        expect((yield* Destination.check(directory)).unusable).toContain("EROFS")
      })
  )
})
