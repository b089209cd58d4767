/**
 * Starts `dispynode` as a child process that listens on a socket in its own
 * directory (mode 0700), so that no other user of the machine can reach it. The
 * node ends when its standard input ends, which the kernel sees to however this
 * process ends, and removes its directory.
 */
import { Effect, Layer, Option, Schema } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { Socket } from "node:net"
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

const ReadyLine = Schema.fromJsonString(Schema.Struct({ socket: Schema.String }))

const cannotStart = (reason: string) => new CannotStart({ program: "the local node", reason })

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

/** Reads the line with which the node says that it is ready: where it listens. */
const socketOf = (line: string): Option.Option<string> =>
  Option.map(Schema.decodeUnknownOption(ReadyLine)(line), ({ socket }) => socket)

/** Succeeds with the socket that the node tells; what it prints before it gives up is the reason. */
const awaitReady = (child: ChildProcess): Effect.Effect<string, CannotStart> =>
  Effect.callback<string, CannotStart>((resume) => {
    let line = ""
    let errors = ""
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      errors += text
    })
    child.once("error", (cause) => resume(Effect.fail(cannotStart(cause.message))))
    child.once("exit", (code, signal) => {
      const reason = errors.trim() === "" ? `it ended with ${signal ?? `exit status ${code}`}` : errors.trim()
      resume(Effect.fail(cannotStart(reason)))
    })
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      line += text
      if (!line.includes("\n")) return
      child.stderr?.removeAllListeners("data")
      child.stderr?.pipe(process.stderr, { end: false })
      const socket = socketOf(line.trim())
      resume(Option.isSome(socket) ? Effect.succeed(socket.value) : Effect.fail(cannotStart(`it said ${line.trim()}`)))
    })
  })

/** The child and its pipes do not keep this process alive. */
const letGo = (child: ChildProcess): void => {
  child.unref()
  for (const pipe of [child.stdin, child.stdout, child.stderr]) if (pipe instanceof Socket) pipe.unref()
}

/** How nodes are started. */
export interface LauncherOptions {
  /** Slots; 0 for one per core, negative to leave that many cores free. */
  readonly cpus: number
  /** Whether this process may end although the node runs; the node then ends as well. Default false. */
  readonly isBackground?: boolean
}

const launch = Effect.fn("NodeLauncher.launch")(function*({ cpus, isBackground }: LauncherOptions) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, "--embedded", "--cpus", String(cpus)], { stdio: ["pipe", "pipe", "pipe"] })
    ),
    end
  )
  if (isBackground === true) letGo(child)
  const path = yield* awaitReady(child).pipe(
    Effect.timeoutOrElse({
      duration: readyTimeout,
      orElse: () => Effect.fail(cannotStart(`it was not ready within ${readyTimeout}`))
    })
  )
  return { _tag: "Unix", path } satisfies NodeAddress
})

/** Nodes in child processes of this one. */
export const layer = (options: LauncherOptions): Layer.Layer<NodeLauncher> =>
  Layer.succeed(NodeLauncher, NodeLauncher.of({ launch: launch(options) }))
