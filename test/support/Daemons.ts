/** Real `dispynode` processes for tests. */
import { spawn } from "node:child_process"
import * as Built from "./Built.ts"

const program = Built.program("dispynode")

/** A daemon that is ready. */
export interface Daemon {
  readonly pid: number
  readonly port: number
  /** For node lists. */
  readonly address: string
  /** What it has logged so far. */
  readonly log: () => string
  /** Asks it to end (SIGTERM) and waits until it has. */
  readonly stop: () => Promise<void>
  /** Kills it (SIGKILL) and waits until it is gone. */
  readonly kill: () => Promise<void>
}

/** Starts a daemon on a free port of 127.0.0.1 and waits for its ready line. */
export const startDaemon = async (args: ReadonlyArray<string>): Promise<Daemon> => {
  const port = args.includes("--port") ? [] : ["--port", "0"]
  const child = spawn(process.execPath, [program, "--ip-addr", "127.0.0.1", "--daemon", ...port, ...args], {
    stdio: ["ignore", "pipe", "pipe"]
  })
  let log = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text
  })
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").once("data", resolve)
    child.once("exit", (code) => reject(new Error(`dispynode ended with ${code} before it was ready: ${log}`)))
  })
  const bound = Number(/127\.0\.0\.1:(\d+)/.exec(line)?.[1])
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal)
    await exited
  }
  return {
    pid: child.pid!,
    port: bound,
    address: `127.0.0.1:${bound}`,
    log: () => log,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL")
  }
}
