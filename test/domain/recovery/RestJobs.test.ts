/** What becomes of jobs that have no reply in a durable recover file: each has one fate, and none runs that may have begun. */
import { Result } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as KeptJobs from "../../../src/domain/recovery/KeptJobs.ts"
import * as RecoverFile from "../../../src/domain/recovery/RecoverFile.ts"
import * as RestJobs from "../../../src/domain/recovery/RestJobs.ts"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import { replyOf } from "../../support/KeptNodes.ts"
import * as Queues from "../../support/Queues.ts"

/** The node of these files. */
const a = "a:1"

const start = (steps: ReadonlyArray<Queues.Step>) => {
  const file = Result.getOrThrow(RecoverFile.read(Queues.fileOf(Queues.recordsOf(steps))))
  const kept = KeptJobs.make(file)
  return { file, kept, rest: RestJobs.make(file, kept) }
}

const jobs = (...numbers: ReadonlyArray<number>): ReadonlyArray<Queues.Step> =>
  numbers.map((number) => ({ _tag: "Job", number, id: undefined, args: new Uint8Array(0) }))

const run = ({ run: some }: Pick<RestJobs.Fates, "run">) => some.map(({ job }) => job.number)
const lost = ({ lost: some }: RestJobs.Fates) => some.map(({ lost: reason, number }) => `${number}: ${reason}`)

describe("RestJobs", () => {
  it("runs at once what was never sent or was given back, and tells as lost what no node can be asked about", () => {
    const { rest } = start([
      ...jobs(1, 2, 3, 4),
      { _tag: "Sent", numbers: [2, 3, 4], node: a },
      { _tag: "Returned", numbers: [2] },
      { _tag: "Sent", numbers: [4], node: "local" }
    ])
    const fates = RestJobs.decide(rest, false)
    expect(run(fates)).toEqual([1, 2])
    expect(lost(fates)).toEqual([expect.stringContaining("4: it was sent to local, which ended with the program")])
    expect(RestJobs.size(rest)).toBe(1)
  })

  it("runs what a node that has told everything never got, and not what it may have forgotten", () => {
    for (const isKnowing of [true, false]) {
      const { kept, rest } = start([...jobs(1), { _tag: "Sent", numbers: [1], node: a }])
      expect(RestJobs.decide(rest, false)).toEqual({ run: [], lost: [] })
      rest.told.set(a, new Set(isKnowing ? ["c"] : []))
      KeptJobs.ended(kept, a)
      const fates = RestJobs.decide(rest, false)
      expect(run(fates)).toEqual(isKnowing ? [1] : [])
      expect(lost(fates)).toEqual(
        isKnowing ? [] : [`1: it was sent to ${a}, which keeps nothing of this program (any more)`]
      )
    }
  })

  it("waits for nodes that do not answer, until no more is waited for", () => {
    const { rest } = start([...jobs(1), { _tag: "Sent", numbers: [1], node: a }])
    expect(RestJobs.decide(rest, false)).toEqual({ run: [], lost: [] })
    expect(lost(RestJobs.decide(rest, true))).toEqual([`1: it was sent to ${a}, which did not answer in time`])
    expect(RestJobs.size(rest)).toBe(0)
  })

  it("hands over what a node tells, and runs what that gave back", () => {
    const { kept, rest } = start([...jobs(1, 2), { _tag: "Sent", numbers: [1, 2], node: a }])
    KeptJobs.begin(kept, a)
    const first = KeptJobs.replied(kept, a, "c", replyOf(1, "one"))!
    KeptJobs.replied(kept, a, "c", replyOf(2, undefined, { outcome: Outcome.returned }))
    const sifted = RestJobs.sift(rest, [first, ...KeptJobs.ended(kept, a).jobs])
    expect(sifted.handed.map(({ number }) => number)).toEqual([1])
    expect(run(sifted)).toEqual([2])
    expect(RestJobs.size(rest)).toBe(0)
  })

  it("gives every job of any file one fate at most, and runs none that a node may have", () => {
    fc.assert(fc.property(fc.array(Queues.step, { maxLength: 25 }), fc.boolean(), (steps, isTold) => {
      const { file, kept, rest } = start(steps)
      const replied = [...file.queues.get("c")!.jobs.values()].filter(({ replies }) => replies.length > 0)
      const first = RestJobs.decide(rest, false)
      if (isTold) {
        rest.told.set(a, new Set())
        KeptJobs.ended(kept, a)
      }
      const second = RestJobs.decide(rest, false)
      const third = RestJobs.decide(rest, true)
      const fates = [first, second, third].flatMap((one) => [...run(one), ...one.lost.map(({ number }) => number)])
      expect(new Set(fates).size).toBe(fates.length)
      expect(RestJobs.size(rest)).toBe(0)
      expect(fates.toSorted((x, y) => x - y)).toEqual(
        [...file.queues.get("c")!.jobs.keys()].filter((number) => replied.every((job) => job.number !== number))
          .toSorted((x, y) => x - y)
      )
      for (const { job } of [first, second, third].flatMap((one) => one.run)) expect(job.isOut).toBe(false)
    }))
  })
})
