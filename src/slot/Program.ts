/** Runs programs as jobs: arguments in, exit status out, what they print kept with the job. */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import { constants } from "node:os"
import * as path from "node:path"
import type { PrepareSlot } from "../domain/wire/SlotFrames.ts"
import type { Call } from "./Load.ts"

/** After a program's end its output is awaited so long, for what it left in the background may hold the pipes. */
const drainMillis = 250

const canRun = (file: string): boolean => {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return fs.statSync(file).isFile()
  } catch {
    return false
  }
}

const find = (command: string, searched: string): string | undefined => {
  if (command.includes("/")) return canRun(command) ? path.resolve(command) : undefined
  return searched.split(path.delimiter).map((folder) => path.join(folder === "" ? "." : folder, command)).find(canRun)
}

const missing = (prepare: PrepareSlot, command: string): Error => {
  const what = command.includes("/")
    ? `program ${path.basename(command)} is not there or not executable; name a runner if it is a script`
    : `program ${command} is not found in the PATH`
  return new Error(`${what} (node ${prepare.nodeName})`)
}

const statusOf = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? (signal === null ? -1 : -constants.signals[signal])

/** What the program of a job among others is ended by: nothing but it gets the signals. */
interface Ending {
  readonly signal: AbortSignal
  readonly graceMillis: number
}

/** SIGTERM when the job is to end, and SIGKILL early enough that the slot and its other programs are spared. */
const endOnAbort = (child: ChildProcess, { graceMillis, signal }: Ending): void => {
  const kill = (name: NodeJS.Signals): void => {
    try {
      if (child.pid !== undefined) process.kill(process.platform === "win32" ? child.pid : -child.pid, name)
    } catch {
      // It is gone.
    }
  }
  let timer: NodeJS.Timeout | undefined
  const end = (): void => {
    kill("SIGTERM")
    timer = setTimeout(() => kill("SIGKILL"), graceMillis / 2)
  }
  signal.addEventListener("abort", end, { once: true })
  child.on("exit", () => {
    signal.removeEventListener("abort", end)
    // What it left in its group ends with the job that was to end.
    if (timer !== undefined) kill("SIGKILL")
    clearTimeout(timer)
  })
}

const run = (
  command: string,
  args: ReadonlyArray<string>,
  env: NodeJS.ProcessEnv,
  ending: Ending | undefined
): Promise<number> =>
  new Promise((resolve, reject) => {
    const detached = ending !== undefined && process.platform !== "win32"
    const child = spawn(command, args, { env, detached, stdio: ["ignore", "pipe", "pipe"], windowsHide: true })
    if (ending !== undefined) endOnAbort(child, ending)
    child.stdout.on("data", (bytes: Uint8Array) => process.stdout.write(bytes))
    child.stderr.on("data", (bytes: Uint8Array) => process.stderr.write(bytes))
    child.on("error", reject)
    child.on("exit", (code, signal) => {
      const end = (): void => {
        clearTimeout(timer)
        child.stdout.destroy()
        child.stderr.destroy()
        resolve(statusOf(code, signal))
      }
      const timer = setTimeout(end, drainMillis)
      child.on("close", end)
    })
  })

const asText = (argument: unknown, index: number): string => {
  if (typeof argument === "string") return argument
  throw new TypeError(`argument ${index + 1} of a program must be a string, not ${typeof argument}`)
}

/** What `setup` left as globals, as far as it can be in an environment. */
const environmentOf = (globals: Readonly<Record<string, unknown>>): Record<string, string> => {
  const environment: Record<string, string> = {}
  for (const [name, value] of Object.entries(globals)) {
    if (typeof value === "string" || typeof value === "number") environment[name] = String(value)
  }
  return environment
}

/** Finds the program and what runs it; throws when one of them is missing. */
export const load = (prepare: PrepareSlot, globals: Readonly<Record<string, unknown>>): Call => {
  const folder = path.dirname(prepare.codePath)
  const searched = [...(prepare.codePath.includes("/") ? [folder] : []), process.env["PATH"] ?? ""].join(path.delimiter)
  const command = prepare.runner === "" ? prepare.codePath : prepare.runner
  const found = find(command, searched)
  if (found === undefined) throw missing(prepare, command)
  const first = prepare.runner === "" ? [] : [prepare.codePath]
  const env = {
    ...process.env,
    ...environmentOf(globals),
    PATH: searched,
    DISPY_NODE_NAME: prepare.nodeName,
    DISPY_IP_ADDR: prepare.ipAddr
  }
  // A cancelled program gets the SIGTERM too, and its job says what it printed until it ended.
  process.on("SIGTERM", () => {})
  return (args) => {
    const texts = args.map(asText)
    const { dispy } = globalThis as unknown as {
      readonly dispy: { readonly jobId: number; readonly signal: AbortSignal }
    }
    const ending = prepare.concurrency > 1 ? { signal: dispy.signal, graceMillis: prepare.graceMillis } : undefined
    return run(found, [...first, ...texts], { ...env, DISPY_JOB_ID: String(dispy.jobId) }, ending)
  }
}
