/** Which jobs of a computation a node has, for a client that asks. */
import * as JobRing from "./JobRing.ts"
import type { PoolSession } from "./SlotPoolState.ts"

/** Ids of jobs without a reply. */
export interface SessionJobs {
  /** Sent to a slot first in line: they run, or are started in the same moment. */
  readonly running: ReadonlyArray<number>
  /** All others, in the order in which they start. */
  readonly waiting: ReadonlyArray<number>
}

/** The jobs of a session as they are now. */
export const of = (session: PoolSession): SessionJobs => {
  const running: Array<number> = []
  const waiting: Array<number> = []
  for (const slot of session.slots) {
    JobRing.toArray(slot.inflight).forEach((job, i) => (i < slot.concurrency ? running : waiting).push(job.id))
  }
  for (const job of JobRing.toArray(session.queue)) waiting.push(job.id)
  return { running, waiting }
}

/** A session that has no jobs. */
export const none: SessionJobs = { running: [], waiting: [] }
