/**
 * The directory of one run of a daemon, `<prefix>/dispy-<user>/node/<pid>-<start
 * of the process>`, and the removal of those that daemons left which were killed.
 * The start tells a daemon from another process that got its pid.
 */
import { Effect, Result, type Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { CannotStart } from "../../domain/NodeError.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as ProcessName from "../files/ProcessName.ts"

const attempt = <A>(what: string, run: () => A): Effect.Effect<A, CannotStart> =>
  Effect.fromResult(Result.mapError(
    Result.try(run),
    (error) => new CannotStart({ program: "dispynode", reason: `${what}: ${messageOf(error)}` })
  ))

/** With its parents. (Node's own way to do that never returns for a directory in `/proc`.) */
export const makeDirectory = (directory: string): void => {
  if (fs.existsSync(directory)) return
  makeDirectory(path.dirname(directory))
  try {
    fs.mkdirSync(directory, { mode: 0o700 })
  } catch (error) {
    // Another daemon that starts at the same time may have been quicker.
    if (!fs.existsSync(directory)) throw error
  }
}

/** In a directory that all users share, one that another user made is a trap: code is run from it. */
const makePrivate = (directory: string): void => {
  makeDirectory(directory)
  const stats = fs.lstatSync(directory)
  if (!stats.isDirectory()) throw new Error(`${directory} is not a directory`)
  const user = process.getuid?.()
  if (user !== undefined && stats.uid !== user) throw new Error(`${directory} belongs to another user`)
  if (user !== undefined && (stats.mode & 0o022) !== 0) throw new Error(`others may write to ${directory}`)
}

const userName = (): string =>
  Result.getOrElse(Result.try(() => os.userInfo().username), () => String(process.getuid?.() ?? "user"))

const removeStale = Effect.fnUntraced(function*(prefix: string) {
  for (const name of fs.readdirSync(prefix).filter(ProcessName.isStale)) {
    const removed = Result.try(() => fs.rmSync(path.join(prefix, name), { recursive: true, force: true }))
    yield* Result.isSuccess(removed)
      ? Effect.logInfo("removed what a daemon left that was killed").pipe(Effect.annotateLogs({ directory: name }))
      : Effect.logWarning("cannot remove what a daemon left").pipe(
        Effect.annotateLogs({ directory: name, reason: messageOf(removed.failure) })
      )
  }
})

/** Where files stay that outlive a run, beside the directories of runs. */
export const keptDirectory = (directory: string): string => path.join(path.dirname(path.dirname(directory)), "files")

/** Where results of clients stay that are gone, beside the directories of runs. */
export const spoolDirectory = (directory: string): string => path.join(path.dirname(path.dirname(directory)), "kept")

/** Makes this run's directory, which is removed with the scope. */
export const acquire = Effect.fnUntraced(
  function*(prefix: string): Effect.fn.Return<string, CannotStart, Scope.Scope> {
    const home = path.join(path.resolve(prefix), `dispy-${userName()}`)
    const root = path.join(home, "node")
    const directory = path.join(root, ProcessName.own())
    yield* attempt(`it cannot keep its files in ${root}, choose another directory with --dest-path-prefix`, () => {
      makePrivate(home)
      makePrivate(root)
    })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
    )
    yield* attempt("it cannot make its directory", () => makeDirectory(directory))
    yield* removeStale(root)
    return directory
  }
)
