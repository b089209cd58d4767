/** When the file of a large result is not needed any more. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as LargeReplies from "../../../src/domain/node/LargeReplies.ts"
import { encodeReplies, noBytes, Outcome, ReplyFlags } from "../../../src/domain/wire/Entries.ts"

const reply = (jobId: number, isLarge: boolean) => ({
  jobId,
  attempt: 1,
  outcome: Outcome.succeeded,
  flags: isLarge ? ReplyFlags.largeResult : 0,
  startMillis: 0,
  durationMicros: 0,
  result: isLarge ? new Uint8Array(8) : noBytes,
  stdout: noBytes,
  stderr: noBytes
})

describe("LargeReplies", () => {
  it("lets a file go exactly when its reply is acknowledged and its result fetched, in any order", () => {
    const step = fc.record({ jobId: fc.integer({ min: 1, max: 4 }), isFetch: fc.boolean() })
    fc.assert(fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const large = LargeReplies.make()
      const batch = encodeReplies([1, 2, 3, 4, 5].map((jobId) => reply(jobId, jobId < 5)))
      LargeReplies.add(large, "c", batch)
      const fetched = new Set<number>()
      const acknowledged = new Set<number>()
      const gone = new Set<number>()
      for (const { isFetch, jobId } of steps) {
        const isBoth = (isFetch ? acknowledged : fetched).has(jobId)
        const isFirst = !gone.has(jobId)
        if (isFetch) {
          fetched.add(jobId)
          const isNow = LargeReplies.fetched(large, { computationId: "c", jobId, attempt: 1 })
          // One that is not known (any more) can go.
          expect(isNow).toBe(isBoth || !isFirst)
        } else {
          acknowledged.add(jobId)
          const now = LargeReplies.acknowledged(large, "c", encodeReplies([reply(jobId, true)]))
          expect(now.map((one) => one.jobId)).toEqual(isBoth && isFirst ? [jobId] : [])
        }
        if (isBoth) gone.add(jobId)
      }
      const waiting = [...acknowledged].filter((jobId) => !fetched.has(jobId)).toSorted((a, b) => a - b)
      expect(LargeReplies.unfetched(large).map((one) => one.jobId)).toEqual(waiting)
      LargeReplies.drop(large, "c")
      expect(large.size).toBe(0)
    }))
  })

  it("knows nothing of small ones", () => {
    const large = LargeReplies.make()
    LargeReplies.add(large, "c", encodeReplies([reply(1, false)]))
    expect(large.size).toBe(0)
    expect(LargeReplies.fetched(large, { computationId: "c", jobId: 1, attempt: 1 })).toBe(true)
  })
})
