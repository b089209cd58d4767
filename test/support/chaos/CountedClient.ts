/** Runs the client whose jobs are counted (`test/fixtures/chaos/client.ts`), on this machine or in a test network. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import type { Report, Request, Told } from "../../fixtures/chaos/client.ts"
import { pause } from "./ChaosNode.ts"

const program = fileURLToPath(new URL("../../fixtures/chaos/client.ts", import.meta.url))

/** A program that runs, wherever. */
interface Running {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly ended: Promise<number | null>
  readonly kill: (signal: NodeJS.Signals) => unknown
}

/** Starts a program with these arguments. */
export type Starter = (command: string, args: ReadonlyArray<string>, env: Record<string, string>) => Running

/** The client. */
export interface CountedClient {
  readonly ledger: string
  /** Jobs that have ended, about. */
  readonly done: () => number
  /** When so many have ended, or all. */
  readonly until: (jobs: number) => Promise<void>
  readonly allDone: Promise<void>
  /** What it told of its nodes so far. */
  readonly nodes: ReadonlyArray<Told & { readonly _tag: "Node" }>
  /** When the node at an address is ready, or was closed, after a moment of the monotonic clock; resolves to when. */
  readonly nodeIs: (address: string, status: "Initialized" | "Closed", after: number) => Promise<number>
  readonly log: () => string
  readonly signal: (signal: NodeJS.Signals) => void
  /** Has it close its cluster; resolves to its report when it has ended. */
  readonly close: () => Promise<Report>
}

/** On this machine, in a directory. */
export const here = (directory: string): Starter => (command, args, env) => {
  const child = spawn(command, args, { cwd: directory, env: { ...process.env, ...env } })
  const ended = new Promise<number | null>((resolve) => child.once("close", (status) => resolve(status)))
  return { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, ended, kill: (signal) => child.kill(signal) }
}

/** Starts it and waits until its nodes are ready. It is killed with `signal("SIGKILL")`; who starts it does so at the end. */
export const start = async (
  starter: Starter,
  directory: string,
  request: Omit<Request, "ledger" | "report">,
  env: Record<string, string> = {}
): Promise<CountedClient> => {
  const place = fs.mkdtempSync(join(directory, "client-"))
  const [ledger, report] = [join(place, "ledger"), join(place, "report")]
  const words = ["--expose-gc", program, JSON.stringify({ ...request, ledger, report } satisfies Request)]
  const child = starter(process.execPath, words, env)
  let [log, done] = ["", 0]
  const nodes: Array<Told & { readonly _tag: "Node" }> = []
  const looking = new Set<() => void>()
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text
  })
  const { promise: ready, resolve: onReady } = Promise.withResolvers<void>()
  const { promise: allDone, resolve: onAll } = Promise.withResolvers<void>()
  const early = child.ended.then((status): never => {
    throw new Error(`the client ended with ${status}: ${log}`)
  })
  early.catch(() => {})
  createInterface(child.stdout).on("line", (line) => {
    const told = JSON.parse(line) as Told
    if (told._tag === "Ready") onReady()
    if (told._tag === "Done") done = told.jobs
    if (told._tag === "Node") nodes.push(told)
    if (told._tag === "All") {
      done = request.jobs
      onAll()
    }
    for (const look of looking) look()
  })
  const when = <A>(found: () => A | undefined): Promise<A> =>
    Promise.race([
      early,
      new Promise<A>((resolve) => {
        const look = (): void => {
          const value = found()
          if (value === undefined) return
          looking.delete(look)
          resolve(value)
        }
        looking.add(look)
        look()
      })
    ])
  await Promise.race([ready, early])
  return {
    ledger,
    done: () => done,
    until: async (jobs) => {
      if (jobs >= request.jobs) return await Promise.race([allDone, early])
      await when(() => done >= jobs ? true : undefined)
    },
    allDone: Promise.race([allDone, early]),
    nodes,
    nodeIs: (address, status, after) =>
      when(() => nodes.find((one) => one.address === address && one.status === status && one.at >= after)?.at),
    log: () => log,
    signal: (signal) => void child.kill(signal),
    close: async () => {
      child.stdin.end()
      const status = await child.ended
      if (status !== 0) throw new Error(`the client ended with ${status}: ${log}`)
      return JSON.parse(fs.readFileSync(report, "utf8")) as Report
    }
  }
}

/**
 * What is between two faults: time, or jobs that end, so that a machine which is busy with other things does not get more
 * faults for its work.
 */
export type Pace = { readonly millis: number } | { readonly jobs: number }

/** Waits for a part of what is between faults. */
export const pace = async (client: CountedClient, every: Pace, part = 1): Promise<void> => {
  if ("millis" in every) await pause(every.millis * part)
  else await client.until(client.done() + every.jobs * part)
}
