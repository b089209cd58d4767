/** Of what several nodes tell, in any order and more than once, every job is taken once, with its last attempt. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as KeptJobs from "../../../src/domain/recovery/KeptJobs.ts"
import * as NumberRanges from "../../../src/domain/recovery/NumberRanges.ts"
import type { RecoverFile } from "../../../src/domain/recovery/RecoverFile.ts"
import { noBytes, Outcome, type ReplyFields } from "../../../src/domain/wire/Entries.ts"

const names = ["a:1", "b:1", "c:1"]

const fileOf = (mayRunTwice: boolean, handedOver: ReadonlyArray<number> = []): RecoverFile => ({
  header: {
    _tag: "Header",
    version: 1,
    recoverKey: "",
    client: "",
    host: "",
    process: "",
    createdMillis: 0,
    credentials: {}
  },
  computations: new Map([["c", { _tag: "Computation", id: "c", name: "compute", mayRunTwice }]]),
  nodes: new Map(names.map((name) => [name, { _tag: "Node", host: name.slice(0, 1), port: 1, name }])),
  handedOver: new Map([["c", NumberRanges.from(handedOver)]]),
  definitions: new Map(),
  queues: new Map(),
  leased: [],
  resumed: [],
  released: new Set(),
  retried: new Set(),
  usedBytes: 0,
  problems: []
})

const reply = (jobId: number, attempt: number, outcome: Outcome = Outcome.succeeded): ReplyFields => ({
  jobId,
  attempt,
  outcome,
  flags: 0,
  startMillis: 1,
  durationMicros: 1,
  result: noBytes,
  stdout: noBytes,
  stderr: noBytes
})

type Told =
  | { readonly _tag: "Reply"; readonly job: number; readonly attempt: number; readonly outcome: Outcome }
  | { readonly _tag: "Lost"; readonly job: number }

const told: fc.Arbitrary<Told> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constant("Reply" as const),
      job: fc.integer({ min: 1, max: 5 }),
      attempt: fc.integer({ min: 1, max: 4 }),
      outcome: fc.constantFrom(Outcome.succeeded, Outcome.failed, Outcome.returned, Outcome.provisional)
    })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Lost" as const), job: fc.integer({ min: 1, max: 5 }) }) }
)

const node = fc.record({
  story: fc.array(told, { maxLength: 8 }),
  breaks: fc.array(fc.nat({ max: 8 }), { maxLength: 2 })
})

interface Story {
  readonly story: ReadonlyArray<Told>
  /** After how many a connection breaks. */
  readonly breaks: ReadonlyArray<number>
}

const tell = (kept: KeptJobs.KeptJobs, name: string, one: Told): ReadonlyArray<KeptJobs.KeptJob> => {
  if (one._tag === "Lost") return KeptJobs.lost(kept, name, "c", [one.job], "the node was restarted")
  const job = KeptJobs.replied(kept, name, "c", reply(one.job, one.attempt, one.outcome))
  return job === undefined ? [] : [job]
}

/** Tells all that the nodes have, each from the beginning after every break. */
const run = (mayRunTwice: boolean, stories: ReadonlyArray<Story>, order: ReadonlyArray<number>) => {
  const kept = KeptJobs.make(fileOf(mayRunTwice))
  const jobs: Array<KeptJobs.KeptJob> = []
  const idle: Array<string> = []
  const rests = stories.map(({ breaks, story }) => [...breaks.map((at) => story.slice(0, at)), story])
  for (const turn of [...order, ...stories.flatMap((_, i) => rests[i]!.map(() => i))]) {
    const name = names[turn]!
    const part = rests[turn]!.shift()
    if (part === undefined) continue
    KeptJobs.begin(kept, name)
    for (const one of part) jobs.push(...tell(kept, name, one))
    if (rests[turn]!.length > 0) continue
    const settled = KeptJobs.ended(kept, name)
    jobs.push(...settled.jobs)
    idle.push(...settled.nodes)
  }
  return { kept, jobs, idle }
}

const stories = fc.tuple(node, node, node)
const order = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 9 })

describe("KeptJobs", () => {
  it("takes every job that anybody knows of once, and is done with every node", () => {
    fc.assert(fc.property(fc.boolean(), stories, order, (mayRunTwice, all, turns) => {
      const { idle, jobs, kept } = run(mayRunTwice, all, turns)
      const ends = all.flatMap(({ story }) => story)
      expect(jobs).toHaveLength(new Set(jobs.map(({ number }) => number)).size)
      expect(new Set(jobs.map(({ number }) => number))).toEqual(new Set(ends.map(({ job }) => job)))
      expect(new Set(idle)).toEqual(new Set(names))
      expect(KeptJobs.open(kept)).toEqual([])
    }))
  })

  it("gives jobs that may run twice the outcome of their highest attempt, whoever tells it first", () => {
    fc.assert(fc.property(stories, order, (all, turns) => {
      const outcomes = all.flatMap(({ story }) =>
        story.filter((one) =>
          one._tag === "Reply" && one.outcome !== Outcome.provisional && one.outcome !== Outcome.returned
        )
      )
      for (const { number, reply: taken } of run(true, all, turns).jobs) {
        const attempts = outcomes.flatMap((one) => one._tag === "Reply" && one.job === number ? [one.attempt] : [])
        if (attempts.length > 0) expect(taken?.attempt).toBe(Math.max(...attempts))
      }
    }))
  })

  it("takes a job that runs once at most as soon as it is there, but one that was given back when all have told", () => {
    const kept = KeptJobs.make(fileOf(false))
    expect(KeptJobs.replied(kept, "a:1", "c", reply(1, 1))).toMatchObject({ number: 1, node: "a:1" })
    expect(KeptJobs.replied(kept, "a:1", "c", reply(2, 1, Outcome.returned))).toBeUndefined()
    expect(KeptJobs.ended(kept, "a:1")).toEqual({ jobs: [], nodes: [] })
    expect(KeptJobs.replied(kept, "b:1", "c", reply(2, 2))).toMatchObject({ number: 2, node: "b:1" })
    expect(KeptJobs.ended(kept, "b:1").nodes).toEqual(["b:1"])
    expect(KeptJobs.ended(kept, "c:1")).toEqual({ jobs: [], nodes: names })
  })

  it("keeps provisional results and files in order, without those of a connection that broke", () => {
    const kept = KeptJobs.make(fileOf(false))
    const provisional = (byte: number) => ({ ...reply(1, 1, Outcome.provisional), result: new Uint8Array([byte]) })
    KeptJobs.replied(kept, "a:1", "c", provisional(1))
    KeptJobs.begin(kept, "a:1")
    for (const byte of [1, 2]) KeptJobs.replied(kept, "a:1", "c", provisional(byte))
    KeptJobs.received(kept, "a:1", "c", 1, "/out.csv")
    const job = KeptJobs.replied(kept, "a:1", "c", reply(1, 1))
    expect(job?.provisional.map(([byte]) => byte)).toEqual([1, 2])
    expect(job?.files).toEqual(["/out.csv"])
  })

  it("wants nothing of jobs that were handed over, and tells what still runs when it is given up", () => {
    const kept = KeptJobs.make(fileOf(true, [1]))
    expect(KeptJobs.isWanted(kept, "c", 1)).toBe(false)
    KeptJobs.unreplied(kept, "a:1", "c", [1, 2, 3])
    expect(KeptJobs.running(kept, "a:1")).toBe(2)
    expect(KeptJobs.replied(kept, "a:1", "c", reply(1, 9))).toBeUndefined()
    KeptJobs.replied(kept, "a:1", "c", reply(2, 1))
    expect(KeptJobs.giveUp(kept).jobs.map(({ number }) => number)).toEqual([2])
    expect([KeptJobs.running(kept, "a:1"), KeptJobs.open(kept)]).toEqual([1, names])
  })
})
