/** File systems that are soon full, for tests. */
import { Effect, type Scope } from "effect"
import { execFileSync } from "node:child_process"
import * as DaemonProcess from "./DaemonProcess.ts"

/** Where a file system of so many megabytes is mounted; undefined where this user cannot make one. */
export const make = Effect.fnUntraced(function*(
  megabytes: number
): Effect.fn.Return<string | undefined, never, Scope.Scope> {
  const directory = yield* DaemonProcess.aDirectory
  const isThere = yield* Effect.acquireRelease(
    Effect.sync(() => {
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", directory], { stdio: "ignore" })
        return true
      } catch {
        return false
      }
    }),
    (mounted) => Effect.sync(() => mounted && execFileSync("umount", ["-l", directory]))
  )
  return isThere ? directory : undefined
})

/** Makes it read-only, or writable again. */
export const setReadOnly = (directory: string, isReadOnly: boolean): Effect.Effect<void> =>
  Effect.sync(() => execFileSync("mount", ["-o", `remount,${isReadOnly ? "ro" : "rw"}`, directory]))
