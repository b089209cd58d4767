/** Memory limits through the whole system: facade, scheduler, a real daemon, real slot processes. */
import { afterAll, describe, expect, it } from "vitest"
import { createJobCluster, JobOutOfMemory } from "../../src/promise.ts"
import { untilIdle } from "../support/Leftovers.ts"
import { outgrow } from "../support/Outgrowing.ts"

afterAll(untilIdle)

const mebibyte = 2 ** 20

describe("a job that uses more memory than it may", () => {
  it("ends with its peak, in the heap, in buffers and in a child, and costs nobody else anything", async () => {
    await expect(outgrow(2)).resolves.toEqual({ killed: 6, finished: 6 })
  })

  it("may have a limit of its own, or none", async () => {
    await using cluster = await createJobCluster(async (mebibytes: number) => {
      const kept = Array.from({ length: mebibytes }, () => Buffer.alloc(2 ** 20, 1))
      await new Promise((done) => setTimeout(done, 700))
      return kept.length
    }, { cpus: 1, memory: 192 * 2 ** 20, grace: 0 })
    const error: unknown = await cluster.run(250).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(JobOutOfMemory)
    expect(error).toMatchObject({ jobId: 1, node: "local", limitBytes: 192 * mebibyte })
    expect((error as JobOutOfMemory).peakBytes).toBeGreaterThan(192 * mebibyte)
    expect((error as JobOutOfMemory).message).toMatch(/^job 1 used \d+ MiB .* limit of 192 MiB, .* raise `memory`/)
    expect(await cluster.with({ memory: 0 }).run(250)).toBe(250)
    expect(await cluster.with({ memory: 1024 * mebibyte }).run(250)).toBe(250)
  })

  it("is alone in it: items of map are no chunk", async () => {
    await using cluster = await createJobCluster((n: number) => {
      const kept: Array<Buffer> = []
      if (n === 7) { for (;;) kept.push(Buffer.alloc(2 ** 20, 1)) }
      return n
    }, { cpus: 1, memory: 192 * mebibyte })
    const seen: Array<number> = []
    const all = (async () => {
      for await (const n of cluster.map(Array(20).keys())) seen.push(n)
    })()
    await expect(all).rejects.toMatchObject({ _tag: "JobOutOfMemory" })
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6])
  })

  it("is refused where jobs share a process", async () => {
    await using cluster = await createJobCluster(async () => 1, { cpus: 1, concurrency: 2 })
    expect(() => cluster.with({ memory: 512 * mebibyte }).submit()).toThrow(
      expect.objectContaining({ _tag: "InvalidOption", option: "memory" })
    )
  })
})

describe("slots", () => {
  it("are replaced after slotJobs jobs", async () => {
    await using cluster = await createJobCluster(() => process.pid, { cpus: 1, slotJobs: 4 })
    const pids = await Promise.all(Array.from({ length: 12 }, () => cluster.run()))
    expect(new Set(pids).size).toBe(3)
  })
})
