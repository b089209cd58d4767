/** Whether a dispynode on this machine could keep files: makes its directory as it would, and fills a little of it. */
import { Effect, Result } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { DestinationFacts } from "../../domain/doctor/Facts.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as NodeDirectory from "../node/NodeDirectory.ts"

/** Bytes that are written to see whether there is room: as much as travels without files. */
const probeBytes = 1024 * 1024

const fill = (directory: string): void => {
  const descriptor = fs.openSync(path.join(directory, "probe"), "wx", 0o600)
  try {
    // At once, or what a full disk has left is taken for all of it.
    const written = fs.writeSync(descriptor, Buffer.alloc(probeBytes, 1))
    if (written < probeBytes) throw new Error("no space left on the disk")
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

const freeBytesOf = (directory: string): number =>
  Result.getOrElse(
    Result.map(Result.try(() => fs.statfsSync(directory)), (stats) => stats.bavail * stats.bsize),
    () => 0
  )

/** Checks the directory that `--dest-path-prefix` names; everything it makes there goes again. */
export const check = (prefix: string): Effect.Effect<DestinationFacts> =>
  NodeDirectory.acquire(prefix).pipe(
    Effect.flatMap((directory) =>
      Effect.sync(() => {
        const filled = Result.try(() => fill(directory))
        return Result.isSuccess(filled) ? "" : messageOf(filled.failure)
      })
    ),
    Effect.catchTag("CannotStart", ({ reason }) => Effect.succeed(reason)),
    Effect.scoped,
    Effect.map((unusable) => ({ directory: prefix, unusable, freeBytes: freeBytesOf(prefix) }))
  )
