/** A `dispynode` of the built package as a child process, for as long as a step needs it. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** The program of the built package. */
export const program = fileURLToPath(
  import.meta.resolve("dispy/package.json").replace(
    "package.json",
    "dist/programs/dispynode.js"
  )
)

const readyMillis = 20_000
const endMillis = 10_000

/** Environment variable with the directory for CPU profiles of daemons; none are made without it. */
export const profileVariable = "DISPY_BENCH_PROFILE"

/** A running daemon. */
export interface Daemon extends AsyncDisposable {
  readonly child: ChildProcess
  /** As an entry of a node list. */
  readonly address: string
  /** From the start of the process to its ready line. */
  readonly readyMillis: number
}

const alive = new Set<ChildProcess>()

const killAll = (): void => {
  for (const child of alive) child.kill("SIGKILL")
}
// However this process ends, no daemon outlives it; the slots and files of a killed daemon are cleaned up by its guardian.
process.on("exit", killAll)
process.on("disconnect", () => process.exit(1))

const awaitReady = async (child: ChildProcess, errors: () => string): Promise<string> => {
  let output = ""
  const timer = setTimeout(() => child.kill("SIGKILL"), readyMillis)
  try {
    for await (const text of child.stdout!) {
      output += String(text)
      const port = /ready on 127\.0\.0\.1:(\d+)/.exec(output)?.[1]
      if (port !== undefined) return `127.0.0.1:${port}`
    }
  } finally {
    clearTimeout(timer)
  }
  throw new Error(`dispynode did not start: ${output}${errors()}`)
}

const end = async (child: ChildProcess, directory: string): Promise<void> => {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, "exit")
    child.kill("SIGTERM")
    const timer = setTimeout(() => child.kill("SIGKILL"), endMillis)
    await exited
    clearTimeout(timer)
  }
  alive.delete(child)
  await rm(directory, { recursive: true, force: true })
}

/** Starts a daemon with this many slots on a free port of loopback; disposing of it ends it. */
export const start = async (cpus: number, more: ReadonlyArray<string> = []): Promise<Daemon> => {
  const directory = await mkdtemp(join(tmpdir(), "node-"))
  const profile = process.env[profileVariable]
  const options = profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${join(profile, "daemon")}`]
  const flags = ["--cpus", String(cpus), "--port", "0", "--dest-path-prefix", directory, "--drain-grace", "0", ...more]
  const startedAt = performance.now()
  const child = spawn(process.execPath, [...options, program, ...flags], { stdio: ["ignore", "pipe", "pipe"] })
  alive.add(child)
  let errors = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-4000)
  })
  try {
    const address = await awaitReady(child, () => errors)
    return {
      child,
      address,
      readyMillis: performance.now() - startedAt,
      [Symbol.asyncDispose]: () => end(child, directory)
    }
  } catch (error) {
    await end(child, directory)
    throw error
  }
}

/** Resident memory of a process in bytes; works where there is a `/proc`. */
export const residentBytes = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, "utf8")
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

/** Seconds of CPU that a process has used, with a resolution of 10 ms; works where there is a `/proc`. */
export const cpuSeconds = async (pid: number): Promise<number> => {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) / 100
}
