/** However an executor's process ends, none of its processes and files outlives it by more than a second. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, expect } from "vitest"
import { openFunction, valueOf } from "../../support/ExecutorHarness.ts"
import { layerProcess, leftDirectories } from "../../support/ExecutorProcesses.ts"
import { besideKills, carrying, whenGone } from "../../support/Processes.ts"

afterAll(() => expect(leftDirectories()).toEqual([]))

const host = path.join(import.meta.dirname, "../../fixtures/executorHost.ts")

interface Host {
  readonly child: ChildProcess
  readonly directory: string
  /** Slots and what they started. */
  readonly pids: ReadonlyArray<number>
}

const spawnHost = (kind: "process" | "thread"): Effect.Effect<Host> =>
  Effect.callback((resume) => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "dispy-host-"))
    const child = spawn(process.execPath, [host, directory, path.join(directory, "loop"), kind], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    child.stdout.once("data", (line: Buffer) => {
      const pids = JSON.parse(line.toString()) as ReadonlyArray<number>
      resume(Effect.succeed({ child, directory, pids }))
    })
  })

/** A host that does not outlive its test, whatever that comes to. */
const startHost = (kind: "process" | "thread") =>
  Effect.acquireRelease(spawnHost(kind), ({ child }) => Effect.sync(() => child.kill("SIGKILL")))

/** Every process that has anything to do with a directory: guardians name it in their arguments. */
const guardians = (directory: string): ReadonlyArray<number> =>
  fs.readdirSync("/proc").map(Number).filter((pid) => {
    try {
      const words = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")
      return words.includes("dispy-guardian") && words.includes(directory)
    } catch {
      return false
    }
  })

const slotsOf = (pid: number): ReadonlyArray<number> => {
  const environment = fs.readFileSync(`/proc/${pid}/environ`, "utf8").split("\0")
  const marker = environment.find((word) => word.startsWith("DISPY_SLOT="))!
  return carrying(marker.slice(0, marker.lastIndexOf(".")))
}

const killAndCheck = (started: Host) =>
  Effect.gen(function*() {
    const { child, directory, pids } = started
    const all = new Set([...pids, ...slotsOf(pids[0]!), ...guardians(directory)])
    // Two slots, two children, a guardian; and spare slots if they are there already.
    expect(all.size).toBeGreaterThanOrEqual(5)
    const since = performance.now()
    child.kill("SIGKILL")
    const [goneAt, noise] = yield* besideKills(whenGone([...all], 30_000))
    expect(goneAt - since).toBeLessThan(1000 + 20 * noise)
    expect(fs.existsSync(directory)).toBe(false)
  })

describe("kill -9 of the executor's process", () => {
  it.live.each(["process", "thread"] as const)(
    "leaves no slot, no child of one, and no directory, where a slot is a %s",
    (kind) => Effect.scoped(Effect.flatMap(startHost(kind), killAndCheck))
  )

  it.live("neither when its guardian was killed before, for that is replaced", () =>
    Effect.gen(function*() {
      const started = yield* startHost("process")
      const [first] = guardians(started.directory)
      process.kill(first!, "SIGKILL")
      yield* whenGone([first!], 5000)
      while (guardians(started.directory).length === 0) yield* Effect.yieldNow
      yield* killAndCheck(started)
    }).pipe(Effect.scoped))
})

describe("closing the executor", () => {
  it.live("leaves no slot, no guardian and no file", () =>
    Effect.gen(function*() {
      const pids = yield* Effect.gen(function*() {
        const opened = yield* openFunction("() => process.pid")
        const pid = valueOf(yield* opened.run([])) as number
        opened.submit([[]])
        return [...slotsOf(pid)]
      }).pipe(Effect.scoped, Effect.provide(layerProcess({ cpus: 2 })))
      expect(pids.length).toBeGreaterThanOrEqual(2)
      yield* whenGone(pids, 0)
    }))
})
