/** Threads and several jobs at a time as a user meets them, in both APIs. */
import { Effect, Stream } from "effect"
import * as fs from "node:fs"
import { afterAll, describe, expect, it } from "vitest"
import { JobCluster } from "../../src/index.ts"
import { createJobCluster } from "../../src/promise.ts"
import { untilIdle } from "../support/Leftovers.ts"

afterAll(untilIdle)

describe("executor: \"thread\"", () => {
  it("runs the jobs of a node in threads of one process, beside a cluster in processes", async () => {
    const pids = () => [process.pid, process.getBuiltinModule("node:worker_threads").threadId]
    await using threads = await createJobCluster(pids, { cpus: 2, executor: "thread" })
    await using processes = await createJobCluster(pids, { cpus: 2 })
    const inThreads = await Promise.all(Array.from({ length: 40 }, () => threads.submit().result()))
    const inProcesses = await Promise.all(Array.from({ length: 40 }, () => processes.submit().result()))
    expect(new Set(inThreads.map(([pid]) => pid)).size).toBe(1)
    expect(inThreads.every(([, thread]) => thread! > 0)).toBe(true)
    expect(inProcesses.every(([, thread]) => thread === 0)).toBe(true)
  })

  it("fails a job that ends its thread, and goes on", async () => {
    await using cluster = await createJobCluster((n: number) => n === 0 ? process.exit(5) : n, {
      cpus: 1,
      executor: "thread"
    })
    await expect(cluster.submit(0).result()).rejects.toMatchObject({ _tag: "JobCrashed", exitCode: 5 })
    expect(await cluster.submit(3).result()).toBe(3)
  })

  it("maps items, with Effect", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make((n: number) => n * 2, { cpus: 2, executor: "thread" })
      const sum = yield* Stream.runFold(
        cluster.map(Array.from({ length: 5000 }, (_, n) => n)),
        () => 0,
        (total: number, n: number) => total + n
      )
      expect(sum).toBe(4999 * 5000)
    }).pipe(Effect.scoped, Effect.runPromise))

  it("is refused for programs, before anything is sent", async () => {
    await expect(createJobCluster("true", { executor: "thread" })).rejects.toMatchObject({
      _tag: "InvalidOption",
      message: expect.stringContaining("a program is a process of its own") as string
    })
  })
})

/** Memory in bytes of the daemon and all of its slots, what they share counted once. */
const memoryOf = (daemon: number): number => {
  const children = fs.readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) &&
        new RegExp(`^PPid:\\s+${daemon}$`, "m").test(fs.readFileSync(`/proc/${pid}/status`, "utf8"))
    } catch {
      return false
    }
  })
  return [daemon, ...children.map(Number)].reduce((sum, pid) => {
    const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8")
    return sum + Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)![1]) * 1024
  }, 0)
}

describe("shared memory", () => {
  const make = (bytes: number) => new Uint8Array(new SharedArrayBuffer(bytes)).fill(3)
  const search = (_n: number) => {
    const bytes = dispy.shared as Uint8Array
    let sum = 0
    // Every page of it.
    for (let i = 0; i < bytes.length; i += 4096) sum += bytes[i]!
    return { sum, daemon: process.ppid }
  }

  it("is one copy for all slots of a node", async () => {
    const searched = async (bytes: number) => {
      const options = { cpus: 2, executor: "thread", setup: make, setupArgs: [bytes] } as const
      await using cluster = await createJobCluster(search, options)
      const found = await Promise.all(Array.from({ length: 8 }, (_, n) => cluster.submit(n).result()))
      expect(found.every((one) => one.sum === 3 * Math.ceil(bytes / 4096))).toBe(true)
      return memoryOf(found[0]!.daemon)
    }
    // So large that what the collectors of several processes leave for later makes no difference.
    const size = 256 * 2 ** 20
    const nothing = await searched(1)
    expect(await searched(size) - nothing).toBeLessThan(1.5 * size)
  })

  it("is the same for jobs of all threads, also of one that took the place of another", async () => {
    const counter = () => new Int32Array(new SharedArrayBuffer(4))
    const add = (n: number) => {
      if (n === 0) process.exit(1)
      return Atomics.add(dispy.shared as Int32Array, 0, n) + n
    }
    await using cluster = await createJobCluster(add, { cpus: 2, executor: "thread", setup: counter })
    await Promise.all(Array.from({ length: 1000 }, () => cluster.submit(1).result()))
    for (let i = 0; i < 2; i++) await expect(cluster.submit(0).result()).rejects.toMatchObject({ _tag: "JobCrashed" })
    await Promise.all(Array.from({ length: 1000 }, () => cluster.submit(1).result()))
    expect(await cluster.submit(1).result()).toBe(2001)
  })

  it("wakes a job that waits for it", async () => {
    const flags = () => new Int32Array(new SharedArrayBuffer(4))
    const wait = async (role: string) => {
      const flag = dispy.shared as Int32Array
      if (role === "wake") {
        Atomics.store(flag, 0, 1)
        return Atomics.notify(flag, 0)
      }
      const { value } = Atomics.waitAsync(flag, 0, 0)
      dispy.provisionalResult("waits")
      return value
    }
    await using cluster = await createJobCluster(wait, { cpus: 2, executor: "thread", setup: flags })
    const waits = cluster.submit("wait")
    for await (const _ of waits.provisional()) break
    expect(await cluster.submit("wake").result()).toBe(1)
    expect(await waits.result()).toBe("ok")
  })
})

describe("concurrency", () => {
  it("keeps all of its jobs going at the same time, also those of map", async () => {
    const wait = (n: number) => new Promise<number>((resolve) => setTimeout(resolve, 200, n))
    await using cluster = await createJobCluster(wait, { cpus: 1, concurrency: 20 })
    const [submitted, mapped] = [performance.now(), Array.from({ length: 40 }, (_, n) => n)]
    expect(await Promise.all(mapped.map((n) => cluster.submit(n).result()))).toEqual(mapped)
    const all: Array<number> = []
    for await (const n of cluster.map(mapped)) all.push(n)
    expect(all).toEqual(mapped)
    // One at a time they would take 16 seconds.
    expect(performance.now() - submitted).toBeLessThan(8000)
  })
})
