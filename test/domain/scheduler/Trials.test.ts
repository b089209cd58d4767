import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { hasEnded, type JobRecord, type Terms } from "../../../src/domain/scheduler/JobRecord.ts"
import * as Retry from "../../../src/domain/scheduler/Retry.ts"
import { invariants } from "../../../src/domain/scheduler/SchedulerState.ts"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import { encodeSlotDeath } from "../../../src/domain/wire/SlotDeath.ts"
import { aFleet, aJob, someTerms } from "../../support/SchedulerBuilders.ts"

const opened = (isReentrant = false) => {
  const fleet = aFleet()
  fleet.send({ _tag: "ComputationOpened", computationId: "c", isReentrant })
  const submit = (...jobs: ReadonlyArray<JobRecord>) =>
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: [...jobs] })
  const lose = (nodeId: string) => {
    fleet.held.delete(nodeId)
    fleet.send({ _tag: "NodeLost", nodeId, reason: "gone" })
  }
  return { ...fleet, submit, lose }
}

/** A slot that so many jobs may have taken down. */
const death = (suspects: number): Uint8Array =>
  encodeSlotDeath({ reason: "killed by SIGSEGV", exitCode: null, signal: "SIGSEGV", lastStderr: "", suspects })

describe("retries", () => {
  it("run a job again after its delay, and not before, until it has a result", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const job = aJob(1, "", someTerms({ times: 2 }))
    fleet.submit(job)
    fleet.answer("a", Outcome.failed)
    expect(job.status).toBe("Created")
    fleet.pass(799)
    expect(fleet.held.get("a")).toEqual([])
    fleet.pass(401)
    expect(fleet.held.get("a")).toEqual([{ number: 1, attempt: 2, computationId: "c" }])
    fleet.answer("a")
    expect(job.status).toBe("Finished")
    expect(fleet.outcomes.get(job)).toEqual([`reply ${Outcome.succeeded}`])
    expect(job.trials?.history).toMatchObject([{ ordinal: 1, attempt: 1, nodeId: "a", failure: "JobFailed" }])
  })

  it.each<readonly [string, Outcome, number]>([
    ["threw", Outcome.failed, 4],
    ["ran too long", Outcome.timedOut, 4],
    ["was not transferred", Outcome.notTransferred, 4],
    ["was cancelled", Outcome.cancelled, 1],
    ["returned what cannot be sent", Outcome.notCloneable, 1]
  ])("give a job that %s its attempts", (_, outcome, executions) => {
    const fleet = opened()
    fleet.join("a", 1)
    const job = aJob(1, "", someTerms({ times: 3 }))
    fleet.submit(job)
    for (let i = 0; i < 10; i++) {
      fleet.answer("a", outcome)
      fleet.pass(2000)
    }
    expect(fleet.executions.get(job)).toBe(executions)
    expect(fleet.outcomes.get(job)).toEqual([`reply ${outcome}`])
  })

  it("come after the errors that are named, and after no others", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const job = aJob(1, "", someTerms({ times: 3, on: ["JobTimedOut"] }))
    fleet.submit(job)
    fleet.answer("a", Outcome.timedOut)
    fleet.pass(2000)
    fleet.answer("a", Outcome.failed)
    expect([fleet.executions.get(job), job.status]).toEqual([2, "Terminated"])
  })

  it("do not keep others waiting, and go before them when their time has come", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const [first, second, third] = [aJob(1, "", someTerms({ times: 1 })), aJob(2), aJob(3)]
    fleet.submit(first, second, third)
    fleet.answer("a", Outcome.failed, 100_000)
    expect(fleet.held.get("a")?.map(({ number }) => number)).toEqual([2])
    fleet.pass(2000)
    fleet.answer("a", Outcome.succeeded, 100_000)
    expect(fleet.held.get("a")?.map(({ number }) => number)).toEqual([1])
  })

  it("go rather to another node than to the one where the job failed, if it has room", () => {
    const fleet = opened()
    fleet.join("bad", 4)
    fleet.join("good", 2)
    fleet.submit(aJob(8), aJob(9))
    const job = aJob(1, "", someTerms({ times: 3 }))
    fleet.submit(job)
    expect(job.nodeId).toBe("bad")
    while (fleet.answer("bad", Outcome.failed));
    fleet.pass(2000)
    expect(job.nodeId).toBe("good")
  })

  it("end with the job: one that is cancelled meanwhile ends at once, and leaves no timer", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const job = aJob(1, "", someTerms({ times: 3 }, { totalMillis: 60_000 }))
    fleet.submit(job)
    fleet.answer("a", Outcome.failed)
    fleet.send({ _tag: "Cancelled", computationId: "c", jobs: [job], reason: "no" })
    expect([job.status, fleet.outcomes.get(job)]).toEqual(["Terminated", ["no"]])
    expect(fleet.state.timers.heap).toEqual([])
    expect(invariants(fleet.state)).toEqual([])
  })

  it("of a pinned job wait for its node, and end with it", () => {
    const fleet = opened()
    fleet.join("a", 1)
    fleet.join("b", 1)
    const [kept, lost] = [aJob(1, "a", someTerms({ times: 3 })), aJob(2, "b", someTerms({ times: 3 }))]
    fleet.submit(kept, lost)
    fleet.answer("a", Outcome.failed)
    fleet.answer("b", Outcome.failed)
    fleet.lose("b")
    expect([lost.status, fleet.outcomes.get(lost)]).toEqual(["Abandoned", ["gone"]])
    fleet.pass(2000)
    expect([kept.status, kept.nodeId]).toEqual(["Running", "a"])
  })

  it("are not counted for jobs that a node gave back unstarted", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const job = aJob(1, "", someTerms({ times: 1 }))
    fleet.submit(job)
    for (let i = 0; i < 5; i++) fleet.answer("a", Outcome.returned)
    fleet.answer("a", Outcome.failed)
    fleet.pass(2000)
    fleet.answer("a")
    expect([job.status, job.trials?.failed]).toEqual(["Finished", 1])
  })

  it("remember the last attempts only", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const job = aJob(1, "", someTerms({ times: 100 }))
    fleet.submit(job)
    for (let i = 0; i < 200; i++) {
      fleet.answer("a", Outcome.failed)
      fleet.pass(2000)
    }
    expect(fleet.executions.get(job)).toBe(101)
    expect(job.trials?.history.map(({ ordinal }) => ordinal).slice(-3)).toEqual([99, 100, 101])
    expect(job.trials?.history.length).toBeLessThan(20)
  })

  it("wait longer each time, up to a bound, and never all jobs for the same time", () => {
    const policy = { times: 9, delayMillis: 100, factor: 2, maxDelayMillis: 1000, on: [] }
    const delays = [0, 1, 2, 3, 4].map((done) => Retry.retryDelay(policy, done, 7))
    for (const [i, even] of [100, 200, 400, 800, 1000].entries()) {
      expect(delays[i]).toBeGreaterThanOrEqual(even * 0.8)
      expect(delays[i]).toBeLessThanOrEqual(Math.min(even * 1.2, 1000))
    }
    expect(new Set(Array.from({ length: 1000 }, (_, job) => Math.round(Retry.retryDelay(policy, 0, job)))).size)
      .toBeGreaterThan(30)
    expect(Retry.retryDelay(policy, 2, 7)).toBe(Retry.retryDelay(policy, 2, 7))
  })
})

describe("lost nodes", () => {
  it("let a reentrant job run again at once the first time, then after a growing time, until it has lost ten", () => {
    const fleet = opened(true)
    const job = aJob(1)
    fleet.submit(job)
    const waits: Array<number> = []
    for (let i = 0; i < 10; i++) {
      fleet.join(`n${i}`, 1)
      const lostAt = fleet.clock.now
      while (job.status === "Created") fleet.pass(10)
      waits.push(fleet.clock.now - lostAt)
      // Something else runs there as well, so that nothing speaks against the job.
      fleet.submit(aJob(100 + i, `n${i}`))
      fleet.lose(`n${i}`)
    }
    expect(job.status).toBe("Abandoned")
    expect(fleet.outcomes.get(job)).toEqual(["gone"])
    expect(job.trials?.lostNodes).toEqual(Array.from({ length: 10 }, (_, i) => `n${i}`))
    expect(waits.slice(0, 3)).toEqual([0, 0, expect.any(Number)])
    expect(waits[2]).toBeGreaterThan(70)
    expect(waits[9]).toBeGreaterThan(10_000)
  })

  it("let a job with retries run again that is not reentrant, and no other", () => {
    const fleet = opened()
    fleet.join("a", 2)
    const [again, never] = [aJob(1, "", someTerms({ times: 1 })), aJob(2)]
    fleet.submit(again, never)
    fleet.lose("a")
    expect([again.status, never.status]).toEqual(["Created", "Abandoned"])
    fleet.join("b", 1)
    fleet.pass(2000)
    fleet.lose("b")
    expect([again.status, fleet.executions.get(again)]).toEqual(["Abandoned", 2])
  })
})

describe("poison", () => {
  it("is what takes its slot down three times, however many retries are left; one of 10,000 jobs, and no other", () => {
    const fleet = opened()
    for (let i = 0; i < 4; i++) fleet.join(`n${i}`, 8)
    const jobs = Array.from({ length: 10_000 }, (_, i) => aJob(i + 1, "", someTerms({ times: 100, delayMillis: 10 })))
    const poison = jobs[5000]!
    fleet.submit(...jobs)
    while (fleet.outcomes.size < jobs.length) {
      for (let i = 0; i < 4; i++) {
        const isPoison = fleet.held.get(`n${i}`)?.[0]?.number === poison.number
        fleet.answer(`n${i}`, isPoison ? Outcome.slotDied : Outcome.succeeded, 1000, isPoison ? death(1) : undefined)
      }
      fleet.pass(1)
    }
    expect([poison.status, poison.trials?.isPoisoned, fleet.executions.get(poison)]).toEqual(["Terminated", true, 3])
    expect(poison.trials?.history.filter(({ isEvidence }) => isEvidence)).toHaveLength(3)
    expect(jobs.filter((job) => job !== poison && job.status !== "Finished")).toEqual([])
    expect(fleet.benches).toEqual([])
    expect(invariants(fleet.state)).toEqual([])
  })

  it("is not what ran in the same slot as another job that may have done it", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const job = aJob(1, "", someTerms({ times: 20 }))
    fleet.submit(job)
    for (let i = 0; i < 10; i++) {
      fleet.answer("a", Outcome.slotDied, 10, death(i % 2 === 0 ? 2 : 0))
      fleet.pass(2000)
    }
    expect([job.status, job.trials?.isPoisoned]).toEqual(["Running", false])
  })

  it("is what was alone on nodes that were lost and took a slot down as well, but not the former alone", () => {
    const fleet = opened(true)
    const job = aJob(1, "", someTerms({ times: 20 }))
    fleet.submit(job)
    for (const nodeId of ["a", "b", "c", "d"]) {
      fleet.join(nodeId, 1)
      fleet.pass(60_000)
      fleet.lose(nodeId)
    }
    expect([job.status, job.trials?.aloneLosses, job.trials?.isPoisoned]).toEqual(["Created", 4, false])
    fleet.join("e", 1)
    fleet.pass(60_000)
    fleet.answer("e", Outcome.slotDied, 10, death(1))
    expect([job.status, job.trials?.isPoisoned]).toEqual(["Terminated", true])
  })
})

describe("timeouts", () => {
  it("end a job that waited too long for a node, and none that a node has", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const [first, second] = [1, 2].map((n) => aJob(n, "", someTerms({}, { queueMillis: 1000 })))
    fleet.submit(first!, second!)
    fleet.pass(999)
    expect(second!.status).toBe("Created")
    fleet.pass(1)
    expect([first!.status, second!.status, second!.trials?.overdue]).toEqual(["Running", "Cancelled", "queue"])
    expect(fleet.outcomes.get(second!)).toEqual(["its queueTimeout of 1000 ms was over"])
    fleet.answer("a")
    expect([first!.status, fleet.state.timers.heap]).toEqual(["Finished", []])
  })

  it("count the time for a node on when it gives the job back unstarted", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const job = aJob(1, "", someTerms({}, { queueMillis: 1000 }))
    fleet.submit(job)
    fleet.pass(5000)
    fleet.send({ _tag: "NodeLeaving", nodeId: "a" })
    fleet.answer("a", Outcome.returned)
    fleet.pass(0)
    expect([job.status, job.trials?.overdue]).toEqual(["Cancelled", "queue"])
  })

  it("end a job wherever it is when its time in all is over", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const [running, waiting] = [1, 2].map((n) => aJob(n, "", someTerms({}, { totalMillis: 1000 })))
    fleet.submit(running!, waiting!)
    const actions = (() => {
      fleet.pass(999)
      fleet.clock.now += 1
      return fleet.send({ _tag: "TimePassed" })
    })()
    expect(actions).toContainEqual({ _tag: "CancelOnNode", nodeId: "a", computationId: "c", jobNumbers: [1] })
    expect([running!.status, waiting!.status]).toEqual(["Running", "Cancelled"])
    fleet.answer("a", Outcome.cancelled)
    expect([running!.status, running!.trials?.overdue]).toEqual(["Terminated", "total"])
    expect(invariants(fleet.state)).toEqual([])
  })

  it("leave no time for a retry that could not begin before: the job ends with what went wrong", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const job = aJob(1, "", someTerms({ times: 5 }, { totalMillis: 1900 }))
    fleet.submit(job)
    fleet.answer("a", Outcome.failed)
    fleet.pass(1200)
    expect(job.status).toBe("Running")
    fleet.answer("a", Outcome.failed)
    expect([job.status, fleet.outcomes.get(job)]).toEqual(["Terminated", [`reply ${Outcome.failed}`]])
  })

  it("ask to be woken for the earliest only", () => {
    const fleet = opened()
    const wakes = (job: JobRecord) => fleet.submit(job).filter(({ _tag }) => _tag === "WakeAt")
    expect(wakes(aJob(1, "", someTerms({}, { totalMillis: 5000 })))).toEqual([{ _tag: "WakeAt", millis: 5000 }])
    expect(wakes(aJob(2, "", someTerms({}, { totalMillis: 9000 })))).toEqual([])
    expect(wakes(aJob(3))).toEqual([])
    expect(wakes(aJob(4, "", someTerms({}, { queueMillis: 10 })))).toEqual([{ _tag: "WakeAt", millis: 10 }])
  })
})

type Step =
  | { readonly _tag: "submit"; readonly count: number; readonly pin: number; readonly terms: Terms | undefined }
  | { readonly _tag: "join" | "cpus"; readonly node: number; readonly cpus: number }
  | { readonly _tag: "lose" | "leave" | "close" | "spoil" | "crash"; readonly node: number }
  | { readonly _tag: "allocate"; readonly node: number; readonly isAllocated: boolean }
  | {
    readonly _tag: "answer"
    readonly node: number
    readonly outcome: number
    readonly suspects: number
    readonly count: number
  }
  | { readonly _tag: "pass"; readonly millis: number }
  | { readonly _tag: "cancel"; readonly job: number }

const node = fc.integer({ min: 0, max: 3 })

const terms: fc.Arbitrary<Terms | undefined> = fc.option(
  fc.record({
    retry: fc.option(
      fc.record({
        times: fc.integer({ min: 1, max: 5 }),
        delayMillis: fc.constantFrom(0, 10, 500),
        factor: fc.constantFrom(1, 2),
        maxDelayMillis: fc.constant(1000),
        on: fc.constantFrom([], ["JobFailed" as const], ["NodeLost" as const, "JobCrashed" as const])
      }),
      { nil: undefined }
    ),
    queueMillis: fc.constantFrom(0, 0, 50, 2000),
    totalMillis: fc.constantFrom(0, 0, 300, 20_000)
  }),
  { nil: undefined }
)

const steps: fc.Arbitrary<Array<Step>> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        _tag: fc.constant("submit" as const),
        count: fc.integer({ min: 1, max: 6 }),
        pin: fc.integer({ min: -6, max: 3 }),
        terms
      })
    },
    {
      weight: 3,
      arbitrary: fc.record({
        _tag: fc.constantFrom("join" as const, "join" as const, "cpus" as const),
        node,
        cpus: fc.integer({ min: 0, max: 4 })
      })
    },
    fc.record({ _tag: fc.constantFrom("lose" as const, "leave" as const, "close" as const), node }),
    { weight: 2, arbitrary: fc.record({ _tag: fc.constantFrom("spoil" as const, "crash" as const), node }) },
    fc.record({ _tag: fc.constant("allocate" as const), node, isAllocated: fc.boolean() }),
    {
      weight: 10,
      arbitrary: fc.record({
        _tag: fc.constant("answer" as const),
        node,
        // Node 0 is bad: whatever it runs fails.
        outcome: fc.constantFrom(...Object.values(Outcome), Outcome.succeeded, Outcome.failed, Outcome.slotDied),
        suspects: fc.constantFrom(1, 1, 2),
        count: fc.integer({ min: 1, max: 6 })
      })
    },
    {
      weight: 4,
      arbitrary: fc.record({ _tag: fc.constant("pass" as const), millis: fc.constantFrom(0, 1, 40, 600, 6000) })
    },
    fc.record({ _tag: fc.constant("cancel" as const), job: fc.nat(40) })
  ),
  { maxLength: 150 }
)

type Fleet = ReturnType<typeof opened>

const apply = (fleet: Fleet, all: Array<JobRecord>, one: Step): void => {
  const nodeId = "node" in one ? `n${one.node}` : ""
  const isThere = fleet.state.nodes.has(nodeId)
  switch (one._tag) {
    case "submit": {
      const pinnedTo = one.pin < 0 ? "" : `n${one.pin}`
      const jobs = Array.from({ length: one.count }, (_, i) => aJob(all.length + i + 1, pinnedTo, one.terms))
      all.push(...jobs)
      fleet.submit(...jobs)
      return
    }
    case "join":
      if (!isThere) fleet.join(nodeId, one.cpus)
      return
    case "cpus":
      fleet.send({ _tag: "CpusChanged", nodeId, cpus: one.cpus })
      return
    case "lose":
      fleet.lose(nodeId)
      return
    case "leave":
      fleet.send({ _tag: "NodeLeaving", nodeId })
      return
    case "crash": {
      // One job takes down whatever it runs in.
      const job = aJob(all.length + 1, "", someTerms({ times: 9, delayMillis: 1, maxDelayMillis: 1 }))
      all.push(job)
      fleet.submit(job)
      for (let i = 0; i < 20; i++) {
        if (job.status !== "Created") fleet.answer(job.nodeId, Outcome.slotDied, 100, death(1))
        fleet.pass(2)
      }
      return
    }
    case "spoil": {
      // Everything fails at once there, and another node does better.
      const other = `n${(one.node + 1) % 4}`
      for (const id of [nodeId, other]) {
        if (!fleet.state.nodes.has(id)) fleet.join(id, 2)
        else fleet.send({ _tag: "NodeReady", nodeId: id, computationId: "c" })
      }
      const jobs = Array.from({ length: 30 }, (_, i) => aJob(all.length + i + 1))
      all.push(...jobs)
      fleet.submit(...jobs)
      for (let i = 0; i < 12; i++) {
        if (i < 3) fleet.answer(other)
        fleet.answer(nodeId, Outcome.failed, 100)
      }
      return
    }
    case "close":
      fleet.send({
        _tag: "SeatClosing",
        nodeId,
        computationId: "c",
        reason: "closed",
        isTerminating: false,
        keepsPinned: true
      })
      return
    case "allocate":
      fleet.send({ _tag: "SeatAllocated", nodeId, computationId: "c", isAllocated: one.isAllocated })
      return
    case "answer": {
      const bad = one.outcome === Outcome.succeeded ? Outcome.failed : one.outcome as Outcome
      const outcome = one.node === 0 ? bad : one.outcome as Outcome
      for (let i = 0; i < one.count; i++) fleet.answer(nodeId, outcome, 100, death(one.suspects))
      return
    }
    case "pass":
      fleet.pass(one.millis)
      return
    case "cancel": {
      const job = all[one.job]
      if (job !== undefined) fleet.send({ _tag: "Cancelled", computationId: "c", jobs: [job], reason: "no" })
    }
  }
}

describe("random histories with time", () => {
  it.each([false, true])(
    "give every job exactly one outcome and no more attempts than it may have (reentrant: %s)",
    (isReentrant) => {
      const seen = { retried: 0, benched: 0, poisoned: 0, overdue: 0 }
      fc.assert(
        fc.property(steps, (history) => {
          const fleet = opened(isReentrant)
          const all: Array<JobRecord> = []
          const check = (): void => {
            expect(invariants(fleet.state)).toEqual([])
            for (const [job, outcomes] of fleet.outcomes) {
              expect(outcomes).toHaveLength(1)
              expect(hasEnded(job)).toBe(true)
            }
          }
          for (const one of history) {
            apply(fleet, all, one)
            check()
          }
          // Peace: good nodes, and time enough for all that waits.
          for (const nodeId of fleet.state.nodes.keys()) fleet.lose(nodeId)
          fleet.join("last", 4)
          for (let i = 0; i < 50 && fleet.outcomes.size < all.length; i++) {
            while (fleet.answer("last"));
            fleet.pass(10_000)
            check()
          }
          expect(fleet.state.timers.heap).toEqual([])
          for (const job of all) {
            expect(fleet.outcomes.get(job) ?? []).toHaveLength(1)
            if (job.pinnedTo !== "") expect(["", job.pinnedTo]).toContain(job.nodeId)
            const retries = job.trials?.terms.retry?.times ?? 0
            expect(fleet.retried.get(job) ?? 0).toBeLessThanOrEqual(retries)
            expect(job.trials?.retries ?? 0).toBeLessThanOrEqual(retries)
            expect(job.trials?.failed ?? 0).toBeLessThanOrEqual(1 + retries + (isReentrant ? Retry.maxLostNodes : 0))
            if (job.trials?.isPoisoned === true) seen.poisoned++
            if ((job.trials?.overdue ?? "") !== "") seen.overdue++
          }
          seen.retried += fleet.retried.size
          seen.benched += fleet.benches.length
        }),
        { numRuns: 400 }
      )
      // The histories are not so tame that nothing of it comes to pass.
      expect(Object.entries(seen).filter(([, count]) => count === 0)).toEqual([])
    }
  )
})
