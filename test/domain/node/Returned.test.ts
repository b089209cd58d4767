/** Jobs that a node gives back. */
import { describe, expect, it } from "vitest"
import * as Returned from "../../../src/domain/node/Returned.ts"
import {
  countReplies,
  encodeJobs,
  Outcome,
  readReply,
  replyHeaderBytes,
  viewOf
} from "../../../src/domain/wire/Entries.ts"

describe("Returned", () => {
  it("replies to each job of a batch with its id and attempt", () => {
    const jobs = [3, 1, 2].map((jobId) => ({
      jobId,
      attempt: jobId * 10,
      flags: 0,
      timeoutMillis: 0,
      args: new Uint8Array(jobId)
    }))
    const replies = Returned.repliesTo(encodeJobs(jobs), 3, 1234)
    expect(countReplies(replies)).toBe(3)
    const read = [0, 1, 2].map((n) => readReply(replies, viewOf(replies), n * replyHeaderBytes))
    expect(read.map(({ attempt, jobId, outcome, startMillis }) => [jobId, attempt, outcome, startMillis])).toEqual([
      [3, 30, Outcome.returned, 1234],
      [1, 10, Outcome.returned, 1234],
      [2, 20, Outcome.returned, 1234]
    ])
  })
})
