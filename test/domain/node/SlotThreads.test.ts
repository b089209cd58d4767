import { describe, expect, it } from "vitest"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import { outcomeOf, ready, reasonOf, runningJobs, slotOf, startJobs } from "../../support/SimulatedRuns.ts"
import * as Simulated from "../../support/SimulatedSlots.ts"

describe("threads", () => {
  const threads = (cpus: number): Simulated.Simulation => ready({ cpus }, { kind: "thread", concurrency: 1 })

  it("are made in one process, as many as there are cpus and jobs", () => {
    const simulation = threads(3)
    const jobs = Simulated.dispatch(simulation, 1, 3)
    startJobs(simulation)
    expect(new Set(jobs.map((job) => slotOf(simulation, job).id)).size).toBe(3)
    expect(new Set(jobs.map((job) => slotOf(simulation, job).host)).size).toBe(1)
  })

  it("are stopped alone: the jobs of the others go on", () => {
    const simulation = threads(2)
    const [first, second] = Simulated.dispatch(simulation, 1, 2)
    startJobs(simulation)
    const thread = slotOf(simulation, first!)
    Simulated.cancel(simulation, 1, [first!])
    expect(thread.isTerminated).toBe(true)
    Simulated.die(simulation, thread)
    startJobs(simulation)
    Simulated.advance(simulation, 2000)
    Simulated.settle(simulation, 5)
    expect(outcomeOf(simulation, first!)).toBe(Outcome.cancelled)
    expect(outcomeOf(simulation, second!)).toBe(Outcome.succeeded)
  })

  it("that do not stop cost their process; what had not started runs in a fresh one", () => {
    const simulation = threads(2)
    const [first, second, third] = Simulated.dispatch(simulation, 1, 3)
    startJobs(simulation)
    const { host } = slotOf(simulation, first!)
    Simulated.cancel(simulation, 1, [first!])
    Simulated.advance(simulation, 999)
    expect(simulation.slots.get(host)?.isAlive).toBe(true)
    Simulated.advance(simulation, 1)
    startJobs(simulation)
    expect(outcomeOf(simulation, first!)).toBe(Outcome.cancelled)
    expect(outcomeOf(simulation, second!)).toBe(Outcome.slotDied)
    expect(reasonOf(simulation, second!)).toBe(
      `the process of its thread was killed because job ${first}, which ran in another thread, could not be stopped`
    )
    for (let i = 0; i < 10; i++) {
      Simulated.settle(simulation, 5)
      Simulated.advance(simulation, 300)
    }
    expect(outcomeOf(simulation, third!)).toBe(Outcome.succeeded)
    expect(simulation.slots.has(host)).toBe(false)
  })

  it("share the doubt when their process crashes, unless only one was at work", () => {
    const simulation = threads(2)
    const [first, second] = Simulated.dispatch(simulation, 1, 2)
    startJobs(simulation)
    Simulated.die(simulation, simulation.slots.get(slotOf(simulation, first!).host)!)
    startJobs(simulation)
    expect(reasonOf(simulation, first!)).toBe(
      `killed by SIGSEGV; jobs ${first} and ${second} ran in the same process, and any of them may have caused it`
    )
    expect(reasonOf(simulation, second!)).toBe(reasonOf(simulation, first!))
    Simulated.advance(simulation, 300)
    const [alone] = Simulated.dispatch(simulation, 1, 1)
    startJobs(simulation)
    Simulated.die(simulation, simulation.slots.get(slotOf(simulation, alone!).host)!)
    startJobs(simulation)
    expect(reasonOf(simulation, alone!)).toBe("killed by SIGSEGV")
  })
})

describe("several jobs at a time", () => {
  it("run in one slot, end in any order, and leave room for the next", () => {
    const simulation = ready({ cpus: 1 }, { kind: "process", concurrency: 3 })
    const jobs = Simulated.dispatch(simulation, 1, 5)
    startJobs(simulation)
    expect(runningJobs(simulation)).toEqual(jobs.slice(0, 3))
    const slot = slotOf(simulation, jobs[0]!)
    Simulated.finish(slot, 5, 1)
    startJobs(simulation)
    expect(runningJobs(simulation)).toEqual([jobs[0], jobs[2], jobs[3]])
    expect(outcomeOf(simulation, jobs[1]!)).toBe(Outcome.succeeded)
  })

  it("are not kept waiting behind one that computes", () => {
    const simulation = ready({ cpus: 2, spares: 2 }, { kind: "process", concurrency: 3 })
    const [first, second] = Simulated.dispatch(simulation, 1, 2)
    const busy = [...simulation.slots.values()].find((slot) => slot.fifo > 0)!
    Simulated.receive(busy)
    Simulated.begin(simulation, busy)
    Simulated.advance(simulation, 25)
    for (const slot of simulation.slots.values()) {
      if (slot === busy) continue
      for (let i = 0; i < 5; i++) {
        Simulated.receive(slot)
        Simulated.begin(simulation, slot)
        Simulated.read(simulation, slot)
      }
    }
    expect(slotOf(simulation, first!)).toBe(busy)
    expect(slotOf(simulation, second!)).not.toBe(busy)
  })

  it("are asked to end one by one; one that does not costs the others, which say so", () => {
    const simulation = ready({ cpus: 1 }, { kind: "process", concurrency: 3 })
    const [first, second, third] = Simulated.dispatch(simulation, 1, 3)
    startJobs(simulation)
    const slot = slotOf(simulation, first!)
    Simulated.cancel(simulation, 1, [first!, third!])
    Simulated.finish(slot, 5, 2)
    Simulated.advance(simulation, 999)
    startJobs(simulation)
    expect(outcomeOf(simulation, third!)).toBe(Outcome.cancelled)
    expect(slot.isAlive).toBe(true)
    Simulated.advance(simulation, 1)
    startJobs(simulation)
    expect(outcomeOf(simulation, first!)).toBe(Outcome.cancelled)
    expect(outcomeOf(simulation, second!)).toBe(Outcome.slotDied)
    expect(reasonOf(simulation, second!)).toContain(`job ${first}, which ran in it at the same time, did not end`)
  })

  it("have each a timeout of its own", () => {
    const simulation = ready({ cpus: 1 }, { kind: "process", concurrency: 2 })
    const [first] = Simulated.dispatch(simulation, 1, 1, 100)
    startJobs(simulation)
    Simulated.advance(simulation, 60)
    const [second] = Simulated.dispatch(simulation, 1, 1, 100)
    startJobs(simulation)
    Simulated.advance(simulation, 50)
    const slot = slotOf(simulation, first!)
    Simulated.finish(slot, 110_000)
    Simulated.finish(slot, 50_000)
    startJobs(simulation)
    expect(outcomeOf(simulation, first!)).toBe(Outcome.timedOut)
    expect(outcomeOf(simulation, second!)).toBe(Outcome.succeeded)
  })
})
