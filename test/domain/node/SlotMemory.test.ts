/** Memory limits of jobs, and slots that are replaced, on paper. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as MemoryGauge from "../../../src/domain/node/MemoryGauge.ts"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import { decodeMemoryPeak, encodeMemoryPeak } from "../../../src/domain/wire/MemoryPeak.ts"
import { decodeSlotDeath } from "../../../src/domain/wire/SlotDeath.ts"
import { outcomeOf, ready, runningJobs, slotOf, startJobs } from "../../support/SimulatedRuns.ts"
import * as Simulated from "../../support/SimulatedSlots.ts"

const limit = 1000

/** Jobs with a limit that have been sent to their slots. */
const limited = (simulation: Simulated.Simulation, count: number, timeoutMillis = 0): ReadonlyArray<number> => {
  const jobs = Simulated.dispatch(simulation, 1, count, timeoutMillis, limit)
  startJobs(simulation)
  return jobs
}

/** Lets a job end, and what follows from that. */
const end = (simulation: Simulated.Simulation, slot: Simulated.SimulatedSlot): void => {
  Simulated.finish(slot, 5)
  startJobs(simulation)
}

describe("a job with a memory limit", () => {
  it("is killed when it is over it, and tells its peak; the others go on elsewhere", () => {
    const simulation = ready({ cpus: 1 })
    Simulated.dispatch(simulation, 1, 400)
    Simulated.settle(simulation, 5)
    const jobs = limited(simulation, 20)
    const [large] = runningJobs(simulation)
    const slot = slotOf(simulation, large!)
    slot.kib = 1500
    Simulated.advance(simulation, 30)
    startJobs(simulation)
    expect(outcomeOf(simulation, large!)).toBe(Outcome.outOfMemory)
    expect(decodeMemoryPeak(simulation.replies.get(`1/${large!}`)!.result)).toEqual({
      peakBytes: 1500 * 1024,
      limitBytes: limit * 1024
    })
    Simulated.settle(simulation, 5)
    const outcomes = jobs.filter((job) => job !== large).map((job) => outcomeOf(simulation, job))
    expect(outcomes).toEqual(outcomes.map(() => Outcome.succeeded))
  })

  it("is left alone at the limit, and looked at ten times a second", () => {
    const simulation = ready({ cpus: 1 })
    const [job] = limited(simulation, 1)
    slotOf(simulation, job!).kib = limit
    for (let i = 0; i < 1000; i++) Simulated.advance(simulation, 1)
    expect(runningJobs(simulation)).toEqual([job])
    expect(simulation.looked).toBeGreaterThanOrEqual(9)
    expect(simulation.looked).toBeLessThanOrEqual(15)
  })

  it("is not blamed for what was seen of the job before it", () => {
    const simulation = ready({ cpus: 1 })
    simulation.looksAtOnce = false
    const [first, second] = limited(simulation, 2)
    const slot = slotOf(simulation, first!)
    slot.kib = 1500
    Simulated.advance(simulation, 30)
    // It was seen; before its node hears of that, the next job runs and uses less.
    Simulated.finish(slot, 5)
    slot.kib = 10
    startJobs(simulation)
    Simulated.settle(simulation, 5)
    expect([first!, second!].map((job) => outcomeOf(simulation, job))).toEqual([Outcome.succeeded, Outcome.succeeded])
  })

  it("is looked at once more before it is killed", () => {
    const simulation = ready({ cpus: 1 })
    simulation.looksAtOnce = false
    const [job] = limited(simulation, 1)
    const slot = slotOf(simulation, job!)
    slot.kib = 1500
    Simulated.advance(simulation, 30)
    Simulated.hearLook(simulation)
    expect(simulation.looks).toHaveLength(1)
    expect(slot.isAlive).toBe(true)
    Simulated.hearLook(simulation)
    expect(slot.isAlive).toBe(false)
  })

  it("has no grace when it grows while it is to end", () => {
    const simulation = ready({ cpus: 1 })
    const [job] = limited(simulation, 1, 100)
    const slot = slotOf(simulation, job!)
    slot.outbox.push({ _tag: "SlotListening", slot: slot.id, jobId: job! })
    startJobs(simulation)
    for (let i = 0; i < 15; i++) Simulated.advance(simulation, 10)
    expect(slot.isAlive).toBe(true)
    slot.kib = 1500
    for (let i = 0; i < 10; i++) Simulated.advance(simulation, 10)
    expect(slot.isAlive).toBe(false)
    startJobs(simulation)
    expect(outcomeOf(simulation, job!)).toBe(Outcome.timedOut)
  })

  it("tells its peak when it takes its slot down by itself", () => {
    const simulation = ready({ cpus: 1 })
    const [job] = limited(simulation, 1)
    const slot = slotOf(simulation, job!)
    slot.kib = 700
    Simulated.advance(simulation, 30)
    Simulated.die(simulation, slot)
    startJobs(simulation)
    expect(decodeSlotDeath(simulation.replies.get(`1/${job!}`)!.result).peakBytes).toBe(700 * 1024)
  })

  it("runs elsewhere when its slot has no room left", () => {
    const simulation = ready({ cpus: 1 })
    const [job] = Simulated.dispatch(simulation, 1, 1, 0, limit)
    const [slot] = [...simulation.slots.values()].filter((one) => one.session === 1)
    Simulated.receive(slot!)
    expect(Simulated.fill(slot!)).toBe(true)
    Simulated.settle(simulation, 5)
    expect(outcomeOf(simulation, job!)).toBe(Outcome.succeeded)
    expect(simulation.slots.has(slot!.id)).toBe(false)
  })
})

describe("slots", () => {
  it("are not looked at for jobs without a limit", () => {
    const simulation = ready({ cpus: 2 })
    Simulated.dispatch(simulation, 1, 50)
    for (let i = 0; i < 300; i++) {
      Simulated.advance(simulation, 10)
      Simulated.settle(simulation, 5)
    }
    Simulated.dispatch(simulation, 1, 2)
    startJobs(simulation)
    for (let i = 0; i < 100; i++) Simulated.advance(simulation, 10)
    expect(simulation.looked).toBe(0)
  })

  it.each(["process", "thread"] as const)("are replaced after so many jobs: %s", (kind) => {
    const simulation = ready({ cpus: 2 }, { kind, concurrency: 1, slotLimits: { jobs: 5, memoryKiB: 0 } })
    const jobs = Simulated.dispatch(simulation, 1, 100)
    for (let i = 0; i < 200; i++) {
      Simulated.settle(simulation, 5)
      // A thread that is to stop does.
      for (const slot of simulation.slots.values()) if (slot.isTerminated) Simulated.die(simulation, slot)
      Simulated.advance(simulation, 10)
    }
    expect(jobs.every((job) => outcomeOf(simulation, job) === Outcome.succeeded)).toBe(true)
    expect(simulation.pool.nextSlotId).toBeGreaterThan(20)
  })

  it("are replaced when they keep too much, but not under a job", () => {
    const kind = { kind: "process", concurrency: 1, slotLimits: { jobs: 0, memoryKiB: 500 } } as const
    const simulation = ready({ cpus: 1 }, kind)
    const [job] = Simulated.dispatch(simulation, 1, 1)
    startJobs(simulation)
    const slot = slotOf(simulation, job!)
    slot.kib = 800
    for (let i = 0; i < 300; i++) Simulated.advance(simulation, 10)
    expect(slot.isAlive).toBe(true)
    end(simulation, slot)
    expect(outcomeOf(simulation, job!)).toBe(Outcome.succeeded)
    expect(slot.isAlive).toBe(false)
  })

  it("stay when they have given back what a job used, and serve on", () => {
    const kind = { kind: "process", concurrency: 1, slotLimits: { jobs: 0, memoryKiB: 500 } } as const
    const simulation = ready({ cpus: 1 }, kind)
    const [job, next] = Simulated.dispatch(simulation, 1, 2)
    startJobs(simulation)
    const slot = slotOf(simulation, job!)
    slot.kib = 800
    for (let i = 0; i < 300; i++) Simulated.advance(simulation, 10)
    slot.kib = 100
    end(simulation, slot)
    expect(slotOf(simulation, next!)).toBe(slot)
  })
})

describe("the time of the next look", () => {
  it("is never later than a tenth of a second, and comes before a steady growth has passed the limit by half", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 10_000, max: 1_000_000 }), (speed, most) => {
        const gauge = MemoryGauge.make()
        let now = 1
        for (let looks = 0; looks < 100_000; looks++) {
          const kib = now * speed
          const wait = MemoryGauge.note(gauge, kib, now, most)
          expect(wait).toBeGreaterThanOrEqual(10)
          expect(wait).toBeLessThanOrEqual(100)
          if (kib > most) {
            // Ten milliseconds late, or those of the first looks, when the speed is not known yet.
            expect(kib).toBeLessThanOrEqual(most + speed * MemoryGauge.firstMillis)
            return
          }
          now += wait
        }
        throw new Error("it was never noticed")
      })
    )
  })
})

describe("a peak", () => {
  it("survives its encoding, and is 0 where the bytes are none", () => {
    const peak = { peakBytes: 3 * 2 ** 40 + 1, limitBytes: 2 ** 30 }
    expect(decodeMemoryPeak(encodeMemoryPeak(peak))).toEqual(peak)
    expect(decodeMemoryPeak(new Uint8Array(3))).toEqual({ peakBytes: 0, limitBytes: 0 })
    expect(decodeMemoryPeak(new Uint8Array(16).fill(255))).toEqual({ peakBytes: 0, limitBytes: 0 })
  })
})
