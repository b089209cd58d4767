/**
 * What is known of the jobs of a program by its recover file and by what its nodes tell, without taking anything: a
 * function over both, so that it can be asked as often as one likes.
 */
import { Outcome, type ReplyFields } from "../wire/Entries.ts"
import type { QueuedJob } from "./JobEntries.ts"
import * as NumberRanges from "./NumberRanges.ts"
import * as RecoverFile from "./RecoverFile.ts"

/** What a node told of a job. */
export interface ToldJob {
  readonly computationId: string
  readonly number: number
  /** Its reply; undefined while it runs or waits there, or when it is lost. */
  readonly reply: Omit<ReplyFields, "result" | "stdout" | "stderr"> | undefined
  /** Why there will be no reply; "" while there may be one. */
  readonly lost: string
}

/** What became of asking a node. */
export interface ToldNode {
  /** Its name in the file. */
  readonly name: string
  /** "told": it keeps something; "connected": the program is connected to it; "empty", "silent": no answer. */
  readonly state: "told" | "connected" | "empty" | "silent"
  /** In words, unless it told something. */
  readonly reason: string
  readonly jobs: ReadonlyArray<ToldJob>
}

/** Where a job is. */
export type JobState = "waiting" | "sent" | "running" | "ended" | "lost" | "done"

/** An execution of a job, as far as it is known. */
export interface JobAttempt {
  /** Address of the node. */
  readonly node: string
  /** Milliseconds since 1970 when it was sent there by the program's clock; 0 where only the node tells of it. */
  readonly sentTime: number
}

/** What is known of a job. */
export interface ExplainedJob {
  readonly number: number
  readonly computation: string
  readonly computationId: string
  readonly state: JobState
  /** All of it in a sentence or two. */
  readonly text: string
  readonly attempts: ReadonlyArray<JobAttempt>
  /** Milliseconds since 1970 by the node's clock; 0 where that is not known. */
  readonly startTime: number
  readonly endTime: number
}

const outcomes: Readonly<Record<Outcome, string>> = {
  [Outcome.succeeded]: "it returned a result",
  [Outcome.failed]: "it threw an error",
  [Outcome.slotDied]: "its process died",
  [Outcome.timedOut]: "it ran longer than its timeout",
  [Outcome.cancelled]: "it was cancelled",
  [Outcome.returned]: "its node gave it back before it started",
  [Outcome.notCloneable]: "it returned what cannot be sent",
  [Outcome.provisional]: "it sent a provisional result",
  [Outcome.outOfMemory]: "it used more memory than its limit",
  [Outcome.notTransferred]: "its arguments or result did not get to the other side"
}

const timeOf = (millis: number): string => new Date(millis).toISOString()

interface Known {
  readonly job: QueuedJob | undefined
  readonly told: ReadonlyArray<ToldJob & { readonly node: string }>
}

const endOf = (node: string, { attempt, durationMicros, outcome, startMillis }: NonNullable<ToldJob["reply"]>) => ({
  state: outcome === Outcome.returned ? "waiting" as const : "ended" as const,
  text: `${outcomes[outcome]} on ${node}` +
    (startMillis === 0
      ? ""
      : `, attempt ${attempt}, ${Math.round(durationMicros / 1000)} ms from ${timeOf(startMillis)}`),
  startTime: startMillis,
  endTime: startMillis + durationMicros / 1000
})

const unknownTimes = { startTime: 0, endTime: 0 }

const sentText = (job: QueuedJob, nodes: ReadonlyMap<string, ToldNode>): string => {
  const { millis, node } = job.sent.at(-1)!
  const asked = nodes.get(node)
  const why = asked === undefined
    ? "which cannot be asked"
    : asked.state === "told"
    ? "which knows nothing of it: it never got there"
    : asked.state === "connected"
    ? "to which its program is connected"
    : asked.reason
  return `it was sent to ${RecoverFile.addressIn(node)} at ${timeOf(millis)}, ${why}`
}

const describe = (
  { job, told }: Known,
  nodes: ReadonlyMap<string, ToldNode>
): Pick<ExplainedJob, "state" | "text" | "startTime" | "endTime"> => {
  const inFile = job?.replies.at(-1)
  const replied = told.findLast(({ reply }) => reply !== undefined && reply.outcome !== Outcome.returned)
  if (replied?.reply !== undefined) return endOf(RecoverFile.addressIn(replied.node), replied.reply)
  if (inFile !== undefined) {
    const end = endOf(RecoverFile.addressIn(inFile.node), inFile.reply)
    return { ...end, text: `${end.text}; the program had its reply` }
  }
  const running = told.find(({ lost, reply }) => lost === "" && reply === undefined)
  if (running !== undefined) {
    return { ...unknownTimes, state: "running", text: `it runs or is next on ${RecoverFile.addressIn(running.node)}` }
  }
  const lost = told.findLast((one) => one.lost !== "")
  if (lost !== undefined) return { ...unknownTimes, state: "lost", text: lost.lost }
  if (job !== undefined && job.isOut) return { ...unknownTimes, state: "sent", text: sentText(job, nodes) }
  const back = told.findLast(({ reply }) => reply !== undefined)
  const text = back?.reply === undefined
    ? "it waits: it was not sent to any node" +
      (job === undefined || job.sent.length === 0 ? "" : " since it was given back")
    : endOf(RecoverFile.addressIn(back.node), back.reply).text
  return { ...unknownTimes, state: "waiting", text }
}

const done = "its outcome was handed over"

/** What is known of all jobs that somebody tells of; those whose outcome was handed over are not among them. */
export const explain = (
  file: RecoverFile.RecoverFile,
  nodes: ReadonlyArray<ToldNode>
): ReadonlyArray<ExplainedJob> => {
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const all = new Map<string, Map<number, { job: QueuedJob | undefined; told: Array<ToldJob & { node: string }> }>>()
  const knownOf = (computationId: string, number: number) => {
    const jobs = all.get(computationId) ??
      new Map<number, { job: undefined; told: Array<ToldJob & { node: string }> }>()
    all.set(computationId, jobs)
    const known = jobs.get(number) ?? { job: undefined, told: [] }
    jobs.set(number, known)
    return known
  }
  for (const [id, { jobs }] of file.queues) for (const job of jobs.values()) knownOf(id, job.number).job = job
  for (const { jobs, name } of nodes) {
    for (const one of jobs) {
      const computationId = RecoverFile.originalOf(file, one.computationId)
      const handedOver = file.handedOver.get(computationId)
      if (handedOver !== undefined && NumberRanges.has(handedOver, one.number)) continue
      knownOf(computationId, one.number).told.push({ ...one, node: name })
    }
  }
  return [...all].flatMap(([computationId, jobs]) =>
    [...jobs].toSorted(([a], [b]) => a - b).map(([number, known]): ExplainedJob => {
      const computation = file.computations.get(computationId)?.name ?? ""
      const sent = known.job?.sent.map(({ millis, node }) => ({ node: RecoverFile.addressIn(node), sentTime: millis }))
      const attempts = sent ?? known.told.map(({ node }) => ({ node: RecoverFile.addressIn(node), sentTime: 0 }))
      return { number, computation, computationId, attempts, ...describe(known, byName) }
    })
  )
}

/** What is known of a number: one job for each computation that has it. */
export const find = (
  file: RecoverFile.RecoverFile,
  jobs: ReadonlyArray<ExplainedJob>,
  number: number
): ReadonlyArray<ExplainedJob> => [
  ...jobs.filter((job) => job.number === number),
  ...[...file.handedOver].flatMap(([computationId, ranges]): ReadonlyArray<ExplainedJob> =>
    NumberRanges.has(ranges, number)
      ? [{
        number,
        computation: file.computations.get(computationId)?.name ?? "",
        computationId,
        state: "done",
        text: done,
        attempts: [],
        ...unknownTimes
      }]
      : []
  )
]

/** How many jobs are in each state. */
export const tally = (
  file: RecoverFile.RecoverFile,
  jobs: ReadonlyArray<ExplainedJob>
): Readonly<Record<JobState, number>> => {
  const counts = { waiting: 0, sent: 0, running: 0, ended: 0, lost: 0, done: 0 }
  for (const { state } of jobs) counts[state]++
  for (const ranges of file.handedOver.values()) counts.done += NumberRanges.size(ranges)
  return counts
}
