/**
 * Runs `setup` or `cleanup` of a computation in a process of its own, for a bounded time. What it started goes on, for
 * the jobs may need it, until the scope ends; a run that fails leaves nothing.
 */
import { Effect, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import * as BoundedOutput from "../../domain/wire/BoundedOutput.ts"
import * as PrintedText from "../../domain/wire/PrintedText.ts"
import type { Guardian } from "./Guardian.ts"
import * as ProcessTree from "./ProcessTree.ts"

const isSource = import.meta.url.endsWith(".ts")
const program = fileURLToPath(
  new URL(isSource ? "../../slot/setupMain.ts" : "../../slot/setupMain.js", import.meta.url)
)

/** Bytes of stdout, and of stderr, that are kept; of these the end goes into a message. */
const keptBytes = 64 * 1024

/** After its end what it started may hold its descriptors; its output is awaited so long. */
const drainMillis = 100

/** What to run and how. */
export interface RunOptions {
  /** File with the `LifecycleRun`. */
  readonly toldPath: string
  /** Of the processes that belong to it, unique on this machine. */
  readonly marker: string
  readonly guardian: Guardian
  readonly options: ReadonlyArray<string>
  readonly environment: Readonly<Record<string, string>>
  readonly directory: string
  readonly timeoutMillis: number
  /** How long the process may take to start and to load the code, beside that. */
  readonly prepareMillis: number
}

/** How it went. */
export interface Ended {
  /** Why it failed; empty when it did not. */
  readonly problem: string
  /** What it printed. */
  readonly stdout: string
  readonly stderr: string
}

const text = new TextDecoder()

const collect = (stream: Readable) => {
  const kept = BoundedOutput.make(keptBytes)
  stream.on("data", (chunk: Uint8Array) => BoundedOutput.write(kept, chunk))
  stream.on("error", () => {})
  return () => text.decode(BoundedOutput.render(BoundedOutput.take(kept)))
}

const howItEnded = (code: number | null, signal: NodeJS.Signals | null, stderr: string): string => {
  if (/heap out of memory|Reached heap limit/.test(stderr)) return "its process ran out of heap memory"
  if (signal !== null) return `its process was killed by ${signal}`
  return `its process exited with code ${code} before it was done`
}

const problemIn = (answer: string): string | undefined => {
  try {
    const { problem } = JSON.parse(answer) as { readonly problem: unknown }
    return typeof problem === "string" ? problem : undefined
  } catch {
    // It was killed in the middle, or wrote nothing.
    return undefined
  }
}

const watch = (
  child: ChildProcess,
  { prepareMillis, timeoutMillis }: Pick<RunOptions, "prepareMillis" | "timeoutMillis">,
  onEnd: (ended: Ended) => void
): void => {
  const [, out, err, pipe] = child.stdio as unknown as [null, Readable, Readable, Readable]
  const stdout = collect(out)
  const stderr = collect(err)
  const answer = collect(pipe)
  let isOver = false
  const end = (problem: () => string): void => {
    if (isOver) return
    isOver = true
    clearTimeout(timer)
    onEnd({ problem: problem(), stdout: stdout(), stderr: stderr() })
  }
  let timer = setTimeout(() => end(() => `its code did not load within ${prepareMillis} ms`), prepareMillis)
  // The first that the process says is that the code is loaded: its own time begins.
  pipe.once("data", () => {
    clearTimeout(timer)
    if (isOver) return
    timer = setTimeout(
      () => end(() => `it did not end within ${timeoutMillis} ms; raise setupTimeout if it needs longer`),
      timeoutMillis
    )
  })
  child.on("error", (error) => end(() => `its process cannot be started: ${error.message}`))
  child.on("exit", (code, signal) => {
    const tell = () => end(() => problemIn(answer()) ?? howItEnded(code, signal, stderr()))
    child.on("close", tell)
    setTimeout(tell, drainMillis)
  })
}

/** Why it failed, and what it printed. */
export const problemOf = ({ problem, stderr, stdout }: Ended): string =>
  `${problem}${PrintedText.after(stdout, stderr)}`

/** Runs it to its end; does not fail. */
export const run = (options: RunOptions): Effect.Effect<Ended, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { directory, environment, guardian, marker, options: nodeOptions, toldPath } = options
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const started: ChildProcess = spawn(
          process.execPath,
          ["--disable-warning=ExperimentalWarning", ...nodeOptions, program, toldPath],
          {
            detached: process.platform !== "win32",
            cwd: directory,
            env: { ...environment, [ProcessTree.markerName]: marker },
            stdio: ["ignore", "pipe", "pipe", "pipe"],
            windowsHide: true
          }
        )
        const pid = started.pid ?? 0
        if (pid > 0) guardian.add(pid)
        return { started, root: { pid, start: ProcessTree.startOf(pid), marker, seen: new Map<number, string>() } }
      }),
      ({ root }) =>
        root.pid === 0 ? Effect.void : Effect.promise(async () => {
          await ProcessTree.kill([root])
          guardian.remove(root.pid)
        })
    )
    const ended = yield* Effect.callback<Ended>((resume) => {
      // Without free descriptors Node gives back a child without any.
      if (!Array.isArray(child.started.stdio) || child.started.stdio.length < 4) {
        child.started.on("error", () => {})
        return resume(Effect.succeed({ problem: "its process cannot be started", stdout: "", stderr: "" }))
      }
      watch(child.started, options, (how) => resume(Effect.succeed(how)))
    })
    if (ended.problem !== "" && child.root.pid > 0) yield* Effect.promise(() => ProcessTree.kill([child.root]))
    return ended
  })
