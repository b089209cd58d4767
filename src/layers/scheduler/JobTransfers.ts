/**
 * What of single jobs travels over bulk connections, next to the engine: the files that they take along, large arguments
 * and large results. A job goes to its node when all that is there, and its reply to the scheduler when its result is
 * here. Until then the scheduler holds the job for running.
 *
 * ```
 * Dispatch ──▶ sending files, arguments ──▶ entry ──▶ … reply with `largeResult` ──▶ fetching ──▶ Replied
 *                 │ cancelled: its reply is made here      the node is lost: given back unstarted, or as the core says
 *                 └ failed: `notTransferred`
 * ```
 */
import { Effect, Exit, Fiber } from "effect"
import type { Computation } from "../../domain/Computation.ts"
import { maxValueBytes } from "../../domain/NodeInfo.ts"
import type { JobRecord } from "../../domain/scheduler/JobRecord.ts"
import type { Event } from "../../domain/scheduler/SchedulerEvent.ts"
import type { FileTooLarge, TransferFailed } from "../../domain/TransferError.ts"
import * as Entries from "../../domain/wire/Entries.ts"
import { largeBytes } from "../../domain/wire/LargeValue.ts"
import type { Content } from "../../services/FileTransfer.ts"
import * as Values from "../../slot/Values.ts"
import type { ConnectedNode } from "./ConnectedNode.ts"
import * as FileDelivery from "./FileDelivery.ts"

/** What it needs of the engine. */
export interface Surroundings {
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  readonly post: (event: Event) => void
  readonly computation: (computationId: string) => Computation | undefined
  /** Sends job entries to a node. */
  readonly send: (node: ConnectedNode, computationId: string, batch: Uint8Array) => void
  /** The job as the scheduler has it with a node; undefined when it has not. */
  readonly running: (computationId: string, nodeId: string, number: number, attempt: number) => JobRecord | undefined
  /** Counts a reply that is not taken. */
  readonly dropped: () => void
}

/** A job of which something is on its way. */
interface Moving {
  readonly computationId: string
  readonly nodeId: string
  readonly jobId: number
  readonly attempt: number
  /** The reply whose result is fetched; undefined while the job is sent. */
  readonly reply: Entries.ReplyFields | undefined
  fiber: Fiber.Fiber<unknown, unknown> | undefined
}

/** All that is under way. */
export interface JobTransfers {
  readonly surroundings: Surroundings
  readonly moving: Map<string, Moving>
  /** Results that are here, for replies that the scheduler is about to take. */
  readonly results: Map<string, Uint8Array>
}

/** None. */
export const make = (surroundings: Surroundings): JobTransfers => ({
  surroundings,
  moving: new Map(),
  results: new Map()
})

const keyOf = (computationId: string, jobId: number, attempt: number): string => `${jobId} ${attempt} ${computationId}`

const isLarge = (job: JobRecord): boolean =>
  job.args.length > largeBytes || (job.held !== undefined && job.held.path !== "")

const needsTransfer = (job: JobRecord): boolean => job.files !== undefined || isLarge(job)

const contentOf = ({ args, held }: JobRecord): Content =>
  held === undefined || held.path === "" ? { _tag: "Bytes", bytes: args } : { _tag: "File", ...held }

const nothing: Omit<Entries.ReplyFields, "jobId" | "attempt" | "outcome"> = {
  flags: 0,
  startMillis: 0,
  durationMicros: 0,
  result: Entries.noBytes,
  stdout: Entries.noBytes,
  stderr: Entries.noBytes
}

const replied = (moving: Moving, reply: Entries.ReplyFields): Event => ({
  _tag: "Replied",
  nodeId: moving.nodeId,
  computationId: moving.computationId,
  batch: Entries.encodeReply(reply)
})

/** The reply of a job that did not get there, or whose result did not get here. */
const replyFor = ({ attempt, jobId, reply }: Moving, outcome: Entries.Outcome, error?: Error): Entries.ReplyFields => ({
  ...nothing,
  ...reply,
  jobId,
  attempt,
  outcome,
  flags: (reply?.flags ?? 0) & ~Entries.ReplyFlags.largeResult,
  result: error === undefined ? Entries.noBytes : Values.encodeError(error)
})

const start = (
  self: JobTransfers,
  moving: Moving,
  effect: Effect.Effect<void, Error>,
  isThere: () => boolean
): void => {
  const key = keyOf(moving.computationId, moving.jobId, moving.attempt)
  self.moving.set(key, moving)
  moving.fiber = self.surroundings.fork(
    effect.pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (self.moving.get(key) !== moving) return
          // When the node is lost, that decides what becomes of the job.
          if (Exit.isFailure(exit) && !isThere()) return
          self.moving.delete(key)
        })
      ),
      Effect.catch((error) =>
        Effect.sync(() => {
          if (isThere()) {
            self.surroundings.post(replied(moving, replyFor(moving, Entries.Outcome.notTransferred, error)))
          }
        })
      )
    )
  )
}

/** Has a job's arguments on the node; the entry that is to follow. */
const sendArguments = (
  node: ConnectedNode,
  computationId: string,
  job: JobRecord
): Effect.Effect<Entries.JobFields, TransferFailed | FileTooLarge> => {
  const { args, attempt, flags, memoryKiB = 0, number: jobId, timeoutMillis } = job
  const entry = { jobId, attempt, flags, timeoutMillis, memoryKiB, args }
  if (!isLarge(job)) return Effect.succeed(entry)
  return node.transfer.put({
    computationId,
    target: { _tag: "Arguments", jobId, attempt },
    content: contentOf(job),
    what: `the arguments of job ${jobId}`
  }).pipe(Effect.as({ ...entry, flags: flags | Entries.JobFlags.largeArgs, args: Entries.noBytes }))
}

const sendJob = (
  self: JobTransfers,
  node: ConnectedNode,
  computationId: string,
  job: JobRecord,
  isThere: () => boolean
): void => {
  const { attempt, files, number: jobId } = job
  const computation = self.surroundings.computation(computationId)
  const moving: Moving = { computationId, nodeId: node.id, jobId, attempt, reply: undefined, fiber: undefined }
  const sent = Effect.map(
    sendArguments(node, computationId, job),
    (entry) => self.surroundings.send(node, computationId, Entries.encodeJobs([entry]))
  )
  const isWithFiles = files !== undefined && computation !== undefined
  start(self, moving, isWithFiles ? FileDelivery.withJobFiles(node, computation, jobId, files, sent) : sent, isThere)
}

/** Starts to send what needs more than an entry, and returns the jobs that go at once. */
export const dispatch = (
  self: JobTransfers,
  node: ConnectedNode,
  computationId: string,
  jobs: ReadonlyArray<JobRecord>,
  isThere: () => boolean
): ReadonlyArray<JobRecord> => {
  if (!jobs.some(needsTransfer)) return jobs
  for (const job of jobs) if (needsTransfer(job)) sendJob(self, node, computationId, job, isThere)
  return jobs.filter((job) => !needsTransfer(job))
}

const tooLarge = (sizeBytes: number): Error =>
  new RangeError(`the result has ${sizeBytes} bytes, more than the ${maxValueBytes} that can be held`)

const fetchResult = (
  self: JobTransfers,
  node: ConnectedNode,
  computationId: string,
  reply: Entries.ReplyFields,
  isThere: () => boolean
): void => {
  const { attempt, jobId } = reply
  const sizeBytes = Entries.largeResultBytes(reply)
  const moving: Moving = { computationId, nodeId: node.id, jobId, attempt, reply, fiber: undefined }
  const isGood = Number.isSafeInteger(sizeBytes) && sizeBytes >= 0 && sizeBytes <= maxValueBytes
  const fetched = isGood
    ? node.transfer.getBytes({
      computationId,
      source: { _tag: "Result", jobId, attempt },
      sizeBytes,
      what: `the result of job ${jobId}`
    })
    : Effect.fail(tooLarge(sizeBytes))
  const taken = Effect.map(fetched as Effect.Effect<Uint8Array, Error>, (bytes) => {
    // The node may have said something else meanwhile.
    if (self.surroundings.running(computationId, node.id, jobId, attempt) === undefined) return
    self.results.set(keyOf(computationId, jobId, attempt), bytes)
    node.hasFetched = true
    self.surroundings.post(replied(moving, replyFor(moving, reply.outcome)))
  })
  start(self, moving, taken, isThere)
}

const isFetching = (self: JobTransfers, computationId: string, { attempt, jobId }: Entries.ReplyFields): boolean =>
  self.moving.get(keyOf(computationId, jobId, attempt))?.reply !== undefined

/**
 * Takes the replies out of a batch whose results are to be fetched, and returns the others: the batch itself when there
 * is none of the first kind.
 */
export const take = (
  self: JobTransfers,
  node: ConnectedNode,
  computationId: string,
  batch: Uint8Array,
  isThere: () => boolean
): Uint8Array => {
  if (!Entries.hasLargeResults(batch)) return batch
  const view = Entries.viewOf(batch)
  const others: Array<Entries.ReplyFields> = []
  for (let offset = 0; offset < batch.length; offset += Entries.entrySize(view, offset)) {
    const reply = Entries.readReply(batch, view, offset)
    const isHeld = (reply.flags & Entries.ReplyFlags.largeResult) !== 0 &&
      self.surroundings.running(computationId, node.id, reply.jobId, reply.attempt) !== undefined
    if (!isHeld) others.push(reply)
    // A result is fetched once, however often the node tells of it.
    else if (isFetching(self, computationId, reply)) self.surroundings.dropped()
    else fetchResult(self, node, computationId, reply, isThere)
  }
  return Entries.encodeReplies(others)
}

/** The reply with its result in it, if that was fetched. */
export const complete = (
  self: JobTransfers,
  computationId: string,
  reply: Entries.ReplyFields
): Entries.ReplyFields => {
  if (self.results.size === 0) return reply
  const key = keyOf(computationId, reply.jobId, reply.attempt)
  const result = self.results.get(key)
  self.results.delete(key)
  return result === undefined ? reply : { ...reply, result }
}

const stop = (self: JobTransfers, key: string, moving: Moving): void => {
  self.moving.delete(key)
  if (moving.fiber !== undefined) self.surroundings.fork(Fiber.interrupt(moving.fiber))
}

/** Cancels jobs of which something is under way, which the node cannot; returns the numbers of the others. */
export const cancel = (
  self: JobTransfers,
  nodeId: string,
  computationId: string,
  jobNumbers: ReadonlyArray<number>
): ReadonlyArray<number> => {
  if (self.moving.size === 0) return jobNumbers
  const rest = new Set(jobNumbers)
  for (const [key, moving] of self.moving) {
    if (moving.nodeId !== nodeId || moving.computationId !== computationId || !rest.delete(moving.jobId)) continue
    stop(self, key, moving)
    self.surroundings.post(replied(moving, replyFor(moving, Entries.Outcome.cancelled)))
  }
  return [...rest]
}

/** What the scheduler is to take in before this event: jobs that a lost node never got run elsewhere. */
export const before = (self: JobTransfers, event: Event): ReadonlyArray<Event> => {
  if (self.moving.size === 0 && self.results.size === 0) return []
  if (event._tag === "ComputationClosed") {
    for (const [key, moving] of self.moving) if (moving.computationId === event.computationId) stop(self, key, moving)
    for (const key of self.results.keys()) if (key.endsWith(` ${event.computationId}`)) self.results.delete(key)
    return []
  }
  if (event._tag !== "NodeLost") return []
  const returned: Array<Event> = []
  for (const [key, moving] of self.moving) {
    if (moving.nodeId !== event.nodeId) continue
    stop(self, key, moving)
    if (moving.reply === undefined) returned.push(replied(moving, replyFor(moving, Entries.Outcome.returned)))
  }
  return returned
}
