/** What a test has to know of other processes and of files that they make. */
import { Effect, Fiber, Schedule } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

/** Whether a process runs; a zombie does not. */
export const isRunning = (pid: number): boolean => {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z"
  } catch {
    return false
  }
}

/** When the last of these processes was gone; nothing tells of the end of another's child, so this looks again and again. */
export const whenGone = (pids: ReadonlyArray<number>, withinMillis: number): Effect.Effect<number> =>
  Effect.suspend(() => {
    const left = pids.filter(isRunning)
    return left.length === 0 ? Effect.succeed(performance.now()) : Effect.fail(left)
  }).pipe(
    Effect.retry(Schedule.spaced("2 millis")),
    Effect.timeoutOrElse({
      duration: withinMillis,
      orElse: () => Effect.die(new Error(`processes ${pids.filter(isRunning).join(", ")} still run`))
    }),
    Effect.orDie
  )

/** Awaits a file and reads it; its writer writes it under another name and renames it. */
export const awaitFile = (file: string): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const look = (): void => {
      if (!fs.existsSync(file)) return
      watcher.close()
      resume(Effect.succeed(fs.readFileSync(file, "utf8")))
    }
    const watcher = fs.watch(path.dirname(file), look)
    look()
    return Effect.sync(() => watcher.close())
  })

/** How long this machine takes right now to kill a process and to notice: the yardstick for other kills. */
const killMillis: Effect.Effect<number> = Effect.callback((resume) => {
  const child = spawn("sleep", ["60"])
  let since = 0
  child.on("spawn", () => {
    since = performance.now()
    child.kill("SIGKILL")
  })
  child.on("exit", () => resume(Effect.succeed(performance.now() - since)))
  return Effect.sync(() => child.kill("SIGKILL"))
})

/**
 * Runs something, and kills processes one after the other beside it: the time that the slowest of these took is the
 * yardstick for how long kills may take in what ran. What keeps the machine busy delays both.
 */
export const besideKills = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<readonly [A, number], E, R> =>
  Effect.gen(function*() {
    let slowest = 0
    const measure = Effect.map(killMillis, (millis) => {
      slowest = Math.max(slowest, millis)
    })
    const beside = yield* Effect.forkChild(Effect.forever(Effect.andThen(measure, Effect.sleep("20 millis"))))
    const result = yield* effect
    yield* Fiber.interrupt(beside)
    yield* measure
    return [result, slowest] as const
  })

/** Processes whose environment has this text, by pid. */
export const carrying = (marker: string): ReadonlyArray<number> =>
  fs.readdirSync("/proc").map(Number).filter((pid) => {
    if (!(pid > 0)) return false
    try {
      return fs.readFileSync(`/proc/${pid}/environ`, "latin1").includes(marker)
    } catch {
      return false
    }
  })
