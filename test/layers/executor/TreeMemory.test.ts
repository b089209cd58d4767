import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { afterEach, expect } from "vitest"
import * as ProcessTree from "../../../src/layers/executor/ProcessTree.ts"
import * as TreeMemory from "../../../src/layers/executor/TreeMemory.ts"

const started: Array<ChildProcess> = []
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL")
})

const mebi = 1024

/** Runs a script of Python that says when it has its memory; what it starts ends with it. */
const python = async (marker: string, script: string): Promise<ProcessTree.TreeRoot> => {
  const child = spawn("python3", ["-c", script], {
    detached: true,
    env: { PATH: process.env["PATH"] ?? "", [ProcessTree.markerName]: marker },
    stdio: ["pipe", "pipe", "inherit"]
  })
  started.push(child)
  await once(child.stdout, "data")
  return { pid: child.pid!, start: ProcessTree.startOf(child.pid!), marker, seen: new Map() }
}

const first = async (self: TreeMemory.TreeMemory, root: ProcessTree.TreeRoot, aboveKiB: number): Promise<number> =>
  (await TreeMemory.measure(self, [{ root, aboveKiB }])).kib[0]!

/** 60 MiB in a parent, and four children that have them too and change nothing; all wait for the end of stdin. */
const forked = `import os, sys
table = bytearray(os.urandom(1 << 20) * 60)
pipe = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        os.write(pipe[1], b".")
        sys.stdin.read()
        os._exit(0)
waited = 0
while waited < 4: waited += len(os.read(pipe[0], 4))
print("ready", flush=True)
sys.stdin.read()`

const separate = `import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; table = bytearray(b'1') * (50 << 20); print(1, flush=True); sys.stdin.read()"],
    stdout=subprocess.PIPE, start_new_session=True, env={"PATH": os.environ["PATH"]})
child.stdout.readline()
print("ready", flush=True)
sys.stdin.read()`

describe("the memory of a slot", () => {
  it.live("counts what its processes share once, where the plain sum would be too much", () =>
    Effect.promise(async () => {
      const root = await python("memory.1", forked)
      const self = TreeMemory.make()
      expect(await first(self, root, Infinity)).toBeGreaterThan(300 * mebi)
      const shared = await first(self, root, 100 * mebi)
      expect(shared).toBeGreaterThan(60 * mebi)
      expect(shared).toBeLessThan(150 * mebi)
    }))

  it.live.each([true, false])(
    "counts a child that left its group and its environment; with /proc: %s",
    (hasProc) =>
      Effect.promise(async () => {
        const found = await python(`memory.2.${hasProc}`, separate)
        // `ps` does not say when a process was started.
        const root = hasProc ? found : { ...found, start: "" }
        const kib = await first(TreeMemory.make(hasProc), root, Infinity)
        expect(kib).toBeGreaterThan(55 * mebi)
        expect(kib).toBeLessThan(200 * mebi)
      })
  )

  it.live("is nothing once the slot is gone, and every slot gets an answer", () =>
    Effect.promise(async () => {
      const gone = { pid: 0, start: "", marker: "memory.3", seen: new Map<number, string>() }
      const { kib } = await TreeMemory.measure(TreeMemory.make(), [
        { root: gone, aboveKiB: 1 },
        { root: undefined, aboveKiB: 1 }
      ])
      expect(kib).toEqual([0, 0])
    }))
})
