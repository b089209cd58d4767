/** What is written of a client that is gone, and what of it is told when some of it is missing. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Records from "../../../src/domain/journal/Records.ts"
import * as KeptRecords from "../../../src/domain/node/KeptRecords.ts"
import { concat } from "../../../src/domain/wire/Bytes.ts"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import { outcomesOf } from "../../support/NodeClients.ts"
import { aReply } from "../../support/ScriptedExecutor.ts"

const lease: KeptRecords.Lease = {
  clientName: "änn@desk 😀",
  computations: [
    { computationId: "a", name: "first", unreplied: [1, 2, 3] },
    { computationId: "b", name: "second", unreplied: [1, 2] }
  ]
}

const read = (bytes: Uint8Array) => {
  const kept = KeptRecords.make("lease")
  const { records } = Records.read(bytes)
  const events = records.flatMap((record) => KeptRecords.take(kept, record) ?? [])
  return { kept, events, records }
}

describe("KeptRecords", () => {
  it("names the jobs whose replies follow, so that they are told as lost when those are not there", () => {
    const unacknowledged = [
      { computationId: "a", batch: concat([aReply(2), aReply(7)]) },
      { computationId: "a", batch: aReply(8, Outcome.provisional) },
      { computationId: "b", batch: aReply(9) }
    ]
    expect(KeptRecords.unrepliedOf("a", [1, 2], unacknowledged)).toEqual([1, 2, 7])
    expect(KeptRecords.unrepliedOf("c", [], unacknowledged)).toEqual([])
  })

  it("tells what was written, as it came", () => {
    const file = {
      computation: 1,
      fileId: 7,
      jobId: 2,
      path: "out/ü.txt",
      sizeBytes: 3,
      mode: 0o644,
      modifiedMillis: 1.5
    }
    const { events, kept, records } = read(concat([
      KeptRecords.owner("12-34"),
      KeptRecords.lease(lease),
      KeptRecords.replies(0, aReply(2)),
      KeptRecords.file(file),
      KeptRecords.lost(1, [1], "it was killed"),
      KeptRecords.end
    ].map(Records.encode)))
    expect(KeptRecords.ownerIn(records)).toBe("12-34")
    const { computation: _, ...sent } = file
    expect(events).toEqual([
      { _tag: "KeptLease", leaseId: "lease", computations: lease.computations },
      { _tag: "KeptReplies", leaseId: "lease", computationId: "a", batch: aReply(2) },
      { _tag: "KeptFile", leaseId: "lease", computationId: "b", ...sent },
      { _tag: "KeptLost", leaseId: "lease", computationId: "b", jobIds: [1], reason: "it was killed" }
    ])
    expect(kept).toMatchObject({ isEnded: true, remaining: [new Set([1, 3]), new Set([2])] })
  })

  it("accounts for every job once, wherever the file breaks off", () => {
    const said = fc.record({
      computation: fc.integer({ min: 0, max: 1 }),
      jobId: fc.integer({ min: 1, max: 3 }),
      outcome: fc.constantFrom(Outcome.succeeded, Outcome.failed, Outcome.provisional, Outcome.returned)
    })
    fc.assert(fc.property(fc.array(said, { maxLength: 12 }), fc.nat({ max: 10_000 }), (replies, cut) => {
      const head = concat([KeptRecords.owner("1-2"), KeptRecords.lease(lease)].map(Records.encode))
      const tail = concat(
        replies.map(({ computation, jobId, outcome }) =>
          Records.encode(KeptRecords.replies(computation, aReply(jobId, outcome)))
        )
      )
      const { events, kept } = read(concat([head, tail.subarray(0, tail.length === 0 ? 0 : cut % (tail.length + 1))]))
      const ended = new Set(events.flatMap((event) =>
        event._tag === "KeptReplies"
          ? outcomesOf(event.batch).flatMap(([jobId, outcome]) =>
            outcome === Outcome.provisional ? [] : [`${event.computationId}${jobId}`]
          )
          : []
      ))
      const lost = KeptRecords.lostAtEnd(kept, "killed").flatMap((event) =>
        event._tag === "KeptLost" ? event.jobIds.map((jobId) => `${event.computationId}${jobId}`) : []
      )
      const all = lease.computations.flatMap(({ computationId, unreplied }) =>
        unreplied.map((jobId) => `${computationId}${jobId}`)
      )
      expect(lost).toEqual(all.filter((job) => !ended.has(job)))
      expect(KeptRecords.remainingJobs(kept)).toBe(lost.length)
    }))
  })

  it("tells nothing of records that it does not know, or of computations that were not there", () => {
    const { events } = read(concat([
      KeptRecords.replies(0, aReply(1)),
      KeptRecords.lease(lease),
      { kind: 200, payload: new Uint8Array(3) },
      { kind: 2, payload: new Uint8Array(1) },
      { kind: 3, payload: new Uint8Array([1, 2]) },
      KeptRecords.replies(9, aReply(1)),
      KeptRecords.lost(5, [1], "")
    ].map(Records.encode)))
    expect(events.map(({ _tag }) => _tag)).toEqual(["KeptLease"])
  })
})
