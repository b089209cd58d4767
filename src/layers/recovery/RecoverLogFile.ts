/**
 * The recover file of a client: made when the first node is leased or a durable computation is opened, appended to, and
 * removed at an orderly end. Only its user can read it. Writes are synchronous, a few short ones per node; what the
 * kernel has survives the process. What cannot be written waits in memory until it can.
 */
import { Effect, FiberSet, Layer, Result } from "effect"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { InvalidOption } from "../../domain/ClusterError.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import { messageOf } from "../../domain/Thrown.ts"
import { type OpenedComputation, RecoverLog } from "../../services/RecoverLog.ts"
import * as ProcessName from "../files/ProcessName.ts"
import * as QueueJournal from "./QueueJournal.ts"
import * as RecordFile from "./RecordFile.ts"
import * as RecoverFileDisk from "./RecoverFileDisk.ts"

/** Where and by whom. */
export interface RecoverLogOptions {
  /** Absolute, as the user wrote it; undefined for a name of its own in the current directory. */
  readonly file: string | undefined
  /** User, host and process. */
  readonly client: string
  readonly credentials: RecoverFile.CredentialFiles
  /** The node list of the cluster, as far as it is text. */
  readonly nodeList: ReadonlyArray<string>
  /** Whether the disk confirms jobs before they are sent. */
  readonly isSynced: boolean
}

const two = (part: number): string => String(part).padStart(2, "0")

/** `_dispy_YYYYMMDDHHMMSS`, local time. */
const nameAt = (now: Date): string => {
  const parts = [now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes(), now.getSeconds()]
  return `_dispy_${now.getFullYear()}${parts.map(two).join("")}`
}

const hasCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code

/** A file that was not there, in the current directory. */
const createOwn = (): RecordFile.RecordFile => {
  const name = nameAt(new Date())
  for (let tries = 1;; tries++) {
    const file = path.resolve(tries === 1 ? name : `${name}-${tries}`)
    try {
      return RecordFile.create(file)
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error
    }
  }
}

/** Refuses a place where no file can be made, while the user still looks. */
const checkPlace = (file: string): Result.Result<void, InvalidOption> => {
  const refused = (reason: string) => new InvalidOption({ option: "recoverFile", reason: `${file}: ${reason}` })
  return Result.try({
    try: () => {
      RecordFile.close(RecordFile.create(file))
      fs.rmSync(file)
    },
    catch: (error) =>
      hasCode(error, "EEXIST")
        ? refused(
          "there is one already, of a program that runs or has died; get its results with `dispy recover` or " +
            "recoverJobs, remove it, or choose another name"
        )
        : refused(`it cannot be written: ${messageOf(error)}`)
  })
}

const computationEntry = (
  { id, mayRunTwice, name }: OpenedComputation,
  index: number | undefined
): RecoverFile.Entry => ({
  _tag: "Computation",
  id,
  name,
  mayRunTwice,
  ...(index === undefined ? {} : { index })
})

/** What is written of a computation. */
export const entriesOf = (opened: OpenedComputation, index: number | undefined): ReadonlyArray<RecoverFile.Entry> => {
  const { durable } = opened
  if (durable === undefined) return [computationEntry(opened, index)]
  const { computation, setupArgs, sources } = durable
  const definition: RecoverFile.Entry = {
    _tag: "Definition",
    computation,
    sources,
    ...(setupArgs === undefined ? {} : { setupArgs })
  }
  return [computationEntry(opened, index), definition]
}

const make = Effect.fnUntraced(function*(options: RecoverLogOptions) {
  if (options.file !== undefined) yield* Effect.fromResult(checkPlace(options.file))
  const run = yield* FiberSet.makeRuntime()
  const entries: Array<RecoverFile.Entry> = []
  const recoverKey = randomBytes(32).toString("base64url")
  const retried = new Set<string>()
  let indices = 0
  let isWarned = false

  const fileName = (): string => journals.opened?.file ?? options.file ?? path.resolve("_dispy_…")

  const tell = (reason: string | undefined): void => {
    const isGood = reason === undefined
    if (isWarned !== isGood) return
    isWarned = !isGood
    run(Effect.logWarning(
      isGood
        ? `recover file ${fileName()} is written again`
        : `recover file ${fileName()} cannot be written (${reason}): if this program dies now, what its nodes have is ` +
          "lost. It is tried again; make room, or set recoverFile to a place that can be written, or to false"
    ))
  }

  const header = (): RecoverFile.Entry => ({
    _tag: "Header",
    version: RecoverFile.version,
    recoverKey,
    client: options.client,
    host: os.hostname(),
    process: ProcessName.own(),
    createdMillis: Date.now(),
    credentials: options.credentials,
    nodeList: options.nodeList
  })

  const open = (): RecordFile.RecordFile => {
    const made = options.file === undefined ? createOwn() : RecordFile.create(options.file)
    journals.opened = made
    for (const entry of [header(), ...entries.splice(0)]) QueueJournal.append(journals, entry)
    return made
  }

  const journals = QueueJournal.make({ open, fileName, isSynced: options.isSynced, onFailure: tell })

  /** Has a file if that is possible now. */
  const tryOpen = (): void => {
    if (journals.opened !== undefined) return
    try {
      open()
      tell(undefined)
    } catch (error) {
      tell(messageOf(error))
    }
  }

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      const { opened } = journals
      if (opened === undefined) return Effect.void
      QueueJournal.close(journals)
      return RecoverFileDisk.remove(opened.file)
    })
  )

  return RecoverLog.of({
    key: Effect.sync(() => {
      tryOpen()
      return journals.opened === undefined ? undefined : recoverKey
    }),
    leased: (node) => Effect.sync(() => QueueJournal.append(journals, { _tag: "Node", ...node })),
    opened: (computation) =>
      Effect.sync(() => {
        const index = computation.durable === undefined ? undefined : ++indices
        const added = entriesOf(computation, index)
        if (journals.opened === undefined) entries.push(...added)
        for (const entry of added) QueueJournal.append(journals, entry)
        if (index === undefined) return undefined
        tryOpen()
        return QueueJournal.journal(journals, { index, name: computation.name, nameOf: (node) => node })
      }),
    retried: (computationId) => {
      if (retried.has(computationId)) return
      retried.add(computationId)
      const entry = { _tag: "Retried", computationId } as const
      if (journals.opened === undefined) entries.push(entry)
      QueueJournal.append(journals, entry)
    },
    flush: () => QueueJournal.flush(journals)
  })
})

/** A recover file. Fails when the user's place for it cannot be written. */
export const layer = (options: RecoverLogOptions): Layer.Layer<RecoverLog, InvalidOption> =>
  Layer.effect(RecoverLog, make(options))

/** None: nodes kill the jobs of a client that is gone. */
export const layerNone: Layer.Layer<RecoverLog> = Layer.succeed(
  RecoverLog,
  RecoverLog.of({
    key: Effect.succeed(undefined),
    leased: () => Effect.void,
    opened: () => Effect.succeed(undefined),
    retried: () => {},
    flush: () => {}
  })
)
