/** The recover file of a program that died, in the hands of another: read, noted in what is done, removed at the end. */
import { Effect, FiberSet, Result, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import { ClientAlive, RecoverFileFailed } from "../../domain/RecoverError.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as ProcessName from "../files/ProcessName.ts"
import * as QueueJournal from "./QueueJournal.ts"
import * as RecordFile from "./RecordFile.ts"

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
  const user = userOf(found.success)
  if (user !== undefined) return yield* new ClientAlive({ file, client: user.client })
  return found.success
})

/** Reads a recover file whose program may still run. */
export const look = (file: string): Effect.Effect<RecoverFile.RecoverFile, RecoverFileFailed> =>
  Effect.fromResult(Result.try({ try: () => readBytes(file), catch: explain }).pipe(Result.flatMap(RecoverFile.read)))
    .pipe(Effect.mapError((reason) => new RecoverFileFailed({ file, reason })))

/** Keys of the recoveries of this process that have not ended. */
const own = new Set<string>()

type User = Pick<RecoverFile.Resumed, "client" | "host" | "process">

const isAlive = ({ host, process }: User): boolean => host === os.hostname() && !ProcessName.isStale(process)

/** Who writes the file now: its program, or the first of those that recover; undefined for nobody. */
export const userOf = (file: RecoverFile.RecoverFile): User | RecoverFile.Resumed | undefined =>
  isAlive(file.header) ? file.header : file.resumed.find((one) =>
    isAlive(one) && !file.released.has(one.recoverKey) &&
    (one.process !== ProcessName.own() || own.has(one.recoverKey))
  )

/** The file, as this recovery alone writes it. */
export interface Claim {
  readonly file: RecoverFile.RecoverFile
  readonly resumed: RecoverFile.Resumed
  readonly journals: QueueJournal.Journals
}

const appendNow = (file: string, entries: ReadonlyArray<RecoverFile.Entry>): void => {
  const descriptor = fs.openSync(file, fs.constants.O_WRONLY | fs.constants.O_APPEND)
  try {
    fs.writeFileSync(descriptor, Buffer.concat(entries.map(RecoverFile.encode)))
  } finally {
    fs.closeSync(descriptor)
  }
}

/** Room for what is said of a job that is run, about. */
const jobBytes = 64

/**
 * Makes this the only recovery that writes a file, until the scope is closed. It fails where there is no room to write
 * down what is run.
 */
export const claim = Effect.fnUntraced(function*(
  file: string,
  client: string
): Effect.fn.Return<Claim, RecoverFileFailed | ClientAlive, Scope.Scope> {
  const before = yield* read(file)
  const resumed: RecoverFile.Resumed = {
    _tag: "Resumed",
    generation: Math.max(0, ...before.resumed.map(({ generation }) => generation)) + 1,
    recoverKey: randomBytes(32).toString("base64url"),
    client,
    host: os.hostname(),
    process: ProcessName.own()
  }
  const attempt = <A>(run: () => A): Effect.Effect<A, RecoverFileFailed> =>
    Effect.try({
      try: run,
      catch: (error) =>
        new RecoverFileFailed({
          file,
          reason: `it cannot be written (${messageOf(error)}), and no job runs without being written down; ` +
            "make room, or get what there is with resume: false"
        })
    })
  yield* Effect.acquireRelease(
    Effect.sync(() => own.add(resumed.recoverKey)),
    () => Effect.sync(() => own.delete(resumed.recoverKey))
  )
  yield* attempt(() => appendNow(file, [resumed]))
  const after = yield* look(file)
  const user = userOf(after)
  if (user === undefined || !("recoverKey" in user) || user.recoverKey !== resumed.recoverKey) {
    return yield* new ClientAlive({ file, client: user?.client ?? "another recovery" })
  }
  const opened = yield* attempt(() => RecordFile.reopen(file, after.usedBytes))
  const run = yield* FiberSet.makeRuntime()
  const journals = QueueJournal.make({
    open: () => opened,
    fileName: () => file,
    isSynced: false,
    onFailure: (reason) => {
      if (reason !== undefined) run(Effect.logWarning(`recover file ${file} cannot be written: ${reason}`))
    }
  })
  journals.opened = opened
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      if (fs.existsSync(file)) QueueJournal.append(journals, { _tag: "Released", recoverKey: resumed.recoverKey })
      QueueJournal.close(journals)
    })
  )
  const jobs = [...after.queues.values()].reduce((sum, queue) => sum + queue.jobs.size, 0)
  yield* attempt(() => RecordFile.reserve(opened, jobBytes * (jobs + 1000)))
  return { file: after, resumed, journals }
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
  tolerate(file, "written", () => appendNow(file, entries))

/** Removes the file; nobody needs it any more. */
export const remove = (file: string): Effect.Effect<void> =>
  tolerate(file, "removed", () => {
    QueueJournal.removeArguments(file)
    fs.rmSync(file, { force: true })
  })
