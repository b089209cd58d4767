/** Files with secrets: made whole or not at all, readable by their owner only, and replaced only when that is asked for. */
import { Effect, Result } from "effect"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { KeyFileExists, KeyFileFailed } from "../../domain/keys/KeysError.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as NodeDirectory from "../node/NodeDirectory.ts"

/** Mode of files that only their owner may read. */
export const privateMode = 0o600

/** Mode of files that everybody may read: certificates without keys. */
export const publicMode = 0o644

/** How to write one. */
export interface KeyFileOptions {
  readonly mode: number
  /** Replace a file that is there. */
  readonly force: boolean
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

/** Makes a file that was not there; none is left when it cannot be written whole. */
const create = (file: string, content: string, mode: number): void => {
  const descriptor = fs.openSync(file, "wx", mode)
  try {
    // The mask of the process may have taken bits away.
    fs.fchmodSync(descriptor, mode)
    fs.writeFileSync(descriptor, content)
    fs.fsyncSync(descriptor)
  } catch (error) {
    fs.rmSync(file, { force: true })
    throw error
  } finally {
    fs.closeSync(descriptor)
  }
}

const replace = (file: string, content: string, mode: number): void => {
  const temporary = `${file}.${randomUUID()}`
  create(temporary, content, mode)
  try {
    fs.renameSync(temporary, file)
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw error
  }
}

const failed = (file: string, what: string) => (error: unknown) =>
  new KeyFileFailed({ file, what, reason: messageOf(error) })

/** Writes one. */
export const write = (
  file: string,
  content: string,
  { force, mode }: KeyFileOptions
): Effect.Effect<void, KeyFileExists | KeyFileFailed> =>
  Effect.suspend(() =>
    Effect.fromResult(Result.mapError(
      Result.try(() => force ? replace(path.resolve(file), content, mode) : create(path.resolve(file), content, mode)),
      (error) => codeOf(error) === "EEXIST" ? new KeyFileExists({ file }) : failed(file, "written")(error)
    ))
  )

/** Fails when one of these is there already. */
export const areFree = (files: ReadonlyArray<string>): Effect.Effect<void, KeyFileExists> =>
  Effect.suspend(() => {
    const taken = files.find((file) => Result.isSuccess(Result.try(() => fs.lstatSync(file))))
    return taken === undefined ? Effect.void : Effect.fail(new KeyFileExists({ file: taken }))
  })

/** Reads one; undefined when there is none. */
export const read = (file: string): Effect.Effect<string | undefined, KeyFileFailed> =>
  Effect.suspend(() => {
    const content = Result.try(() => fs.readFileSync(file, "utf8"))
    if (Result.isSuccess(content)) return Effect.succeed(content.success)
    return codeOf(content.failure) === "ENOENT"
      ? Effect.succeed(undefined)
      : Effect.fail(failed(file, "read")(content.failure))
  })

/** Makes a directory that only its owner can enter, with its parents; one that is there stays as it is. */
export const makeDirectory = (directory: string): Effect.Effect<void, KeyFileFailed> =>
  Effect.try({
    try: () => NodeDirectory.makeDirectory(path.resolve(directory)),
    catch: failed(directory, "made")
  })
