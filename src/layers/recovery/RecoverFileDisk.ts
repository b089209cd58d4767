/** The recover file of a program that died, in the hands of another: read, noted in what is done, removed at the end. */
import { Effect, Result } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import { ClientAlive, RecoverFileFailed } from "../../domain/RecoverError.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as ProcessName from "../files/ProcessName.ts"
import * as QueueJournal from "./QueueJournal.ts"

const readBytes = (file: string): Uint8Array => {
  const stats = fs.statSync(file)
  if (!stats.isFile()) throw new Error("it is not a file")
  if (stats.size > QueueJournal.maxBytes + 16 * 1024 * 1024) throw new Error("it is too large for a recover file")
  return fs.readFileSync(file)
}

const explain = (error: unknown): string => {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return "there is no such file; a cluster that was closed has removed its own"
    case "EACCES":
      return "this user may not read it; only the user of the program that wrote it can"
    default:
      return messageOf(error)
  }
}

/** Reads a recover file whose program is gone. */
export const read = Effect.fnUntraced(function*(
  file: string
): Effect.fn.Return<RecoverFile.RecoverFile, RecoverFileFailed | ClientAlive> {
  const found = Result.try({ try: () => readBytes(file), catch: explain }).pipe(Result.flatMap(RecoverFile.read))
  if (Result.isFailure(found)) return yield* new RecoverFileFailed({ file, reason: found.failure })
  const { client, host, process } = found.success.header
  if (host === os.hostname() && !ProcessName.isStale(process)) return yield* new ClientAlive({ file, client })
  return found.success
})

/** What could not be written down is done again by who recovers next; that is no reason to have nothing. */
const tolerate = (file: string, what: string, run: () => void): Effect.Effect<void> =>
  Effect.try({ try: run, catch: messageOf }).pipe(
    Effect.catch((reason) =>
      Effect.logWarning(
        `recover file ${file} cannot be ${what} (${reason}): with it jobs that were recovered are recovered again`
      )
    )
  )

/** Adds entries to the file, if it is still there. */
export const append = (file: string, entries: ReadonlyArray<RecoverFile.Entry>): Effect.Effect<void> =>
  tolerate(file, "written", () => {
    const descriptor = fs.openSync(file, fs.constants.O_WRONLY | fs.constants.O_APPEND)
    try {
      fs.writeFileSync(descriptor, Buffer.concat(entries.map(RecoverFile.encode)))
    } finally {
      fs.closeSync(descriptor)
    }
  })

/** Removes the file; nobody needs it any more. */
export const remove = (file: string): Effect.Effect<void> =>
  tolerate(file, "removed", () => {
    QueueJournal.removeArguments(file)
    fs.rmSync(file, { force: true })
  })
