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

/** When a process started, in ticks since the machine did; undefined when there is no such process (any more). */
const startOf = (pid: number): string | undefined => {
  if (process.platform === "linux") {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
      // The name in parentheses may hold blanks; the fields after it are counted from 3.
      return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
    } catch {
      return undefined
    }
  }
  try {
    process.kill(pid, 0)
    return "0"
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "0" : undefined
  }
}

const isStale = (name: string): boolean => {
  const [, pid, start] = /^(\d+)-(\d+)$/.exec(name) ?? []
  return pid !== undefined && startOf(Number(pid)) !== start
}

const reasonOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

const attempt = <A>(what: string, run: () => A): Effect.Effect<A, CannotStart> =>
  Effect.fromResult(Result.mapError(
    Result.try(run),
    (error) => new CannotStart({ program: "dispynode", reason: `${what}: ${reasonOf(error)}` })
  ))

/** With its parents. (Node's own way to do that never returns for a directory in `/proc`.) */
const makeDirectory = (directory: string): void => {
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
  for (const name of fs.readdirSync(prefix).filter(isStale)) {
    const removed = Result.try(() => fs.rmSync(path.join(prefix, name), { recursive: true, force: true }))
    yield* Result.isSuccess(removed)
      ? Effect.logInfo("removed what a daemon left that was killed").pipe(Effect.annotateLogs({ directory: name }))
      : Effect.logWarning("cannot remove what a daemon left").pipe(
        Effect.annotateLogs({ directory: name, reason: reasonOf(removed.failure) })
      )
  }
})

/** Makes this run's directory, which is removed with the scope. */
export const acquire = Effect.fnUntraced(
  function*(prefix: string): Effect.fn.Return<string, CannotStart, Scope.Scope> {
    const home = path.join(path.resolve(prefix), `dispy-${userName()}`)
    const root = path.join(home, "node")
    const directory = path.join(root, `${process.pid}-${startOf(process.pid) ?? "0"}`)
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
