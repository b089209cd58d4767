/** Threads and several jobs at a time as a user meets them, in both APIs. */
import { Effect, Stream } from "effect"
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
