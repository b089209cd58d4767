/** A `dispynode` at a port of its own that can be killed, frozen and started again, as often as a test wants. */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import * as net from "node:net"
import * as Built from "../Built.ts"
import { descendants } from "../DaemonProcess.ts"
import * as Faults from "./Faults.ts"

const program = Built.program("dispynode")

/** The node. */
export interface ChaosNode {
  readonly name: string
  readonly port: number
  /** For node lists. */
  readonly address: string
  readonly pid: () => number
  /** Processes of its slots now, those that wait for work too. */
  readonly slots: () => ReadonlyArray<number>
  readonly log: () => string
  readonly start: () => Promise<void>
  readonly signal: (signal: NodeJS.Signals) => void
  /** When the daemon that runs now has ended. */
  readonly ended: () => Promise<void>
  /** Sends the signal, waits for the end, then for something else, and starts the node again: one fault. */
  readonly restart: (faults: Faults.Faults, signal: NodeJS.Signals, meanwhile: () => Promise<void>) => Promise<void>
}

/** Ports below those that the kernel gives to connections: a node that is down keeps its own. */
const [firstPort, ports] = [20_000, 10_000]

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = net.createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })

/** A port that nobody has, and nobody gets by chance. */
export const freePort = async (): Promise<number> => {
  const port = firstPort + Math.floor(Math.random() * ports)
  return await isFree(port) ? port : freePort()
}

const isSlot = (pid: number): boolean => {
  try {
    return /slot\/main\.[jt]s/.test(readFileSync(`/proc/${pid}/cmdline`, "latin1"))
  } catch {
    // It has ended meanwhile.
    return false
  }
}

/** Resolves after some time. */
export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** How a node is started. */
export interface NodeOptions {
  readonly name: string
  /** Where it makes its directory. */
  readonly prefix: string
  /** Arguments beside name, port and prefix. */
  readonly args?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  /** What starts Node, in front of it. */
  readonly command?: ReadonlyArray<string>
}

/** Makes a node and starts it. */
export const make = async ({ args = [], command = [], env = {}, name, prefix }: NodeOptions): Promise<ChaosNode> => {
  const port = await freePort()
  let [log, pid] = ["", 0]
  let ended = Promise.resolve()
  const own = [
    "--ip-addr",
    "127.0.0.1",
    "--daemon",
    "--name",
    name,
    "--port",
    String(port),
    "--dest-path-prefix",
    prefix
  ]
  const [first = process.execPath, ...rest] = [...command, process.execPath, program, ...own, ...args]
  const start = async (): Promise<void> => {
    const child = spawn(first, rest, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } })
    pid = child.pid!
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      log += text
    })
    ended = new Promise((resolve) => child.once("exit", () => resolve()))
    await new Promise<void>((resolve, reject) => {
      child.stdout.once("data", () => resolve())
      child.once("error", reject)
      child.once("exit", (code) => reject(new Error(`node ${name} ended with ${code} before it was ready: ${log}`)))
    })
  }
  const signal = (which: NodeJS.Signals): void => {
    try {
      process.kill(pid, which)
    } catch {
      // It has ended.
    }
  }
  await start()
  return {
    name,
    port,
    address: `127.0.0.1:${port}`,
    pid: () => pid,
    slots: () => descendants(pid).filter(isSlot),
    log: () => log,
    start,
    signal,
    ended: () => ended,
    restart: async (faults, which, meanwhile) => {
      const fault = Faults.begin(faults, name)
      signal(which)
      await ended
      await meanwhile()
      // What its predecessor began it began before this: its guardian has killed it long since.
      Faults.end(fault)
      await start()
    }
  }
}
