/**
 * Starts `dispynode` as a child process that listens on a socket in a directory
 * of its own (mode 0700), so that no other user of the machine can reach it. The
 * node ends when its standard input ends, which the kernel sees to however this
 * process ends.
 */
import { Effect, Layer, Option } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { NodeAddress } from "../../domain/NodeAddress.ts"
import { CannotStart } from "../../domain/NodeError.ts"
import { NodeLauncher } from "../../services/NodeLauncher.ts"

/** The program: TypeScript in the sources, JavaScript in the package. */
const extension = import.meta.url.endsWith(".ts") ? "ts" : "js"
const program = fileURLToPath(new URL(`../../programs/dispynode.${extension}`, import.meta.url))

/** How long the node may take to be ready, and to end when asked. */
const readyTimeout = "20 seconds"
const endTimeout = "5 seconds"

const cannotStart = (reason: string) => new CannotStart({ program: "the local node", reason })

const makeDirectory = Effect.acquireRelease(
  Effect.tryPromise({
    try: () => mkdtemp(join(tmpdir(), "dispy-")),
    catch: (cause) => cannotStart(`no directory for its socket: ${String(cause)}`)
  }),
  (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
)

const awaitExit = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
  })

const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.gen(function*() {
    child.stdin?.end()
    const ended = yield* Effect.timeoutOption(awaitExit(child), endTimeout)
    if (Option.isNone(ended)) child.kill("SIGKILL")
  })

/** Succeeds with the first line that the node prints; what it prints before it gives up is the reason. */
const awaitReady = (child: ChildProcess): Effect.Effect<void, CannotStart> =>
  Effect.callback<void, CannotStart>((resume) => {
    let errors = ""
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      errors += text
    })
    child.once("error", (cause) => resume(Effect.fail(cannotStart(cause.message))))
    child.once("exit", (code, signal) => {
      const reason = errors.trim() === "" ? `it ended with ${signal ?? `exit status ${code}`}` : errors.trim()
      resume(Effect.fail(cannotStart(reason)))
    })
    child.stdout?.once("data", () => {
      child.stderr?.removeAllListeners("data")
      child.stderr?.pipe(process.stderr, { end: false })
      resume(Effect.void)
    })
  })

const launch = Effect.fn("NodeLauncher.launch")(function*(cpus: number) {
  const directory = yield* makeDirectory
  const path = join(directory, "node.sock")
  const args = [program, "--embedded", path, "--dest-path-prefix", directory, "--cpus", String(cpus)]
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] })),
    end
  )
  yield* awaitReady(child).pipe(
    Effect.timeoutOrElse({
      duration: readyTimeout,
      orElse: () => Effect.fail(cannotStart(`it was not ready within ${readyTimeout}`))
    })
  )
  const address: NodeAddress = { _tag: "Unix", path }
  return address
})

/** Nodes with this many slots; 0 for one per core, negative to leave that many cores free. */
export const layer = (options: { readonly cpus: number }): Layer.Layer<NodeLauncher> =>
  Layer.succeed(NodeLauncher, NodeLauncher.of({ launch: launch(options.cpus) }))
