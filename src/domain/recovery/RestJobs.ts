/**
 * What becomes of the jobs in a durable recover file that have no reply there: each is handed over by a node, runs
 * (again), or is told as lost, whichever is known first and once.
 *
 * ```
 * never sent, or given back ──────────────────────────────▶ runs
 * sent ──▶ its node told its reply ──▶ handed over
 *   │        its node told that it gave it back ──────────▶ runs
 *   │        its node has all of this program and no such job: it never got there ──▶ runs
 *   └──────▶ its node keeps nothing (any more), ended with the program, or is given up ──▶ lost; runs if it may run twice
 * ```
 */
import { noBytes, Outcome, type ReplyFields } from "../wire/Entries.ts"
import type { QueuedJob } from "./JobEntries.ts"
import * as KeptJobs from "./KeptJobs.ts"
import type { RecoverFile } from "./RecoverFile.ts"

/** A job whose fate is open. */
export interface RestJob {
  readonly computationId: string
  readonly job: QueuedJob
}

/** All of them. */
export interface RestJobs {
  readonly kept: KeptJobs.KeptJobs
  /** By computation and number. */
  readonly open: Map<string, Map<number, QueuedJob>>
  /** Nodes that have told everything, with the computations of which they had a lease; absent while they have not. */
  readonly told: Map<string, ReadonlySet<string>>
  /** Nodes that are asked. */
  readonly asked: ReadonlySet<string>
}

/** What is to be done with jobs. */
export interface Fates {
  readonly run: ReadonlyArray<RestJob>
  readonly lost: ReadonlyArray<KeptJobs.KeptJob>
}

/** Before any node was asked; without the jobs that have a reply in the file. */
export const make = (file: RecoverFile, kept: KeptJobs.KeptJobs): RestJobs => ({
  kept,
  open: new Map(
    [...file.queues].map(([id, { jobs }]) => [
      id,
      new Map([...jobs].filter(([, { replies }]) => replies.length === 0))
    ])
  ),
  told: new Map(),
  asked: new Set(file.nodes.keys())
})

/** Jobs whose fate is open. */
export const size = ({ open }: RestJobs): number => {
  let count = 0
  for (const jobs of open.values()) count += jobs.size
  return count
}

/** The job, if its fate was open until now. */
export const close = (self: RestJobs, computationId: string, number: number): QueuedJob | undefined => {
  const jobs = self.open.get(computationId)
  const job = jobs?.get(number)
  jobs?.delete(number)
  return job
}

/** The job did not get to run after all, and its fate is open again. */
export const reopen = (self: RestJobs, { computationId, job }: RestJob): void =>
  void self.open.get(computationId)?.set(job.number, job)

/** A job that has no outcome and will have none. */
export const lostJob = (computationId: string, { number, sent }: QueuedJob, lost: string): KeptJobs.KeptJob => ({
  computationId,
  number,
  node: sent.at(-1)?.node ?? "",
  reply: undefined,
  lost,
  provisional: [],
  files: []
})

/** The reply of a job that is ended before it ran. */
export const cancelledReply = (
  { attempt, number }: { readonly number: number; readonly attempt: number }
): ReplyFields => ({
  jobId: number,
  attempt,
  outcome: Outcome.cancelled,
  flags: 0,
  startMillis: 0,
  durationMicros: 0,
  result: noBytes,
  stdout: noBytes,
  stderr: noBytes
})

/** Why a job is lost; undefined where it is sure that it never started, "" while that may still be told. */
const reasonOf = (self: RestJobs, computationId: string, job: QueuedJob, isOver: boolean): string | undefined => {
  if (!job.isOut) return undefined
  const node = job.sent.at(-1)?.node ?? ""
  if (!self.asked.has(node)) {
    return `it was sent to ${node}, which ended with the program or can be asked by nobody else`
  }
  const told = self.told.get(node)
  if (told !== undefined) {
    return told.has(computationId)
      ? undefined
      : `it was sent to ${node}, which keeps nothing of this program (any more)`
  }
  return isOver ? `it was sent to ${node}, which did not answer in time` : ""
}

/**
 * What is known of jobs now; their fates are closed. With `isOver` no more is waited for, and what nodes that have not
 * told everything might have is lost.
 */
export const decide = (self: RestJobs, isOver: boolean): Fates => {
  const run: Array<RestJob> = []
  const lost: Array<KeptJobs.KeptJob> = []
  for (const [computationId, jobs] of self.open) {
    const mayRunTwice = self.kept.mayRunTwice(computationId)
    for (const job of jobs.values()) {
      const reason = reasonOf(self, computationId, job, isOver)
      if (reason === "" || (!isOver && KeptJobs.isExpected(self.kept, computationId, job.number))) continue
      // A reply that is held is handed over when all nodes have told everything.
      if (!KeptJobs.withdraw(self.kept, computationId, job.number)) continue
      jobs.delete(job.number)
      if (reason === undefined || mayRunTwice) run.push({ computationId, job })
      else lost.push(lostJob(computationId, job, reason))
    }
  }
  return { run, lost }
}

/** Jobs that were settled by what nodes told: which of them are handed over, and which run instead. */
export const sift = (
  self: RestJobs,
  settled: ReadonlyArray<KeptJobs.KeptJob>
): { readonly run: ReadonlyArray<RestJob>; readonly handed: ReadonlyArray<KeptJobs.KeptJob> } => {
  const run: Array<RestJob> = []
  const handed = settled.filter((kept) => {
    const job = close(self, kept.computationId, kept.number)
    if (job === undefined) return true
    const isUnstarted = kept.reply !== undefined && !KeptJobs.isOutcome(kept.reply)
    const isAgain = kept.reply === undefined && self.kept.mayRunTwice(kept.computationId)
    if (!isUnstarted && !isAgain) return true
    run.push({ computationId: kept.computationId, job })
    return false
  })
  return { run, handed }
}
