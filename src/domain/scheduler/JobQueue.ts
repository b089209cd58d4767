/**
 * The jobs of a computation that wait for a node: first in, first out, with a
 * fast lane for jobs that a node gave back. A cancelled job stays in its place
 * and is skipped when its turn comes, so cancelling is O(1).
 */
import type { JobRecord } from "./JobRecord.ts"

/** The waiting jobs. */
export interface JobQueue {
  /** Jobs given back by nodes; the last one is next. */
  readonly front: Array<JobRecord>
  /** Jobs as they were submitted, from `head` on; nothing before it, for a job may have a large result by now. */
  back: Array<JobRecord | undefined>
  head: number
  /** Jobs that wait, without the cancelled ones. */
  size: number
}

/** Entries behind which the used part of the array is thrown away. */
const compactAfter = 4096

/** An empty queue. */
export const make = (): JobQueue => ({ front: [], back: [], head: 0, size: 0 })

/** Adds a job at the end. */
export const push = (queue: JobQueue, job: JobRecord): void => {
  queue.back.push(job)
  queue.size++
}

/** Adds a job at the front. */
export const unshift = (queue: JobQueue, job: JobRecord): void => {
  queue.front.push(job)
  queue.size++
}

/** Takes out all jobs that wait, in order. */
export const clear = (queue: JobQueue): Array<JobRecord> => {
  const waiting = toArray(queue)
  queue.front.length = 0
  queue.back = []
  queue.head = 0
  queue.size = 0
  return waiting
}

/** Tells the queue that one of its jobs was cancelled (its status is no longer `Created`). */
export const forget = (queue: JobQueue): void => {
  queue.size--
}

const shiftBack = (queue: JobQueue): JobRecord | undefined => {
  const job = queue.back[queue.head]
  if (job !== undefined) queue.back[queue.head++] = undefined
  return job
}

/** Takes the next job that was not cancelled. */
export const shift = (queue: JobQueue): JobRecord | undefined => {
  while (true) {
    const job = queue.front.length > 0 ? queue.front.pop() : shiftBack(queue)
    if (job === undefined) {
      queue.back = []
      queue.head = 0
      return undefined
    }
    if (queue.head >= compactAfter && queue.head * 2 >= queue.back.length) {
      queue.back = queue.back.slice(queue.head)
      queue.head = 0
    }
    if (job.status === "Created") {
      queue.size--
      return job
    }
  }
}

/** All jobs that wait, in order. */
export const toArray = (queue: JobQueue): Array<JobRecord> => {
  const waiting = queue.front.toReversed()
  for (let i = queue.head; i < queue.back.length; i++) waiting.push(queue.back[i]!)
  return waiting.filter((job) => job.status === "Created")
}
