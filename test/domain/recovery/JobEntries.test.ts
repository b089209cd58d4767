/** Jobs in recover files: what was written is read, and what a crash or a disk took costs the records that it hit. */
import { Result } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as RecoverFile from "../../../src/domain/recovery/RecoverFile.ts"
import * as Queues from "../../support/Queues.ts"

const read = (bytes: Uint8Array) => Result.getOrThrow(RecoverFile.read(bytes))

const steps = fc.array(Queues.step, { maxLength: 25 })

/** What the steps mean, said once more: the state of every job. */
const expected = (all: ReadonlyArray<Queues.Step>) => {
  const noted = new Set<number>()
  const jobs = new Map<number, { sent: Array<string>; isOut: boolean; replies: number; args: ReadonlyArray<number> }>()
  for (const one of all) {
    if (one._tag === "Job") {
      if (!noted.has(one.number)) jobs.set(one.number, { sent: [], isOut: false, replies: 0, args: [...one.args] })
      continue
    }
    for (const number of one.numbers) {
      const job = jobs.get(number)
      if (one._tag === "Noted") {
        noted.add(number)
        jobs.delete(number)
      } else if (job !== undefined) {
        if (one._tag === "Sent") {
          job.sent.push(one.node)
          // It is tried again.
          job.replies = 0
        }
        if (one._tag === "Replies") job.replies++
        else job.isOut = one._tag === "Sent"
      }
    }
  }
  return { noted, jobs }
}

describe("jobs in a recover file", () => {
  it("are read as they were written", () => {
    fc.assert(fc.property(steps, (all) => {
      const { problems, queues } = read(Queues.fileOf(Queues.recordsOf(all)))
      const { jobs, noted } = expected(all)
      const queue = queues.get("c")!
      expect(problems).toEqual([])
      expect(
        new Set(
          queue.noted.bounds.length === 0 ? [] : Array.from({ length: 12 }, (_, i) => i + 1)
            .filter((number) => {
              const { bounds } = queue.noted
              return bounds.some((bound, i) => i % 2 === 0 && bound <= number && number <= bounds[i + 1]!)
            })
        )
      ).toEqual(noted)
      expect(
        new Map([...queue.jobs].map(([number, job]) => [number, {
          sent: job.sent.map(({ node }) => node),
          isOut: job.isOut,
          replies: job.replies.length,
          args: [...job.args]
        }]))
      ).toEqual(jobs)
    }))
  })

  it("are the same when the file is written anew without what needs nothing any more", () => {
    fc.assert(fc.property(steps, (all) => {
      const file = Queues.fileOf(Queues.recordsOf(all))
      const anew = RecoverFile.compact(file)!
      expect(Queues.meaningOf(read(anew))).toEqual(Queues.meaningOf(read(file)))
      expect({ ...read(anew), queues: 0, usedBytes: 0, handedOver: 0 })
        .toEqual({ ...read(file), queues: 0, usedBytes: 0, handedOver: 0 })
      expect(read(anew).usedBytes).toBe(anew.length)
    }))
  })

  it("are those of the whole records at every byte that a file is cut at, also with room behind it", () => {
    let points = 0
    const many = fc.array(Queues.step, { minLength: 10, maxLength: 25 })
    fc.assert(
      fc.property(many, fc.constantFrom(0, 5, 100), (all, room) => {
        const records = Queues.recordsOf(all)
        const file = Queues.fileOf(records)
        const last = Queues.fileOf(records.slice(0, -3)).length
        for (let end = last; end <= file.length; end++) {
          points++
          const whole = records.filter((_, i) => Queues.fileOf(records.slice(0, i + 1)).length <= end)
          const cut = read(Buffer.concat([file.subarray(0, end), new Uint8Array(room)]))
          expect(Queues.meaningOf(cut)).toEqual(Queues.meaningOf(read(Queues.fileOf(whole))))
          expect(cut.problems.length > 0).toBe(Queues.fileOf(whole).length !== end)
        }
      }),
      { numRuns: 40 }
    )
    expect(points).toBeGreaterThan(2000)
  })

  it("are told as damaged wherever one of 1,000 bits is flipped, and the records beside it are read", () => {
    const flip = fc.record({ place: fc.nat(), bit: fc.integer({ min: 0, max: 7 }) })
    fc.assert(
      fc.property(fc.array(Queues.step, { minLength: 1, maxLength: 25 }), flip, (all, { bit, place }) => {
        const records = Queues.recordsOf(all)
        const file = Buffer.concat([Queues.fileOf(records), new Uint8Array(64)])
        const start = Queues.fileOf([]).length
        const offset = start + place % (file.length - start)
        file[offset]! ^= 1 << bit
        const hit = records.findIndex((_, i) => Queues.fileOf(records.slice(0, i + 1)).length > offset)
        const rest = hit < 0 ? records : records.toSpliced(hit, 1)
        const found = read(file)
        expect(found.problems).not.toEqual([])
        expect(Queues.meaningOf(found)).toEqual(Queues.meaningOf(read(Queues.fileOf(rest))))
        // What is damaged stays for those who look after it.
        expect(RecoverFile.compact(file)).toBeUndefined()
      }),
      { numRuns: 1000 }
    )
  })

  it("are told of where their computation is damaged", () => {
    const [header, computation, ...others] = Queues.beginning
    const jobs = Queues.recordsOf([{ _tag: "Job", number: 1, id: undefined, args: new Uint8Array(3) }])
    computation![20]! ^= 1
    const { problems } = read(Buffer.concat([header!, computation!, ...others, ...jobs]))
    expect(problems).toContain("1 entry is of jobs whose computation is damaged, and cannot be run")
  })
})
