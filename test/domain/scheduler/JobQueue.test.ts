/** The queue of jobs that wait: in order, with those in front that came back, and nothing kept of those it gave. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as JobQueue from "../../../src/domain/scheduler/JobQueue.ts"
import type { JobRecord } from "../../../src/domain/scheduler/JobRecord.ts"
import { aJob } from "../../support/SchedulerBuilders.ts"

describe("the queue", () => {
  it("keeps no job that it gave, whose result may be large", () => {
    const queue = JobQueue.make()
    for (let n = 0; n < 3; n++) JobQueue.push(queue, aJob(n))
    const given = [JobQueue.shift(queue), JobQueue.shift(queue)]
    expect(given.map((job) => job?.number)).toEqual([0, 1])
    expect(queue.back.filter((job) => job !== undefined).map((job) => job.number)).toEqual([2])
  })

  it("gives jobs in the order of their submission, those that came back first, and no cancelled ones", () => {
    const steps = fc.array(fc.constantFrom("push", "push", "shift", "unshift", "cancel", "clear"), { maxLength: 200 })
    fc.assert(fc.property(steps, fc.nat(), (all, seed) => {
      const queue = JobQueue.make()
      let model: Array<JobRecord> = []
      let last: JobRecord | undefined
      let number = 0
      for (const step of all) {
        if (step === "push") {
          const job = aJob(++number)
          JobQueue.push(queue, job)
          model.push(job)
        } else if (step === "shift") {
          last = JobQueue.shift(queue)
          expect(last).toBe(model.shift())
        } else if (step === "unshift" && last !== undefined) {
          JobQueue.unshift(queue, last)
          model.unshift(last)
          last = undefined
        } else if (step === "cancel" && model.length > 0) {
          const [job] = model.splice(seed % model.length, 1)
          job!.status = "Cancelled"
          JobQueue.forget(queue)
        } else if (step === "clear") {
          expect(JobQueue.clear(queue)).toEqual(model)
          model = []
        }
        expect(queue.size).toBe(model.length)
        expect(JobQueue.toArray(queue)).toEqual(model)
      }
    }))
  })
})
