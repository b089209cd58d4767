import { describe, expect, it } from "vitest"
import type { JobRecord } from "../../../src/domain/scheduler/JobRecord.ts"
import { invariants } from "../../../src/domain/scheduler/SchedulerState.ts"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import { aFleet, aJob } from "../../support/SchedulerBuilders.ts"

const opened = (count = 0) => {
  const fleet = aFleet()
  fleet.send({ _tag: "ComputationOpened", computationId: "c", isReentrant: false })
  const jobs: Array<JobRecord> = Array.from({ length: count }, (_, i) => aJob(i + 1))
  fleet.send({ _tag: "Submitted", computationId: "c", jobs })
  return { ...fleet, jobs }
}

/** Two nodes of one cpu, on one of which everything fails at once, until that is set aside. */
const benched = (count = 1000) => {
  const fleet = opened(count)
  fleet.join("good", 1)
  fleet.join("bad", 1)
  while (fleet.benches.length === 0) {
    fleet.answer("good", Outcome.succeeded, 100_000)
    fleet.answer("bad", Outcome.failed, 100)
  }
  return fleet
}

describe("a node on which everything fails at once", () => {
  it("gets at most 20 of 10,000 jobs of a cluster of four, which does the others elsewhere", () => {
    const fleet = opened(10_000)
    for (const nodeId of ["a", "b", "poison", "d"]) fleet.join(nodeId, 4)
    while (fleet.outcomes.size < fleet.jobs.length) {
      for (const nodeId of ["a", "b", "d"]) fleet.answer(nodeId, Outcome.succeeded, 4000)
      // It is ten times as fast.
      for (let i = 0; i < 10; i++) fleet.answer("poison", Outcome.failed, 100)
      fleet.pass(1)
    }
    expect(invariants(fleet.state)).toEqual([])
    const failed = fleet.jobs.filter(({ status }) => status !== "Finished")
    expect(new Set(failed.map(({ nodeId }) => nodeId))).toEqual(new Set(["poison"]))
    expect(failed.length).toBeGreaterThanOrEqual(10)
    expect(failed.length).toBeLessThanOrEqual(20)
    expect(fleet.benches[0]).toBe("Benched poison")
  })

  it("is tried with one job after 5 s, then 10 s, 20 s, at most 5 min, and told of each time", () => {
    const fleet = benched()
    const tries: Array<number> = []
    let since = fleet.clock.now
    for (let i = 0; i < 9; i++) {
      while (fleet.held.get("bad")?.length === 0) fleet.pass(500)
      expect(fleet.held.get("bad")).toHaveLength(1)
      expect(fleet.limits.get("bad")).toBe(1)
      tries.push((fleet.clock.now - since) / 1000)
      since = fleet.clock.now
      fleet.answer("bad", Outcome.failed, 100)
      expect(fleet.limits.get("bad")).toBe(0)
    }
    expect(tries).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300])
    expect(fleet.benches).toHaveLength(10)
  })

  it("is used again once a job succeeded there", () => {
    const fleet = benched()
    fleet.pass(5000)
    fleet.answer("bad")
    expect(fleet.benches).toEqual(["Benched bad", "Unbenched bad"])
    expect(fleet.limits.get("bad")).toBe(1)
    expect(fleet.held.get("bad")!.length).toBeGreaterThan(0)
    expect(invariants(fleet.state)).toEqual([])
  })

  it("is tried once more when the job that tried it was cancelled or given back", () => {
    const fleet = benched()
    fleet.pass(5000)
    fleet.answer("bad", Outcome.returned)
    expect(fleet.held.get("bad")).toHaveLength(1)
    expect(fleet.benches).toEqual(["Benched bad"])
  })

  it("is used again at once when it is allocated", () => {
    const fleet = benched()
    fleet.send({ _tag: "SeatAllocated", nodeId: "bad", computationId: "c", isAllocated: true })
    expect(fleet.benches).toEqual(["Benched bad", "Unbenched bad"])
    expect(fleet.held.get("bad")).toHaveLength(1)
  })

  it.each<readonly [string, (fleet: ReturnType<typeof benched>) => unknown]>([
    ["lost", (fleet) => fleet.send({ _tag: "NodeLost", nodeId: "good", reason: "gone" })],
    ["leaving", (fleet) => fleet.send({ _tag: "NodeLeaving", nodeId: "good" })],
    ["without cpus", (fleet) => fleet.send({ _tag: "SeatLimited", nodeId: "good", computationId: "c", cpus: 0 })],
    [
      "deallocated",
      (fleet) => fleet.send({ _tag: "SeatAllocated", nodeId: "good", computationId: "c", isAllocated: false })
    ],
    [
      "closed",
      (fleet) =>
        fleet.send({
          _tag: "SeatClosing",
          nodeId: "good",
          computationId: "c",
          reason: "closed",
          isTerminating: false,
          keepsPinned: false
        })
    ]
  ])("is better than none: it is used again when the other one is %s", (_, end) => {
    const fleet = benched()
    end(fleet)
    expect(fleet.benches).toEqual(["Benched bad", "Unbenched bad"])
    expect(fleet.held.get("bad")).toHaveLength(1)
    expect(invariants(fleet.state)).toEqual([])
  })

  it("goes on when it is the only one, or when everything fails everywhere: no computation stalls", () => {
    for (const nodes of [["a"], ["a", "b", "c"]]) {
      const fleet = opened(1000)
      for (const nodeId of nodes) fleet.join(nodeId, 2)
      while (fleet.outcomes.size < 1000) for (const nodeId of nodes) fleet.answer(nodeId, Outcome.failed, 100)
      expect(fleet.benches).toEqual([])
    }
  })

  it("is set aside while another is busy with its first jobs, and used again when those fail as well", () => {
    const fleet = opened(1000)
    fleet.join("fast", 2)
    fleet.join("slow", 2)
    while (fleet.answer("fast", Outcome.failed, 100));
    expect(fleet.benches).toEqual(["Benched fast"])
    expect(fleet.outcomes.size).toBeLessThanOrEqual(20)
    while (fleet.benches.length === 1) fleet.answer("slow", Outcome.slotDied, 100)
    expect(fleet.benches).toEqual(["Benched fast", "Unbenched fast"])
    while (fleet.answer("fast", Outcome.failed, 100) || fleet.answer("slow", Outcome.failed, 100));
    expect([fleet.benches.length, fleet.outcomes.size]).toEqual([2, 1000])
  })

  it("is not one whose failures take their time, or come between successes", () => {
    const fleet = opened(1000)
    fleet.join("a", 1)
    fleet.join("slow", 1)
    fleet.join("mixed", 1)
    for (let i = 0; i < 100; i++) {
      fleet.answer("a", Outcome.succeeded, 50_000)
      fleet.answer("slow", Outcome.failed, 1_500_000)
      fleet.answer("mixed", i % 10 === 9 ? Outcome.succeeded : Outcome.failed, 50_000)
    }
    expect(fleet.benches).toEqual([])
  })

  it("leaves nothing behind when it is lost or its cluster is closed", () => {
    const lost = benched()
    lost.send({ _tag: "NodeLost", nodeId: "bad", reason: "gone" })
    const closed = benched()
    closed.send({ _tag: "ComputationClosed", computationId: "c", reason: "closed" })
    for (const fleet of [lost, closed]) {
      expect(fleet.state.timers.heap).toEqual([])
      expect(invariants(fleet.state)).toEqual([])
    }
  })
})
