/** Provisional results of a job: kept for those who come late, unlimited for those who listen, gone for those who left. */
import { describe, expect, it } from "vitest"
import { noBytes } from "../../../src/domain/wire/Entries.ts"
import { ClusterJob, settle } from "../../../src/programs/client/ClusterJob.ts"
import * as ProvisionalResults from "../../../src/programs/client/ProvisionalResults.ts"

const aJob = () => new ClusterJob(1, noBytes, 0, { timeoutMillis: 0, memoryKiB: 0 }, undefined)

const end = (job: ClusterJob) =>
  settle(job, { value: undefined, error: undefined, stdout: "", stderr: "", startTime: 0, endTime: 0 })

const collect = async (iterator: AsyncIterable<number>) => {
  const values: Array<number> = []
  for await (const value of iterator) values.push(value)
  return values
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

describe("ProvisionalResults", () => {
  it("keeps the last thousand for those who begin to listen later", async () => {
    const job = aJob()
    for (const n of numbers(0, 2500)) ProvisionalResults.add(job, n)
    expect(ProvisionalResults.latest(job)).toBe(2499)
    expect(job.provisional!.kept.length).toBeLessThan(2000)
    end(job)
    expect(await collect(new ProvisionalResults.ProvisionalIterator<number>(job))).toEqual(numbers(1500, 2500))
  })

  it("gives a listener everything from then on, however slow it is", async () => {
    const job = aJob()
    const iterator = new ProvisionalResults.ProvisionalIterator<number>(job)
    for (const n of numbers(0, 5000)) ProvisionalResults.add(job, n)
    expect(await iterator.next()).toEqual({ done: false, value: 0 })
    const waiting = collect(iterator)
    ProvisionalResults.add(job, 5000)
    end(job)
    expect(await waiting).toEqual(numbers(1, 5001))
  })

  it("wakes a listener that waits, and forgets one that leaves", async () => {
    const job = aJob()
    const iterator = new ProvisionalResults.ProvisionalIterator<number>(job)
    const next = iterator.next()
    ProvisionalResults.add(job, 7)
    expect(await next).toEqual({ done: false, value: 7 })
    const pending = iterator.next()
    await iterator.return()
    expect(await pending).toEqual({ done: true, value: undefined })
    expect(job.provisional!.listeners.size).toBe(0)
    expect(job.listener?.()).toBeUndefined()
  })

  it("costs a job without any nothing", async () => {
    const job = aJob()
    expect([ProvisionalResults.latest(job), job.provisional]).toEqual([undefined, undefined])
    end(job)
    expect(await collect(new ProvisionalResults.ProvisionalIterator<number>(job))).toEqual([])
  })
})
