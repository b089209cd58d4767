/**
 * The machine's figures from `node:os` and `fs.statfs`, and on Linux from
 * `/proc`, which alone tells what programs can still use of the memory (free
 * memory counts caches as used) and how much swap is free.
 */
import { Effect, Layer } from "effect"
import { readFile, statfs } from "node:fs/promises"
import * as os from "node:os"
import { HostStats } from "../../services/HostStats.ts"

interface CpuTimes {
  readonly idle: number
  readonly total: number
}

const cpuTimes = (): CpuTimes => {
  let idle = 0
  let total = 0
  for (const { times } of os.cpus()) {
    idle += times.idle
    total += times.user + times.nice + times.sys + times.irq + times.idle
  }
  return { idle, total }
}

/** Idle time in percent between two readings. */
const idlePercent = (before: CpuTimes, after: CpuTimes): number => {
  const total = after.total - before.total
  if (total <= 0) return 100
  return Math.min(100, Math.max(0, 100 * (after.idle - before.idle) / total))
}

interface Memory {
  readonly memory: number
  readonly swap: number
}

const parseMemory = (meminfo: string): Memory => {
  const bytesOf = (key: string): number | undefined => {
    const found = new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(meminfo)
    return found === null ? undefined : Number(found[1]) * 1024
  }
  const swapTotal = bytesOf("SwapTotal") ?? 0
  const memory = bytesOf("MemAvailable") ?? os.freemem()
  // A container's limit, where there is one, is lower than what the machine has.
  const limit = process.constrainedMemory()
  return {
    memory: limit > 0 && limit < os.totalmem() ? Math.min(memory, process.availableMemory()) : memory,
    swap: swapTotal === 0 ? 0 : 100 * (bytesOf("SwapFree") ?? 0) / swapTotal
  }
}

const readMemory: Effect.Effect<Memory> = process.platform === "linux"
  ? Effect.tryPromise(() => readFile("/proc/meminfo", "utf8")).pipe(
    Effect.orElseSucceed(() => ""),
    Effect.map(parseMemory)
  )
  : Effect.sync(() => parseMemory(""))

const readDisk = (directory: string): Effect.Effect<number> =>
  Effect.tryPromise(() => statfs(directory)).pipe(
    Effect.map((stats) => stats.bavail * stats.bsize),
    Effect.orElseSucceed(() => 0)
  )

const tenths = (value: number): number => Math.round(value * 10) / 10

const make = Effect.sync(() => {
  let before = cpuTimes()
  return HostStats.of({
    hostName: os.hostname(),
    cpus: os.availableParallelism(),
    platform: `${process.platform}-${process.arch} ${os.release()} node-${process.versions.node}`,
    availInfo: (directory) =>
      Effect.map(Effect.all([readMemory, readDisk(directory)], { concurrency: 2 }), ([{ memory, swap }, disk]) => {
        const after = cpuTimes()
        const cpu = idlePercent(before, after)
        before = after
        return { cpu: tenths(cpu), memory, disk, swap: tenths(swap) }
      })
  })
})

/** The machine that this process runs on. */
export const layer: Layer.Layer<HostStats> = Layer.effect(HostStats, make)
