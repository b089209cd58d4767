/** Runs `dispynode` as a process of its own, with a directory of its own, and leaves nothing of it. */
import { Effect, Schedule, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import * as Built from "./Built.ts"

const program = Built.program("dispynode")

/** How a program ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A daemon. */
export interface Daemon {
  readonly child: ChildProcess
  /** What it wrote so far. */
  readonly stdout: Array<string>
  readonly stderr: Array<string>
  /** Its first line, or the end without one. */
  readonly ready: Effect.Effect<string | Ended>
  readonly ended: Effect.Effect<Ended>
  /** Where its own directory is made and removed. */
  readonly root: string
}

/** Files of the daemon: empty when it left nothing. */
export const leftovers = (daemon: Daemon): ReadonlyArray<string> =>
  fs.existsSync(daemon.root) ? fs.readdirSync(daemon.root) : []

/** What the guardian of a killed daemon removes at the same time ends `rmSync` early, and silently. */
const remove = (directory: string): void => {
  for (let attempt = 0; attempt < 100 && fs.existsSync(directory); attempt++) {
    fs.rmSync(directory, { recursive: true, force: true, maxRetries: 10 })
  }
}

/** A temporary directory. */
export const aDirectory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-"))),
  (directory) => Effect.sync(() => remove(directory))
)

/** How a program is started. */
export interface StartOptions {
  /** What starts Node, in front of it. */
  readonly command?: ReadonlyArray<string>
  readonly nodeArgs?: ReadonlyArray<string>
  /** Where the daemon makes its directory; a temporary one by default. */
  readonly prefix?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Starts it with these arguments; it is killed at the end of the scope if it is still there. */
export const start = Effect.fnUntraced(function*(
  args: ReadonlyArray<string>,
  options: StartOptions = {}
): Effect.fn.Return<Daemon, never, Scope.Scope> {
  const prefix = options.prefix ?? (yield* aDirectory)
  const running = yield* startProgram(program, ["--dest-path-prefix", prefix, ...args], options)
  return { ...running, root: path.join(prefix, `dispy-${os.userInfo().username}`, "node") }
})

/** Starts another program of the package in the same way. */
export const startProgram = Effect.fnUntraced(function*(
  file: string,
  args: ReadonlyArray<string>,
  options: StartOptions = {}
): Effect.fn.Return<Omit<Daemon, "root">, never, Scope.Scope> {
  const words = [process.execPath, ...options.nodeArgs ?? [], file, ...args]
  const [command = "", ...rest] = [...options.command ?? [], ...words]
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(command, rest, {
        stdio: ["pipe", "pipe", "pipe"],
        env: { ...process.env, ...options.env }
      })
    ),
    (spawned) =>
      Effect.callback<void>((resume) => {
        if (spawned.exitCode !== null || spawned.signalCode !== null) return resume(Effect.void)
        spawned.once("exit", () => resume(Effect.void)).kill("SIGKILL")
      })
  )
  const stdout: Array<string> = []
  const stderr: Array<string> = []
  createInterface(child.stderr).on("line", (line) => stderr.push(line))
  const lines = createInterface(child.stdout)
  const firstLine = new Promise<string>((resolve) => {
    lines.on("line", (line) => {
      stdout.push(line)
      resolve(line)
    })
  })
  const end = new Promise<Ended>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }))
  })
  return {
    child,
    stdout,
    stderr,
    ready: Effect.promise(() => Promise.race([firstLine, end])),
    ended: Effect.promise(() => end)
  }
})

/** Runs it to its end, for arguments with which it does not stay. */
export const run = (args: ReadonlyArray<string>, nodeArgs: ReadonlyArray<string> = []) =>
  Effect.gen(function*() {
    const daemon = yield* start(args, { nodeArgs })
    const { code } = yield* daemon.ended
    return { code, stdout: daemon.stdout, stderr: daemon.stderr }
  }).pipe(Effect.scoped)

/** Port in a ready line. */
export const portOf = (ready: string | Ended): number =>
  typeof ready === "string" ? Number(/(?:127\.0\.0\.1|0\.0\.0\.0|\[::\]):(\d+)/.exec(ready)?.[1]) : 0

/** Processes below this one that are still there, with what they run. */
export const descendants = (pid: number): ReadonlyArray<number> => {
  const found: Array<number> = []
  const walk = (parent: number): void => {
    let children: Array<number> = []
    try {
      children = fs.readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").trim().split(" ").filter(Boolean)
        .map(Number)
    } catch {
      return
    }
    found.push(...children)
    children.forEach(walk)
  }
  walk(pid)
  return found
}

/** Whether a process is there and is no zombie. */
export const isAlive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) Z/s.test(fs.readFileSync(`/proc/${pid}/stat`, "latin1"))
  } catch {
    return false
  }
}

/** Succeeds when none of these processes is there any more. */
export const allGone = (pids: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.suspend(() => pids.some(isAlive) ? Effect.fail("alive" as const) : Effect.void).pipe(
    // The end of a process that is nobody's child here can only be looked for.
    Effect.retry(Schedule.spaced("10 millis")),
    Effect.orDie
  )
