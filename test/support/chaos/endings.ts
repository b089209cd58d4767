/** Rows B11 and E4: jobs that do not end by themselves, with what they started, when they are cancelled, overdue or orphaned. */
import * as fs from "node:fs"
import { join } from "node:path"
import { expect } from "vitest"
import { createJobCluster } from "../../../src/promise.ts"
import { eventually } from "../Eventually.ts"
import { isRunning } from "../Processes.ts"
import type { Chaos } from "./Chaos.ts"

/** Ways not to end. */
export const kinds = ["loop", "regex", "native", "deaf", "grandchildren"] as const

type Kind = typeof kinds[number]

/** Runs on a node: writes the processes that are to be gone to a file, its own first, and does not end. */
const endless = (kind: Kind, file: string): Promise<never> => {
  const { renameSync, writeFileSync } = process.getBuiltinModule("node:fs")
  const { spawn } = process.getBuiltinModule("node:child_process")
  const tell = (...pids: Array<number>): void => {
    writeFileSync(`${file}.new`, [process.pid, ...pids].join(" "))
    renameSync(`${file}.new`, file)
  }
  if (kind === "loop") {
    tell()
    for (;;);
  }
  if (kind === "regex") {
    tell()
    return Promise.reject(/^(a+)+$/.exec(`${"a".repeat(60)}b`))
  }
  if (kind === "native") {
    tell()
    process.getBuiltinModule("node:crypto").pbkdf2Sync("secret", "salt", 20_000_000, 64, "sha512")
  }
  if (kind === "deaf") {
    const script = "trap '' TERM; echo; while :; do sleep 60; done"
    const child = spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "inherit"] })
    child.stdout.once("data", () => tell(child.pid!))
  }
  if (kind === "grandchildren") {
    // One in the session of the job, one in a session of its own, one whose parent has ended.
    const script = "sleep 60 & echo $!; setsid sleep 60 & echo $!; (sh -c 'echo $$; exec setsid sleep 60' &) ; wait"
    const child = spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "inherit"] })
    let text = ""
    child.stdout.setEncoding("utf8").on("data", (more: string) => {
      text += more
      const pids = text.trim().split("\n").map(Number)
      if (pids.length === 3 && text.endsWith("\n")) tell(child.pid!, ...pids)
    })
  }
  return new Promise(() => {})
}

/** How a job is ended. */
export type Way = "cancel" | "timeout" | "node killed"

/** How long it took until everything was gone, in milliseconds. */
export type Times = ReadonlyArray<number>

/** Has a job of a kind ended in a way, so many times; resolves to how long it took until everything of it was gone. */
export const end = async (
  chaos: Chaos,
  kind: Kind,
  way: Way,
  { graceMillis, times }: { readonly times: number; readonly graceMillis: number }
): Promise<Times> => {
  const took: Array<number> = []
  const node = await chaos.node("n0", { args: ["--cpus", "1"] })
  const options = {
    nodes: node.address,
    grace: graceMillis,
    logLevel: "none",
    ...(way === "timeout" ? { timeout: 300 } : {})
  } as const
  for (let time = 0; time < times; time++) {
    await using cluster = await createJobCluster(endless, options)
    const file = join(chaos.directory(), `pids-${time}`)
    const job = cluster.submit(kind, file)
    const ended = job.result().then(() => undefined, (error: unknown) => error)
    await eventually(() => expect(fs.existsSync(file)).toBe(true))
    const pids = fs.readFileSync(file, "utf8").split(" ").map(Number)
    const from = performance.now()
    if (way === "cancel") job.cancel()
    if (way === "node killed") {
      node.signal("SIGKILL")
      await node.ended()
    }
    await eventually(() => expect(pids.filter(isRunning)).toEqual([]))
    took.push(performance.now() - from)
    const tag = { cancel: "JobCancelled", timeout: "JobTimedOut", "node killed": "NodeLost" }[way]
    expect(await ended).toMatchObject({ _tag: tag })
    if (way === "node killed") await node.start()
  }
  return took
}

/** Figures of many times, in a line. */
export const describe = (row: string, what: string, times: Times): string => {
  const sorted = times.toSorted((a, b) => a - b)
  const [median, longest] = [sorted[sorted.length >> 1]!, sorted.at(-1)!]
  return `${row}: ${what} ${times.length} times, gone after ${median.toFixed(0)} ms (median), ${
    longest.toFixed(0)
  } ms at most`
}
