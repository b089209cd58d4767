/** Jobs that use more and more memory, in turn with jobs that use none: each of the first ends with its peak. */
import { createJobCluster, JobOutOfMemory } from "../../src/promise.ts"

const kinds = ["heap", "buffers", "child"] as const

/** Runs on nodes: never ends by itself, unless it is to do nothing. */
const grow = (kind: string): unknown => {
  const all: Array<unknown> = []
  if (kind === "nothing") return process.pid
  if (kind === "heap") { for (;;) all.push(new Array(100_000).fill(all.length)) }
  if (kind === "buffers") { for (;;) all.push(Buffer.alloc(2 ** 20, 1)) }
  const { spawn } = process.getBuiltinModule("node:child_process")
  spawn(process.execPath, ["-e", "const all = []; for (;;) all.push(Buffer.alloc(2 ** 20, 1))"])
  return new Promise(() => {})
}

/** `count` of each kind on two slots; how many jobs were killed for it, and how many of the others finished. */
export const outgrow = async (count: number): Promise<{ readonly killed: number; readonly finished: number }> => {
  const limitBytes = 192 * 2 ** 20
  await using cluster = await createJobCluster(grow, { cpus: 2, memory: limitBytes })
  let killed = 0
  let finished = 0
  const both = async (kind: string): Promise<void> => {
    const large = cluster.submit(kind)
    const small = cluster.submit("nothing")
    const error: unknown = await large.result().catch((thrown: unknown) => thrown)
    if (!(error instanceof JobOutOfMemory)) throw error
    if (error.peakBytes <= limitBytes) throw new Error(`a job of kind ${kind} was killed at ${error.peakBytes} bytes`)
    killed++
    await small.result()
    finished++
  }
  for (let i = 0; i < count; i++) await Promise.all(kinds.map(both))
  return { killed, finished }
}
