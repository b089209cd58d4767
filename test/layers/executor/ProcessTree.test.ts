import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { afterEach, expect } from "vitest"
import * as ProcessTree from "../../../src/layers/executor/ProcessTree.ts"
import { isRunning, whenGone } from "../../support/Processes.ts"

const started: Array<number> = []
afterEach(() => {
  for (const pid of started.splice(0)) if (isRunning(pid)) process.kill(pid, "SIGKILL")
})

/** Starts a shell in a group of its own; it prints the pids of what it started, one per line. */
const shell = async (marker: string, script: string) => {
  const child = spawn("sh", ["-c", script], {
    detached: true,
    env: { PATH: process.env["PATH"] ?? "", [ProcessTree.markerName]: marker },
    stdio: ["ignore", "pipe", "ignore"]
  })
  const pid = child.pid!
  const start = ProcessTree.startOf(pid)
  const [lines] = await once(child.stdout, "data") as [Buffer]
  const pids = lines.toString().trim().split("\n").map(Number)
  started.push(pid, ...pids)
  return { child, pids, root: { pid, start, marker, seen: new Map<number, string>() } }
}

const kill = (...roots: ReadonlyArray<ProcessTree.TreeRoot>) => Effect.promise(() => ProcessTree.kill(roots))

describe("killing what belongs to a slot", () => {
  it.live("finds its group, and children that left it", () =>
    Effect.gen(function*() {
      const { pids, root } = yield* Effect.promise(() =>
        shell("m.1", "sleep 60 & a=$!; setsid sleep 60 & echo \"$a\n$!\"; wait")
      )
      yield* kill(root)
      yield* whenGone([root.pid, ...pids], 0)
    }))

  it.live("finds orphans by their environment, and those that cleared it if they were seen before", () =>
    Effect.gen(function*() {
      const { child, pids, root } = yield* Effect.promise(() =>
        shell("m.2", "setsid sleep 60 & a=$!; setsid env -i sleep 60 & echo \"$a\n$!\"; wait")
      )
      yield* Effect.promise(() => ProcessTree.signal([root], "SIGCONT"))
      yield* Effect.promise(async () => {
        const exited = once(child, "exit")
        process.kill(root.pid, "SIGKILL")
        await exited
      })
      expect(pids.filter(isRunning)).toEqual(pids)
      yield* kill(root)
      yield* whenGone(pids, 0)
    }))

  it.live("leaves everything else alone, also a process that has got the pid of a slot", () =>
    Effect.gen(function*() {
      const other = yield* Effect.promise(() => shell("m.33", "echo $$; exec sleep 60"))
      const mine = yield* Effect.promise(() => shell("m.3", "echo $$; exec sleep 60"))
      yield* kill(mine.root, { ...other.root, start: "1", marker: "m.3" })
      expect(isRunning(mine.root.pid)).toBe(false)
      expect(isRunning(other.root.pid)).toBe(true)
    }))
})
