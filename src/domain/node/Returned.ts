/** The replies by which a node that is ending gives jobs back without having started them. */
import {
  entryAttempt,
  entryJobId,
  entrySize,
  noBytes,
  Outcome,
  replyHeaderBytes,
  viewOf,
  writeReply
} from "../wire/Entries.ts"

/** One `returned` reply for each job of a well-formed batch. */
export const repliesTo = (jobs: Uint8Array, count: number, nowMillis: number): Uint8Array => {
  const view = viewOf(jobs)
  const replies = new Uint8Array(count * replyHeaderBytes)
  const replyView = viewOf(replies)
  let at = 0
  for (let offset = 0; offset < jobs.length; offset += entrySize(view, offset)) {
    at = writeReply(replies, replyView, at, {
      jobId: entryJobId(view, offset),
      attempt: entryAttempt(view, offset),
      outcome: Outcome.returned,
      flags: 0,
      startMillis: nowMillis,
      durationMicros: 0,
      result: noBytes,
      stdout: noBytes,
      stderr: noBytes
    })
  }
  return replies
}
