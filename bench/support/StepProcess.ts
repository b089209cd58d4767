/** Runs a step in a process of its own, within a time limit, and leaves nothing of it behind. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { StepResult } from "../step.ts"
import type { StepName } from "../steps.ts"
import { profileVariable } from "./Daemon.ts"
import type { Metrics } from "./Drive.ts"

/** How to run a step. */
export interface RunOptions {
  readonly isQuick: boolean
  readonly limitMillis: number
  /** Directory for CPU profiles of the step and its daemons. Default: none are made. */
  readonly profile: string | undefined
}

/** Microseconds between two samples of a profile. */
const profileInterval = 200

/** Temporary files of all steps and their daemons, also of those that are killed. */
const temporary = mkdtempSync(join(tmpdir(), "dispy-bench-"))
process.on("exit", () => rmSync(temporary, { recursive: true, force: true }))

const running = new Set<ChildProcess>()

/** Kills the step with everything in its process group: daemons and peers. */
const kill = (child: ChildProcess): void => {
  try {
    process.kill(-child.pid!, "SIGKILL")
  } catch {
    // It has ended meanwhile.
  }
}

/** Kills what runs; for an interrupted benchmark. */
export const killAll = (): void => {
  for (const child of running) kill(child)
}

/** The step's metrics; fails when the step does, or takes too long. */
export const run = async (name: StepName, options: RunOptions): Promise<Metrics> => {
  const profile = options.profile === undefined ? undefined : join(options.profile, name)
  const profiling = profile === undefined
    ? []
    : ["--cpu-prof", `--cpu-prof-dir=${join(profile, "client")}`, `--cpu-prof-interval=${profileInterval}`]
  const child = fork(new URL("../step.ts", import.meta.url), [name, options.isQuick ? "quick" : "full"], {
    execArgv: ["--expose-gc", ...profiling],
    env: { ...process.env, TMPDIR: temporary, ...(profile === undefined ? {} : { [profileVariable]: profile }) },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    detached: true
  })
  running.add(child)
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    kill(child)
  }, options.limitMillis)
  let result: StepResult | undefined
  child.on("message", (message) => {
    result = message as StepResult
  })
  const [code, signal] = await once(child, "exit") as [number | null, NodeJS.Signals | null]
  clearTimeout(timer)
  running.delete(child)
  kill(child)
  if (isLate) throw new Error(`${name} took longer than ${options.limitMillis / 1000} s`)
  if (result === undefined) throw new Error(`${name} ended with ${signal ?? `exit status ${code}`}`)
  if ("error" in result) throw new Error(`${name}: ${result.error}`)
  return result.metrics
}
