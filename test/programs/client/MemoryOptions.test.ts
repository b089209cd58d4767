import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as MemoryOptions from "../../../src/programs/client/MemoryOptions.ts"

const alone = { executor: "process", concurrency: 1 } as const

describe("the memory of jobs and slots", () => {
  it("is limited in whole KiB, and not at all by default", () => {
    const none = Result.getOrThrow(MemoryOptions.check({}, alone))
    expect(none).toEqual({ memoryKiB: 0, slotLimits: undefined })
    const some = Result.getOrThrow(
      MemoryOptions.check({ memory: 2 ** 30 + 1, slotMemory: 2 ** 31, slotJobs: 9 }, alone)
    )
    expect(some).toEqual({ memoryKiB: 2 ** 20 + 1, slotLimits: { memoryKiB: 2 ** 21, jobs: 9 } })
  })

  it("is a job's own where it says so, also none", () => {
    const cluster = { memoryKiB: 500_000, isAlone: true }
    const limits = [undefined, 0, 2 ** 30].map((memory) => Result.getOrThrow(MemoryOptions.ofJob(memory, cluster)))
    expect(limits).toEqual([500_000, 0, 2 ** 20])
    const shared = MemoryOptions.ofJob(2 ** 30, { memoryKiB: 0, isAlone: false })
    expect(Result.isFailure(shared) && shared.failure).toMatchObject({ _tag: "InvalidOption", option: "memory" })
  })

  it("may be kept small in slots that run several jobs, and their number also in threads", () => {
    expect(Result.isSuccess(MemoryOptions.check({ slotMemory: 2 ** 30 }, { ...alone, concurrency: 5 }))).toBe(true)
    expect(Result.isSuccess(MemoryOptions.check({ slotJobs: 5 }, { executor: "thread", concurrency: 1 }))).toBe(true)
  })
})
