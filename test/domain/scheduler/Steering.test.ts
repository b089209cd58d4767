/** Users steer: pinned jobs, cpus per computation and node, deallocating, closing; alone and in random histories. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { hasEnded, type JobRecord } from "../../../src/domain/scheduler/JobRecord.ts"
import { invariants } from "../../../src/domain/scheduler/SchedulerState.ts"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import { aFleet, aJob } from "../../support/SchedulerBuilders.ts"

const jobs = (from: number, count: number, pinnedTo = ""): Array<JobRecord> =>
  Array.from({ length: count }, (_, i) => aJob(from + i, pinnedTo))

const opened = (isReentrant = false) => {
  const fleet = aFleet()
  fleet.send({ _tag: "ComputationOpened", computationId: "c", isReentrant })
  const at = (nodeId: string) => ({ nodeId, computationId: "c" })
  return {
    ...fleet,
    submit: (submitted: ReadonlyArray<JobRecord>) =>
      fleet.send({ _tag: "Submitted", computationId: "c", jobs: submitted }),
    limit: (nodeId: string, cpus: number) => fleet.send({ _tag: "SeatLimited", ...at(nodeId), cpus }),
    allocate: (nodeId: string, isAllocated: boolean) =>
      fleet.send({ _tag: "SeatAllocated", ...at(nodeId), isAllocated }),
    close: (nodeId: string, how: { readonly isTerminating?: boolean; readonly keepsPinned?: boolean } = {}) =>
      fleet.send({
        _tag: "SeatClosing",
        ...at(nodeId),
        reason: "closed by hand",
        isTerminating: how.isTerminating ?? false,
        keepsPinned: how.keepsPinned ?? false
      }),
    lose: (nodeId: string) => {
      fleet.held.delete(nodeId)
      fleet.send({ _tag: "NodeLost", nodeId, reason: "gone" })
    },
    numbersAt: (nodeId: string) => (fleet.held.get(nodeId) ?? []).map((job) => job.number)
  }
}

const statuses = (all: ReadonlyArray<JobRecord>) => all.map((job) => job.status)

describe("cpus of a seat", () => {
  it("gives a node no more jobs than the computation may use cpus there", () => {
    const fleet = opened()
    fleet.join("a", 8, "c", 2)
    fleet.submit(jobs(1, 10))
    expect(fleet.numbersAt("a")).toEqual([1, 2])
  })

  it("counts the load per cpu that may be used", () => {
    const fleet = opened()
    fleet.join("large", 8, "c", 1)
    fleet.join("small", 3)
    fleet.submit(jobs(1, 4))
    expect([fleet.numbersAt("large").length, fleet.numbersAt("small").length]).toEqual([1, 3])
  })

  it("uses a seat of no cpus for nothing new, and tells the node so", () => {
    const fleet = opened()
    fleet.join("a", 2)
    const all = jobs(1, 3)
    fleet.submit(all)
    fleet.limit("a", 0)
    expect(fleet.limits.get("a")).toBe(0)
    fleet.answer("a")
    fleet.answer("a")
    expect(statuses(all)).toEqual(["Finished", "Finished", "Created"])
    fleet.limit("a", 1)
    expect(fleet.numbersAt("a")).toEqual([3])
  })
})

describe("pinned jobs", () => {
  it("run on their node only, before all other jobs", () => {
    const fleet = opened()
    fleet.join("a", 1)
    fleet.join("b", 1)
    fleet.submit([...jobs(1, 4), ...jobs(5, 2, "b")])
    expect([fleet.numbersAt("a"), fleet.numbersAt("b")]).toEqual([[1], [5]])
    const order: Array<number> = []
    for (let i = 0; i < 4; i++) {
      fleet.answer("b", Outcome.succeeded, 50_000)
      order.push(...fleet.numbersAt("b"))
    }
    expect(order).toEqual([6, 2, 3, 4])
  })

  it("wait for their node to load the computation", () => {
    const fleet = opened()
    fleet.join("a", 1)
    fleet.send({ _tag: "NodeJoined", nodeId: "b", cpus: 1 })
    const [job] = jobs(1, 1, "b")
    fleet.submit([job!])
    expect(job!.status).toBe("Created")
    fleet.send({ _tag: "NodeReady", nodeId: "b", computationId: "c" })
    expect(fleet.numbersAt("b")).toEqual([1])
  })

  it("end when their node does not take the computation", () => {
    const fleet = opened()
    fleet.send({ _tag: "NodeJoined", nodeId: "b", cpus: 1 })
    const [job] = jobs(1, 1, "b")
    fleet.submit([job!])
    fleet.send({ _tag: "NodeRefused", nodeId: "b", computationId: "c", reason: "setup failed" })
    expect([job!.status, fleet.outcomes.get(job!)]).toEqual(["Abandoned", ["setup failed"]])
  })

  it.each([false, true])("end with their node, running or waiting (reentrant: %s)", (isReentrant) => {
    const fleet = opened(isReentrant)
    fleet.join("a", 1)
    fleet.join("b", 1)
    const all = jobs(1, 2, "b")
    fleet.submit(all)
    fleet.lose("b")
    expect(statuses(all)).toEqual(["Abandoned", "Abandoned"])
    expect(all.map((job) => fleet.outcomes.get(job))).toEqual([["gone"], ["gone"]])
    const [late] = jobs(3, 1, "b")
    fleet.submit([late!])
    expect(late!.status).toBe("Abandoned")
  })

  it("wait at a node that is deallocated, and run when it is allocated again", () => {
    const fleet = opened()
    fleet.join("a", 1)
    fleet.allocate("a", false)
    const all = [...jobs(1, 1), ...jobs(2, 1, "a")]
    fleet.submit(all)
    expect(statuses(all)).toEqual(["Created", "Created"])
    fleet.allocate("a", true)
    expect(fleet.numbersAt("a")).toEqual([2])
  })

  it("can be cancelled while they wait", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const all = jobs(1, 3, "a")
    fleet.submit(all)
    fleet.send({ _tag: "Cancelled", computationId: "c", jobs: [all[1]!], reason: "not needed" })
    fleet.answer("a", Outcome.succeeded, 50_000)
    expect(statuses(all)).toEqual(["Finished", "Cancelled", "Running"])
  })
})

describe("closing a seat", () => {
  it("waits for what runs, gives the rest to other nodes, and ends what was pinned", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const all = [...jobs(1, 2), ...jobs(3, 1, "a")]
    fleet.submit(all.slice(0, 2))
    fleet.submit(all.slice(2))
    fleet.close("a")
    expect([statuses(all), fleet.drained]).toEqual([["Running", "Created", "Cancelled"], []])
    fleet.answer("a")
    expect([statuses(all), fleet.drained]).toEqual([["Finished", "Created", "Cancelled"], ["a"]])
    fleet.join("b", 1)
    expect(fleet.numbersAt("b")).toEqual([2])
  })

  it("ends what runs when asked, and runs elsewhere what had not started", () => {
    const fleet = opened()
    fleet.join("a", 2)
    const all = jobs(1, 2)
    fleet.submit(all)
    const actions = fleet.close("a", { isTerminating: true })
    expect(actions).toContainEqual({ _tag: "CancelOnNode", nodeId: "a", computationId: "c", jobNumbers: [1, 2] })
    fleet.answer("a", Outcome.cancelled)
    fleet.answer("a", Outcome.returned)
    expect([statuses(all), all[0]!.cancelReason, fleet.drained]).toEqual([
      ["Terminated", "Created"],
      "closed by hand",
      ["a"]
    ])
  })

  it("keeps what is pinned for a seat that is to be taken again", () => {
    const fleet = opened()
    fleet.join("a", 1)
    const all = jobs(1, 2, "a")
    fleet.submit(all)
    fleet.close("a", { keepsPinned: true })
    fleet.answer("a")
    expect([statuses(all), fleet.drained]).toEqual([["Finished", "Created"], ["a"]])
    fleet.send({ _tag: "NodeReady", nodeId: "a", computationId: "c" })
    expect(fleet.numbersAt("a")).toEqual([2])
  })

  it("is done at once where nothing runs", () => {
    const fleet = opened()
    fleet.join("a", 1)
    fleet.close("a")
    fleet.close("a")
    expect(fleet.drained).toEqual(["a", "a"])
  })
})

type Step =
  | { readonly _tag: "submit"; readonly count: number; readonly pin: number }
  | { readonly _tag: "join" | "limit"; readonly node: number; readonly cpus: number }
  | { readonly _tag: "lose" | "leave" | "refuse" | "open"; readonly node: number }
  | { readonly _tag: "allocate"; readonly node: number; readonly isAllocated: boolean }
  | { readonly _tag: "close"; readonly node: number; readonly isTerminating: boolean; readonly keepsPinned: boolean }
  | { readonly _tag: "answer"; readonly node: number; readonly outcome: number; readonly micros: number }
  | { readonly _tag: "cancel"; readonly job: number }

const node = fc.integer({ min: 0, max: 3 })

const steps: fc.Arbitrary<Array<Step>> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        _tag: fc.constant("submit"),
        count: fc.integer({ min: 1, max: 5 }),
        pin: fc.integer({ min: -3, max: 3 })
      })
    },
    {
      weight: 3,
      arbitrary: fc.record({
        _tag: fc.constantFrom("join" as const, "limit" as const),
        node,
        cpus: fc.integer({ min: 0, max: 4 })
      })
    },
    fc.record({ _tag: fc.constantFrom("lose" as const, "leave" as const, "refuse" as const, "open" as const), node }),
    fc.record({ _tag: fc.constant("allocate"), node, isAllocated: fc.boolean() }),
    fc.record({ _tag: fc.constant("close"), node, isTerminating: fc.boolean(), keepsPinned: fc.boolean() }),
    {
      weight: 8,
      arbitrary: fc.record({
        _tag: fc.constant("answer"),
        node,
        outcome: fc.constantFrom(...Object.values(Outcome)),
        micros: fc.constantFrom(1, 100, 4000, 50_000)
      })
    },
    fc.record({ _tag: fc.constant("cancel"), job: fc.nat(40) })
  ) as fc.Arbitrary<Step>,
  { maxLength: 120 }
)

const apply = (fleet: ReturnType<typeof opened>, all: Array<JobRecord>, one: Step): void => {
  const nodeId = "node" in one ? `n${one.node}` : ""
  const isThere = fleet.state.nodes.has(nodeId)
  switch (one._tag) {
    case "submit": {
      const submitted = jobs(all.length + 1, one.count, one.pin < 0 ? "" : `n${one.pin}`)
      all.push(...submitted)
      fleet.submit(submitted)
      return
    }
    case "join":
      if (!isThere) fleet.send({ _tag: "NodeJoined", nodeId, cpus: one.cpus })
      return
    case "open":
      fleet.send({ _tag: "NodeReady", nodeId, computationId: "c" })
      return
    case "limit":
      fleet.limit(nodeId, one.cpus)
      return
    case "lose":
      fleet.lose(nodeId)
      return
    case "leave":
      fleet.send({ _tag: "NodeLeaving", nodeId })
      return
    case "refuse": {
      if (fleet.state.nodes.get(nodeId)?.seats.size === 0) {
        fleet.send({ _tag: "NodeRefused", nodeId, computationId: "c", reason: "refused" })
      }
      return
    }
    case "allocate":
      fleet.allocate(nodeId, one.isAllocated)
      return
    case "close":
      fleet.close(nodeId, one)
      return
    case "answer":
      fleet.answer(nodeId, one.outcome as Outcome, one.micros)
      return
    case "cancel": {
      const job = all[one.job]
      if (job !== undefined) fleet.send({ _tag: "Cancelled", computationId: "c", jobs: [job], reason: "no" })
    }
  }
}

describe("random histories of steering", () => {
  it.each([false, true])(
    "give every job exactly one outcome, on its own node if it is pinned (reentrant: %s)",
    (isReentrant) => {
      fc.assert(
        fc.property(steps, (history) => {
          const fleet = opened(isReentrant)
          const all: Array<JobRecord> = []
          for (const one of history) {
            apply(fleet, all, one)
            expect(invariants(fleet.state)).toEqual([])
            for (const [job, outcomes] of fleet.outcomes) {
              expect(outcomes).toHaveLength(1)
              expect(hasEnded(job)).toBe(true)
            }
          }
          for (const nodeId of fleet.state.nodes.keys()) while (fleet.answer(nodeId)) { /* until it has none */ }
          for (const nodeId of fleet.state.nodes.keys()) fleet.lose(nodeId)
          fleet.join("last", 4)
          while (fleet.answer("last")) { /* until it has none */ }
          for (const job of all) {
            expect(fleet.outcomes.get(job) ?? []).toHaveLength(1)
            if (job.pinnedTo !== "") expect(["", job.pinnedTo]).toContain(job.nodeId)
          }
        }),
        { numRuns: 500 }
      )
    }
  )
})
