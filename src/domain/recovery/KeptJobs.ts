/**
 * Which jobs are recovered, of all that several nodes tell: every job once, with the reply of its highest attempt. What
 * a node tells may come again when its connection breaks, and then begins anew.
 *
 * ```
 * told by a node ──▶ final ──▶ taken          the only reply there can be, or all nodes have ended
 *        └─────────▶ held  ──▶ final          another node may have a later attempt, or the job was given back
 * ```
 * A job may run twice only if its cluster allows that; of any other the first reply is the only one.
 */
import { Outcome, type ReplyFields } from "../wire/Entries.ts"
import type { QueuedReply } from "./JobEntries.ts"
import * as NumberRanges from "./NumberRanges.ts"
import { originalOf, type RecoverFile } from "./RecoverFile.ts"

/** What a node tells of a job. */
export interface KeptJob {
  readonly computationId: string
  readonly number: number
  /** Name of the node in the recover file. */
  node: string
  /** Its outcome, or that the node gave it back; undefined for none yet. */
  reply: ReplyFields | undefined
  /** Why it will have none; "" while it may. */
  lost: string
  /** Encoded, in order. */
  readonly provisional: Array<Uint8Array>
  /** Paths of files that it sent. */
  readonly files: Array<string>
}

/** What is known of a node. */
interface KeptNode {
  hasEnded: boolean
  /** Jobs without an outcome that was taken, by their keys. */
  readonly jobs: Map<string, KeptJob>
}

/** What all nodes told. */
export interface KeptJobs {
  readonly nodes: Map<string, KeptNode>
  /** Keys of jobs that need nothing any more, beside those that were handed over before. */
  readonly taken: Set<string>
  readonly handedOver: RecoverFile["handedOver"]
  /** Whether a job that was lost may run again. */
  readonly mayRunTwice: (computationId: string) => boolean
  /** Whether several nodes may have a reply to the same job: the one of the highest attempt counts. */
  readonly mayReplyTwice: (computationId: string) => boolean
}

/** What can be handed over: jobs, and nodes that have nothing more when these are handed over. */
export interface Settled {
  readonly jobs: ReadonlyArray<KeptJob>
  readonly nodes: ReadonlyArray<string>
}

const keyOf = (computationId: string, number: number): string => `${number} ${computationId}`

/** Stands for the recover file where it tells what nodes told the program. */
const fileNode = ""

/** Before any node was asked. */
export const make = (file: RecoverFile): KeptJobs => {
  const { computations, handedOver, nodes, retried } = file
  // Of a computation whose entry is damaged nothing is known.
  const mayRunTwice = (computationId: string): boolean => computations.get(computationId)?.mayRunTwice ?? true
  return {
    nodes: new Map<string, KeptNode>([
      [fileNode, { hasEnded: true, jobs: new Map<string, KeptJob>() }],
      ...[...nodes.keys()].map((node) => [node, { hasEnded: false, jobs: new Map<string, KeptJob>() }] as const)
    ]),
    taken: new Set(),
    handedOver,
    mayRunTwice,
    mayReplyTwice: (computationId) => mayRunTwice(computationId) || retried.has(originalOf(file, computationId))
  }
}

const nodeOf = (self: KeptJobs, node: string): KeptNode => self.nodes.get(node)!

const jobOf = (self: KeptJobs, node: string, computationId: string, number: number): KeptJob => {
  const { jobs } = nodeOf(self, node)
  const key = keyOf(computationId, number)
  const known = jobs.get(key)
  if (known !== undefined) return known
  const job: KeptJob = { computationId, number, node, reply: undefined, lost: "", provisional: [], files: [] }
  jobs.set(key, job)
  return job
}

const take = (self: KeptJobs, job: KeptJob): KeptJob => {
  const key = keyOf(job.computationId, job.number)
  self.taken.add(key)
  for (const { jobs } of self.nodes.values()) jobs.delete(key)
  return job
}

/** Whether anything more is to be had of a job. */
export const isWanted = (self: KeptJobs, computationId: string, number: number): boolean => {
  const handedOver = self.handedOver.get(computationId)
  return (handedOver === undefined || !NumberRanges.has(handedOver, number)) &&
    !self.taken.has(keyOf(computationId, number))
}

/** The node begins to tell all that it has. */
export const begin = (self: KeptJobs, node: string): void => nodeOf(self, node).jobs.clear()

/** The node has jobs that have no reply yet. */
export const unreplied = (
  self: KeptJobs,
  node: string,
  computationId: string,
  numbers: ReadonlyArray<number>
): void => {
  for (const number of numbers) if (isWanted(self, computationId, number)) jobOf(self, node, computationId, number)
}

/** Whether a job with this reply has its outcome. */
export const isOutcome = ({ outcome }: ReplyFields): boolean => outcome !== Outcome.returned

/** An outcome counts more than that there will be none, and that more than being given back; a later attempt more. */
const rank = ({ lost: reason, reply }: Pick<KeptJob, "lost" | "reply">): number =>
  reply !== undefined && isOutcome(reply) ? 2 + reply.attempt : reason !== "" ? 1 : reply === undefined ? -1 : 0

/** A reply with all that belongs to it; the job, if that makes it final. */
export const replied = (
  self: KeptJobs,
  node: string,
  computationId: string,
  reply: ReplyFields
): KeptJob | undefined => {
  if (!isWanted(self, computationId, reply.jobId)) return undefined
  const job = jobOf(self, node, computationId, reply.jobId)
  if (reply.outcome === Outcome.provisional) {
    job.provisional.push(reply.result)
    return undefined
  }
  if (rank({ reply, lost: "" }) > rank({ reply: job.reply, lost: "" })) job.reply = reply
  return isOutcome(reply) && !self.mayReplyTwice(computationId) ? take(self, job) : undefined
}

/** A reply that the program had, and not its user; the job, if that makes it final. */
export const repliedBefore = (
  self: KeptJobs,
  computationId: string,
  { node, reply }: QueuedReply
): KeptJob | undefined => {
  const job = replied(self, fileNode, computationId, reply) ??
    nodeOf(self, fileNode).jobs.get(keyOf(computationId, reply.jobId))
  if (job === undefined) return undefined
  job.node = node
  return self.mayReplyTwice(computationId) ? undefined : job
}

/** The job is to run: what nodes tell of earlier attempts does not count. False when it has an outcome. */
export const withdraw = (self: KeptJobs, computationId: string, number: number): boolean => {
  const key = keyOf(computationId, number)
  for (const { jobs } of self.nodes.values()) {
    const job = jobs.get(key)
    if (job?.reply !== undefined && isOutcome(job.reply)) return false
  }
  if (!isWanted(self, computationId, number)) return false
  self.taken.add(key)
  for (const { jobs } of self.nodes.values()) jobs.delete(key)
  return true
}

/** Whether some node that has not ended has told of the job, so that more is to come. */
export const isExpected = (self: KeptJobs, computationId: string, number: number): boolean => {
  const key = keyOf(computationId, number)
  return [...self.nodes.values()].some(({ hasEnded, jobs }) => !hasEnded && jobs.has(key))
}

/** A file that a job sent is here. */
export const received = (self: KeptJobs, node: string, computationId: string, number: number, path: string): void => {
  if (isWanted(self, computationId, number)) jobOf(self, node, computationId, number).files.push(path)
}

/** Jobs that ended without a reply; those that it makes final. */
export const lost = (
  self: KeptJobs,
  node: string,
  computationId: string,
  numbers: ReadonlyArray<number>,
  reason: string
): ReadonlyArray<KeptJob> =>
  numbers.flatMap((number) => {
    if (!isWanted(self, computationId, number)) return []
    const job = jobOf(self, node, computationId, number)
    if (job.reply !== undefined && isOutcome(job.reply)) return []
    job.lost = reason
    return self.mayReplyTwice(computationId) ? [] : [take(self, job)]
  })

const isHeld = (job: KeptJob): boolean => rank(job) >= 0

const idleNodes = (self: KeptJobs, among: Iterable<string>): ReadonlyArray<string> =>
  [...among].filter((node) =>
    node !== fileNode && nodeOf(self, node).hasEnded && ![...nodeOf(self, node).jobs.values()].some(isHeld)
  )

/** The best that is held of every job; without `isAll` only what some node has an outcome of. */
const settleHeld = (self: KeptJobs, isAll: boolean): Settled => {
  const best = new Map<string, KeptJob>()
  for (const { jobs } of self.nodes.values()) {
    for (const [key, job] of jobs) {
      if (rank(job) < (isAll ? 0 : 2)) continue
      const other = best.get(key)
      if (other === undefined || rank(job) > rank(other)) best.set(key, job)
    }
  }
  const jobs = [...best.values()].map((job) => take(self, job))
  return { jobs, nodes: idleNodes(self, self.nodes.keys()) }
}

/** The node has told everything, and nothing runs there any more. */
export const ended = (self: KeptJobs, node: string): Settled => {
  const known = nodeOf(self, node)
  known.hasEnded = true
  for (const job of known.jobs.values()) if (!isHeld(job)) job.lost = "the node does not know what became of it"
  return [...self.nodes.values()].every(({ hasEnded }) => hasEnded)
    ? settleHeld(self, true)
    : { jobs: [], nodes: idleNodes(self, [node]) }
}

/** No more is waited for: what there is. */
export const giveUp = (self: KeptJobs): Settled => settleHeld(self, false)

/** Jobs at a node of which nothing is known but that they run. */
export const running = (self: KeptJobs, node: string): number => {
  let count = 0
  for (const job of nodeOf(self, node).jobs.values()) if (!isHeld(job)) count++
  return count
}

/** Nodes that have not ended. */
export const open = (self: KeptJobs): ReadonlyArray<string> =>
  [...self.nodes].flatMap(([node, { hasEnded }]) => hasEnded ? [] : [node])
