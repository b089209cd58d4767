import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { JobRecord } from "../../../src/domain/scheduler/JobRecord.ts"
import { hasEnded } from "../../../src/domain/scheduler/JobRecord.ts"
import { invariants } from "../../../src/domain/scheduler/SchedulerState.ts"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import { aBatch, aFleet, aJob, aReply } from "../../support/SchedulerBuilders.ts"

const jobs = (from: number, count: number): Array<JobRecord> => Array.from({ length: count }, (_, i) => aJob(from + i))

const opened = () => {
  const fleet = aFleet()
  fleet.send({ _tag: "ComputationOpened", computationId: "c", isReentrant: false })
  return fleet
}

describe("placing jobs", () => {
  it("keeps jobs until a node has the computation, and sends them in order", () => {
    const fleet = opened()
    const all = jobs(1, 3)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: all })
    fleet.send({ _tag: "NodeJoined", nodeId: "a", cpus: 8 })
    expect(all.map((job) => job.status)).toEqual(["Created", "Created", "Created"])
    fleet.send({ _tag: "NodeReady", nodeId: "a", computationId: "c" })
    expect(fleet.held.get("a")?.map((job) => job.number)).toEqual([1, 2, 3])
    expect(all.map((job) => job.status)).toEqual(["Running", "Running", "Running"])
  })

  it("gives the next job to the least loaded node, counted per cpu", () => {
    const fleet = opened()
    fleet.join("small", 1)
    fleet.join("large", 3)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: jobs(1, 4) })
    expect(fleet.held.get("small")).toHaveLength(1)
    expect(fleet.held.get("large")).toHaveLength(3)
  })

  it("sends no more than one job per cpu before it knows how long they take", () => {
    const fleet = opened()
    fleet.join("a", 2)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: jobs(1, 10) })
    expect(fleet.held.get("a")).toHaveLength(2)
  })

  it("sends as many jobs per cpu as the computation runs there at a time, and ahead as many as of any other", () => {
    const fleet = aFleet()
    fleet.send({ _tag: "ComputationOpened", computationId: "c", isReentrant: false, concurrency: 10 })
    fleet.join("a", 2)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: jobs(1, 100) })
    expect(fleet.held.get("a")).toHaveLength(20)
    fleet.answer("a", Outcome.succeeded, 100_000)
    expect(fleet.held.get("a")).toHaveLength(20)
    fleet.answer("a", Outcome.succeeded, 100)
    expect(fleet.held.get("a")!.length).toBeLessThanOrEqual(22)
  })

  it("sends short jobs ahead, at most twice as many per answer, and never more than 5 ms of work", () => {
    const fleet = opened()
    fleet.join("a", 1)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: jobs(1, 100) })
    const holdings: Array<number> = []
    for (let i = 0; i < 8; i++) {
      fleet.answer("a", Outcome.succeeded, 500)
      holdings.push(fleet.held.get("a")!.length)
    }
    expect(holdings.slice(0, 3)).toEqual([2, 4, 8])
    expect(Math.max(...holdings)).toBe(11)
  })

  it("sends one job per cpu ahead of jobs that take longer than 5 ms", () => {
    const fleet = opened()
    fleet.join("a", 2)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: jobs(1, 20) })
    for (let i = 0; i < 6; i++) fleet.answer("a", Outcome.succeeded, 10_000)
    expect(fleet.held.get("a")).toHaveLength(4)
  })

  it("sends nothing ahead of jobs that take longer than 20 ms", () => {
    const fleet = opened()
    fleet.join("a", 2)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: jobs(1, 20) })
    for (let i = 0; i < 6; i++) {
      fleet.answer("a", Outcome.succeeded, 21_000)
      expect(fleet.held.get("a")).toHaveLength(2)
    }
  })

  it("sends nothing more to a node that is leaving, and takes what it still answers", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const all = jobs(1, 2)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: all })
    fleet.send({ _tag: "NodeLeaving", nodeId: "a" })
    fleet.answer("a")
    expect(all.map((job) => job.status)).toEqual(["Finished", "Created"])
  })
})

describe("outcomes", () => {
  it("drops a reply of an older attempt, of a wrong node, and a second one", () => {
    const fleet = opened()
    fleet.join("a", 1)
    fleet.join("b", 1)
    const [job] = jobs(1, 1)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: [job!] })
    const reply = aReply({ number: 1, attempt: job!.attempt })
    fleet.send({ _tag: "Replied", nodeId: "b", computationId: "c", batch: reply })
    fleet.send({ _tag: "Replied", nodeId: "a", computationId: "c", batch: aReply({ number: 1, attempt: 7 }) })
    expect(job!.status).toBe("Running")
    fleet.send({ _tag: "Replied", nodeId: "a", computationId: "c", batch: aBatch(reply, reply) })
    expect(job!.status).toBe("Finished")
    expect(fleet.state.droppedReplies).toBe(3)
    expect(fleet.outcomes.get(job!)).toHaveLength(1)
  })

  it("ignores and counts 100,000 lies of a node: of others' jobs, of jobs that there are not, of other attempts, twice", () => {
    const fleet = opened()
    fleet.join("honest", 2)
    fleet.join("liar", 2)
    const mine = jobs(1, 4)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: mine })
    const others = mine.filter(({ nodeId }) => nodeId === "honest")
    const [own] = mine.filter(({ nodeId }) => nodeId === "liar")
    expect(others.length).toBeGreaterThan(0)
    const outcomes = Object.values(Outcome)
    const lies = 100_000
    for (let n = 0; n < lies; n++) {
      const victim = n % 4 === 0
        ? others[n % others.length]!
        : n % 4 === 1
        ? { number: 5 + n, attempt: 1 }
        : { number: own!.number, attempt: own!.attempt + 1 + n % 1000 }
      const batch = aReply(victim, outcomes[n % outcomes.length])
      const computationId = n % 4 === 3 ? "none" : "c"
      expect(fleet.send({ _tag: "Replied", nodeId: "liar", computationId, batch })).toEqual([])
    }
    expect(fleet.state.droppedReplies).toBe(lies)
    expect(mine.map(({ status }) => status)).toEqual(["Running", "Running", "Running", "Running"])
    while (fleet.answer("honest") || fleet.answer("liar"));
    expect(mine.map((job) => fleet.outcomes.get(job))).toEqual(mine.map(() => ["reply 0"]))
    expect(invariants(fleet.state)).toEqual([])
  })

  it("passes on provisional results of the running attempt alone, and the job goes on", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const [job] = jobs(1, 1)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: [job!] })
    const say = (attempt: number) => {
      const batch = aReply({ number: 1, attempt }, Outcome.provisional)
      return fleet.send({ _tag: "Replied", nodeId: "a", computationId: "c", batch })
    }
    expect(say(job!.attempt)).toMatchObject([{ _tag: "Provisional" }])
    expect(job!.status).toBe("ProvisionalResult")
    expect(say(job!.attempt + 1)).toEqual([])
    fleet.answer("a")
    expect(job!.status).toBe("Finished")
    expect(say(job!.attempt)).toEqual([])
    expect([fleet.provisional.get(job!), fleet.state.droppedReplies]).toEqual([1, 2])
  })

  it("abandons the jobs of a lost node, and says why", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const all = jobs(1, 2)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: all })
    fleet.send({ _tag: "NodeLost", nodeId: "a", reason: "connection reset" })
    expect(all.map((job) => job.status)).toEqual(["Abandoned", "Created"])
    expect(fleet.outcomes.get(all[0]!)).toEqual(["connection reset"])
  })

  it("runs the jobs of a lost node elsewhere, in order, when they may run twice", () => {
    const fleet = aFleet()
    fleet.send({ _tag: "ComputationOpened", computationId: "c", isReentrant: true })
    fleet.join("a", 3)
    const all = jobs(1, 4)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: all })
    fleet.send({ _tag: "NodeLost", nodeId: "a", reason: "gone" })
    fleet.join("b", 4)
    expect(fleet.held.get("b")).toEqual([
      { number: 1, attempt: 2, computationId: "c" },
      { number: 2, attempt: 2, computationId: "c" },
      { number: 3, attempt: 2, computationId: "c" },
      { number: 4, attempt: 1, computationId: "c" }
    ])
  })

  it("runs jobs that a node gives back before those that wait, in their order", () => {
    const fleet = opened()
    fleet.join("a", 2)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: jobs(1, 4) })
    const [first, second] = fleet.held.get("a")!
    fleet.send({ _tag: "NodeLeaving", nodeId: "a" })
    const batch = aBatch(aReply(first!, Outcome.returned), aReply(second!, Outcome.returned))
    fleet.send({ _tag: "Replied", nodeId: "a", computationId: "c", batch })
    fleet.join("b", 4)
    expect(fleet.held.get("b")?.map((job) => job.number)).toEqual([1, 2, 3, 4])
  })

  it("cancels a waiting job at once and asks the node for a running one", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const [running, waiting] = jobs(1, 2)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: [running!, waiting!] })
    const actions = fleet.send({
      _tag: "Cancelled",
      computationId: "c",
      jobs: [waiting!, running!],
      reason: "not needed"
    })
    expect(waiting!.status).toBe("Cancelled")
    expect(running!.status).toBe("Running")
    expect(actions).toContainEqual({ _tag: "CancelOnNode", nodeId: "a", computationId: "c", jobNumbers: [1] })
    fleet.answer("a", Outcome.cancelled)
    expect(running!.status).toBe("Terminated")
  })

  it("ends every job of a computation that is closed", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const all = jobs(1, 3)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: all })
    fleet.send({ _tag: "ComputationClosed", computationId: "c", reason: "closed" })
    const late = aJob(9)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: [late] })
    expect([...all, late].map((job) => job.status)).toEqual(["Terminated", "Cancelled", "Cancelled", "Cancelled"])
  })
})

type Step =
  | { readonly _tag: "submit"; readonly count: number }
  | { readonly _tag: "join"; readonly node: number; readonly cpus: number }
  | { readonly _tag: "lose" | "leave"; readonly node: number }
  | { readonly _tag: "cpus"; readonly node: number; readonly cpus: number }
  | { readonly _tag: "answer"; readonly node: number; readonly outcome: number; readonly micros: number }
  | { readonly _tag: "cancel"; readonly job: number }
  | { readonly _tag: "forge"; readonly node: number; readonly job: number; readonly attempt: number }

const node = fc.integer({ min: 0, max: 4 })

const steps: fc.Arbitrary<Array<Step>> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ _tag: fc.constant("submit"), count: fc.integer({ min: 1, max: 8 }) }) },
    { weight: 2, arbitrary: fc.record({ _tag: fc.constant("join"), node, cpus: fc.integer({ min: 1, max: 4 }) }) },
    fc.record({ _tag: fc.constantFrom("lose" as const, "leave" as const), node }),
    fc.record({ _tag: fc.constant("cpus"), node, cpus: fc.integer({ min: 0, max: 4 }) }),
    {
      weight: 8,
      arbitrary: fc.record({
        _tag: fc.constant("answer"),
        node,
        outcome: fc.constantFrom(...Object.values(Outcome)),
        micros: fc.constantFrom(1, 100, 4000, 50_000)
      })
    },
    fc.record({ _tag: fc.constant("cancel"), job: fc.nat(40) }),
    fc.record({ _tag: fc.constant("forge"), node, job: fc.nat(40), attempt: fc.nat(5) })
  ) as fc.Arbitrary<Step>,
  { maxLength: 120 }
)

describe("random histories", () => {
  it.each([false, true])(
    "give every job exactly one outcome and keep the invariants (reentrant: %s)",
    (isReentrant) => {
      fc.assert(
        fc.property(steps, (history) => {
          const fleet = aFleet()
          fleet.send({ _tag: "ComputationOpened", computationId: "c", isReentrant })
          const all: Array<JobRecord> = []
          const faults = new Map<JobRecord, number>()
          const present = new Set<number>()
          for (const one of history) {
            switch (one._tag) {
              case "submit": {
                const submitted = jobs(all.length + 1, one.count)
                all.push(...submitted)
                fleet.send({ _tag: "Submitted", computationId: "c", jobs: submitted })
                break
              }
              case "join": {
                if (present.has(one.node)) break
                present.add(one.node)
                fleet.join(`n${one.node}`, one.cpus)
                break
              }
              case "lose": {
                present.delete(one.node)
                for (const job of all) {
                  if (job.nodeId === `n${one.node}` && !hasEnded(job)) faults.set(job, (faults.get(job) ?? 0) + 1)
                }
                fleet.held.delete(`n${one.node}`)
                fleet.send({ _tag: "NodeLost", nodeId: `n${one.node}`, reason: "lost" })
                break
              }
              case "leave":
                fleet.send({ _tag: "NodeLeaving", nodeId: `n${one.node}` })
                break
              case "cpus":
                fleet.send({ _tag: "CpusChanged", nodeId: `n${one.node}`, cpus: one.cpus })
                break
              case "answer": {
                const next = fleet.held.get(`n${one.node}`)?.[0]
                const job = all[(next?.number ?? 0) - 1]
                if (job !== undefined && one.outcome === Outcome.returned) faults.set(job, (faults.get(job) ?? 0) + 1)
                fleet.answer(`n${one.node}`, one.outcome as Outcome, one.micros)
                break
              }
              case "cancel": {
                const job = all[one.job]
                if (job !== undefined) fleet.send({ _tag: "Cancelled", computationId: "c", jobs: [job], reason: "no" })
                break
              }
              case "forge": {
                const job = all[one.job]
                if (job !== undefined && job.nodeId === `n${one.node}` && job.attempt === one.attempt) break
                const batch = aReply({ number: one.job + 1, attempt: one.attempt })
                fleet.send({ _tag: "Replied", nodeId: `n${one.node}`, computationId: "c", batch })
                break
              }
            }
            expect(invariants(fleet.state)).toEqual([])
          }
          for (const nodeId of fleet.state.nodes.keys()) while (fleet.answer(nodeId)) { /* until it has none */ }
          fleet.join("last", 4)
          while (fleet.answer("last")) { /* until it has none */ }
          for (const job of all) {
            expect(fleet.outcomes.get(job) ?? []).toHaveLength(1)
            expect(fleet.executions.get(job) ?? 0).toBeLessThanOrEqual(1 + (faults.get(job) ?? 0))
          }
        }),
        { numRuns: 300 }
      )
    }
  )
})

describe("simulation", () => {
  it("runs 100,000 jobs on 1,000 nodes of 32 slots with nodes dying, none lost and none twice", () => {
    const fleet = aFleet()
    fleet.send({ _tag: "ComputationOpened", computationId: "c", isReentrant: true })
    for (let i = 0; i < 1000; i++) fleet.join(`n${i}`, 32)
    const all = jobs(1, 100_000)
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: all })
    expect(Math.max(...[...fleet.held.values()].map((jobsThere) => jobsThere.length))).toBe(32)
    let random = 12345
    const next = (below: number): number => {
      random = (random * 1103515245 + 12345) & 0x7fffffff
      return (random >>> 8) % below
    }
    let deaths = 0
    while (fleet.outcomes.size < all.length) {
      const nodeId = `n${next(1000)}`
      if (deaths < 200 && next(200) === 0) {
        deaths++
        fleet.held.delete(nodeId)
        fleet.send({ _tag: "NodeLost", nodeId, reason: "killed" })
        fleet.join(nodeId, 32)
      }
      const batch = fleet.held.get(nodeId)?.splice(0) ?? []
      if (batch.length === 0) continue
      const replies = aBatch(...batch.map((job) => aReply(job, Outcome.succeeded, 1000 + next(9000))))
      fleet.send({ _tag: "Replied", nodeId, computationId: "c", batch: replies })
    }
    expect(invariants(fleet.state)).toEqual([])
    expect(deaths).toBeGreaterThan(50)
    expect(all.every((job) => job.status === "Finished")).toBe(true)
    expect([...fleet.outcomes.values()].every((outcomes) => outcomes.length === 1)).toBe(true)
  })
})
