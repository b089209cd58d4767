/**
 * Runs the owner's module (`--init FILE`) in a process of its own: `init()` before
 * the node takes jobs, `close()` when it ends. That process may hang or crash: it
 * is killed with what it started, and the node is not.
 */
import { Deferred, Effect, Schema, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as path from "node:path"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { CannotStart } from "../../domain/NodeError.ts"
import * as ProcessTree from "../executor/ProcessTree.ts"

/** What every job on the node is given. */
export interface InitValues {
  /** File with the values by name, as one encoded object; empty for none. */
  readonly globalsPath: string
  /** Those that are texts or numbers, for programs. */
  readonly environment: Readonly<Record<string, string>>
}

/** Nothing, of a node without such a module. */
export const none: InitValues = { globalsPath: "", environment: {} }

/** How long `close()` may take. */
const closeTime = "5 seconds"

const extension = import.meta.url.endsWith(".ts") ? "ts" : "js"
const program = fileURLToPath(new URL(`../../slot/InitHost.${extension}`, import.meta.url))

const Report = Schema.fromJsonString(Schema.Struct({
  status: Schema.Number,
  problem: Schema.String,
  names: Schema.Array(Schema.String),
  environment: Schema.Record(Schema.String, Schema.String)
}))

const cannotStart = (file: string, reason: string, status = 1) =>
  new CannotStart({ program: "dispynode", reason: `--init ${file}: ${reason}`, status })

const end = (child: ChildProcess, exited: Deferred.Deferred<string>): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* Effect.sync(() => child.stdin?.end())
    yield* Effect.timeoutOption(Deferred.await(exited), closeTime)
    const root = { pid: child.pid ?? 0, start: "", marker: `init ${child.pid}`, seen: new Map<number, string>() }
    if (root.pid > 0) yield* Effect.promise(() => ProcessTree.kill([root]))
  })

const start = (file: string, target: string, exited: Deferred.Deferred<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [program, file, target], {
        // A group of its own, which is killed as one, and which Ctrl-C does not reach.
        detached: true,
        stdio: ["pipe", "inherit", "inherit", "pipe"]
      })
      child.stdin!.on("error", () => {})
      child.on("error", (error) => Deferred.doneUnsafe(exited, Effect.succeed(error.message)))
      child.on("exit", (code, signal) => {
        Deferred.doneUnsafe(exited, Effect.succeed(signal === null ? `exit status ${code}` : `signal ${signal}`))
      })
      return child
    }),
    (child) => end(child, exited)
  )

const answer = (child: ChildProcess, exited: Deferred.Deferred<string>, file: string) =>
  Effect.callback<string, CannotStart>((resume) => {
    let text = ""
    const output = child.stdio[3] as Readable
    output.setEncoding("utf8").on("data", (more: string) => {
      text += more
    })
    output.on("end", () => {
      if (!text.includes("\n")) {
        resume(
          Effect.flatMap(
            Deferred.await(exited),
            (how) => Effect.fail(cannotStart(file, `init ended its process with ${how}`))
          )
        )
      }
    })
    output.on("data", () => {
      if (text.includes("\n")) resume(Effect.succeed(text))
    })
  })

/** Runs `init()`; `close()` is called when the scope closes. Fails when the node is not to start. */
export const run = Effect.fn("NodeInit.run")(
  function*(file: string, directory: string): Effect.fn.Return<InitValues, CannotStart, Scope.Scope> {
    const target = path.join(directory, "init-values")
    const exited = Deferred.makeUnsafe<string>()
    const child = yield* start(file, target, exited)
    const { environment, names, problem, status } = yield* Effect.orDie(
      Schema.decodeUnknownEffect(Report)(yield* answer(child, exited, file))
    )
    if (problem !== "") return yield* cannotStart(file, problem)
    if (status !== 0) return yield* cannotStart(file, `init returned ${status}`, status)
    yield* Effect.logInfo("init is done").pipe(Effect.annotateLogs({ globals: names.join(" ") }))
    return names.length === 0 ? none : { globalsPath: target, environment }
  }
)
