/**
 * The recover file of a client: made when the first node is leased, appended to, and removed at an orderly end. Only its
 * user can read it. Writes are synchronous, a few short ones per node; what the kernel has survives the process.
 */
import { Effect, Layer, Result } from "effect"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { InvalidOption } from "../../domain/ClusterError.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import { messageOf } from "../../domain/Thrown.ts"
import { type OpenedComputation, RecoverLog } from "../../services/RecoverLog.ts"
import * as ProcessName from "../files/ProcessName.ts"

/** Where and by whom. */
export interface RecoverLogOptions {
  /** Absolute, as the user wrote it; undefined for a name of its own in the current directory. */
  readonly file: string | undefined
  /** User, host and process. */
  readonly client: string
  readonly credentials: RecoverFile.CredentialFiles
}

/** Mode of the file: it has the key to the results. */
const mode = 0o600

const two = (part: number): string => String(part).padStart(2, "0")

/** `_dispy_YYYYMMDDHHMMSS`, local time. */
const nameAt = (now: Date): string => {
  const parts = [now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes(), now.getSeconds()]
  return `_dispy_${now.getFullYear()}${parts.map(two).join("")}`
}

const hasCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code

const create = (file: string): number => {
  const descriptor = fs.openSync(file, "wx", mode)
  // The mask of the process may have taken bits away.
  fs.fchmodSync(descriptor, mode)
  return descriptor
}

/** A file that was not there, in the current directory. */
const createOwn = (): { readonly file: string; readonly descriptor: number } => {
  const name = nameAt(new Date())
  for (let tries = 1;; tries++) {
    const file = path.resolve(tries === 1 ? name : `${name}-${tries}`)
    try {
      return { file, descriptor: create(file) }
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
      fs.closeSync(create(file))
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

interface Open {
  readonly file: string
  readonly descriptor: number
}

const write = ({ descriptor }: Open, entry: RecoverFile.Entry): void => {
  const bytes = RecoverFile.encode(entry)
  // A part of a record that did not fit is skipped by who reads the file.
  for (let at = 0; at < bytes.length;) at += fs.writeSync(descriptor, bytes, at)
}

const entryOf = (computation: OpenedComputation): RecoverFile.Entry => ({ _tag: "Computation", ...computation })

const make = Effect.fnUntraced(function*(options: RecoverLogOptions) {
  if (options.file !== undefined) yield* Effect.fromResult(checkPlace(options.file))
  const computations: Array<OpenedComputation> = []
  const recoverKey = randomBytes(32).toString("base64url")
  let isGivenUp = false
  let opened: Open | undefined

  /** Says once that there will be no recovery. */
  const giveUp = (reason: string): Effect.Effect<void> => {
    isGivenUp = true
    const file = opened?.file ?? options.file ?? path.resolve("_dispy_…")
    return Effect.logWarning(
      `recover file ${file} cannot be written (${reason}): if this program dies, what its nodes have is lost; ` +
        "set recoverFile to a place that can be written, or to false"
    )
  }

  const attempt = (run: () => void): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (isGivenUp) return Effect.void
      return Effect.try({ try: run, catch: messageOf }).pipe(Effect.catch(giveUp))
    })

  const open = (): void => {
    if (opened !== undefined) return
    opened = options.file === undefined ? createOwn() : { file: options.file, descriptor: create(options.file) }
    write(opened, {
      _tag: "Header",
      version: RecoverFile.version,
      recoverKey,
      client: options.client,
      host: os.hostname(),
      process: ProcessName.own(),
      createdMillis: Date.now(),
      credentials: options.credentials
    })
    for (const computation of computations) write(opened, entryOf(computation))
  }

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      if (opened === undefined) return
      fs.closeSync(opened.descriptor)
      fs.rmSync(opened.file, { force: true })
    })
  )

  return RecoverLog.of({
    key: Effect.map(attempt(open), () => isGivenUp ? undefined : recoverKey),
    leased: (node) => attempt(() => opened === undefined ? undefined : write(opened, { _tag: "Node", ...node })),
    opened: (computation) =>
      attempt(() => {
        computations.push(computation)
        if (opened !== undefined) write(opened, entryOf(computation))
      })
  })
})

/** A recover file. Fails when the user's place for it cannot be written. */
export const layer = (options: RecoverLogOptions): Layer.Layer<RecoverLog, InvalidOption> =>
  Layer.effect(RecoverLog, make(options))

/** None: nodes kill the jobs of a client that is gone. */
export const layerNone: Layer.Layer<RecoverLog> = Layer.succeed(
  RecoverLog,
  RecoverLog.of({ key: Effect.succeed(undefined), leased: () => Effect.void, opened: () => Effect.void })
)
