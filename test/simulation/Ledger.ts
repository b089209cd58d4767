/**
 * What an observer who sees everything knows of every job: where it ran and how often, what its client was told, and what
 * nodes keep of it for a client that is gone. Rules that are about one job are checked here, when something happens to it.
 */
import type { Terms } from "../../src/domain/scheduler/JobRecord.ts"
import * as Retry from "../../src/domain/scheduler/Retry.ts"
import * as World from "./World.ts"

/** How an attempt ends that nothing ends before. */
export type End = "returns" | "throws" | "exits" | "ends its node"

/** What a job does when it runs. */
export interface Spec {
  readonly millis: number
  /** How its executions end, in order; the last one stands for all that follow. */
  readonly ends: readonly [End, ...ReadonlyArray<End>]
  /** It does not end when it is asked to. */
  readonly isStubborn: boolean
  readonly hasProvisional: boolean
}

/** What is written down of a job that a node keeps, and what of that was confirmed. */
export interface Kept {
  /** That there is such a job: it is told, if only as lost. */
  isListed: boolean
  isListSynced: boolean
  /** Its reply. */
  isWritten: boolean
  isSynced: boolean
  /** Which attempt that is of; 0 for none. */
  attempt: number
}

/** See above. */
export interface Job {
  readonly computationId: string
  readonly number: number
  readonly client: string
  readonly isReentrant: boolean
  readonly terms: Terms | undefined
  readonly spec: Spec
  readonly submittedAt: number
  /** The attempt that was sent last, and the time before which no other one may be. */
  sent: number
  notBefore: number
  /** Attempts that had no result and were followed by another one, and how many of them were crashes. */
  readonly retried: Set<number>
  crashes: number
  /** Retries that are used up, those after the loss of a node included. */
  retries: number
  /** Slots that ended under it, other than because it was to end. */
  downs: number
  /** Attempts that were started. */
  readonly executions: Set<number>
  /** How often a node was lost that may have run it. */
  losses: number
  /** After how many of those it waited again. */
  survived: number
  /** What its client was told. */
  outcome: string
  wasCancelledBeforeStart: boolean
  provisionals: number
  /** Who recovered it, and how. */
  recovered: string
  /** Nodes that keep it for a client that is gone, and what of it is written down. */
  readonly kept: Map<string, Kept>
}

/** All jobs. */
export interface Ledger {
  readonly world: World.World
  readonly jobs: Map<string, Job>
  /** From when on few faults happen, and are mended. */
  readonly calmAt: number
}

/** No jobs. */
export const make = (world: World.World, calmAt: number): Ledger => ({ world, jobs: new Map(), calmAt })

/** What a job is called. */
export const nameOf = (computationId: string, number: number): string => `${computationId}/${number}`

/** A job is submitted. */
export const submitted = (
  ledger: Ledger,
  job: Pick<Job, "computationId" | "number" | "client" | "isReentrant" | "terms" | "spec">
): void => {
  ledger.jobs.set(nameOf(job.computationId, job.number), {
    ...job,
    submittedAt: ledger.world.now,
    sent: 0,
    notBefore: 0,
    retried: new Set(),
    crashes: 0,
    retries: 0,
    downs: 0,
    executions: new Set(),
    losses: 0,
    survived: 0,
    outcome: "",
    wasCancelledBeforeStart: false,
    provisionals: 0,
    recovered: "",
    kept: new Map()
  })
}

/** A job that was submitted. */
export const jobOf = (ledger: Ledger, computationId: string, number: number): Job =>
  ledger.jobs.get(nameOf(computationId, number)) ?? World.fail(`nobody submitted job ${nameOf(computationId, number)}`)

/** A slot starts it. */
export const started = (
  ledger: Ledger,
  computationId: string,
  number: number,
  attempt: number,
  node: string
): Job => {
  const job = jobOf(ledger, computationId, number)
  const name = nameOf(computationId, number)
  World.note(ledger.world, `${node} starts job ${name}, attempt ${attempt}`)
  World.count(ledger.world, "executions")
  if (job.executions.has(attempt)) World.fail(`attempt ${attempt} of job ${name} runs twice`)
  const before = job.executions.size
  const retries = job.terms?.retry?.times ?? 0
  if (before > 0 && !job.isReentrant && retries === 0) World.fail(`job ${name} runs twice and may not`)
  if (before > job.losses + job.retried.size) {
    World.fail(`job ${name} runs more often than it failed and nodes were lost under it`)
  }
  if (before > retries + (job.isReentrant ? Retry.maxLostNodes - 1 : 0)) {
    World.fail(`job ${name} runs more often than its retries allow`)
  }
  job.executions.add(attempt)
  if (job.wasCancelledBeforeStart && job.losses === 0) {
    World.fail(`job ${name} runs after it was told as cancelled before its start`)
  }
  return job
}

/** How the execution ends that was begun last. */
export const endOf = ({ executions, spec }: Job): End => spec.ends[Math.min(executions.size, spec.ends.length) - 1]!

/** A slot ended under it. */
export const tookDown = (ledger: Ledger, computationId: string, number: number): void => {
  jobOf(ledger, computationId, number).downs++
}

/** A node was lost that had it. */
export const nodeLost = (ledger: Ledger, computationId: string, number: number): void => {
  jobOf(ledger, computationId, number).losses++
}

/** Its client is told what became of it. */
export const ended = (
  ledger: Ledger,
  computationId: string,
  number: number,
  outcome: string,
  attempt: number
): void => {
  const job = jobOf(ledger, computationId, number)
  const name = nameOf(computationId, number)
  World.note(ledger.world, `job ${name} ends as ${outcome}`)
  World.count(ledger.world, `outcome ${outcome}`)
  if (job.outcome !== "") World.fail(`job ${name} ends as ${outcome} and has ended as ${job.outcome}`)
  job.outcome = outcome
  if (outcome === "Finished" && !job.executions.has(attempt)) World.fail(`job ${name} returned and did not run`)
  if (outcome === "Cancelled") {
    job.wasCancelledBeforeStart = true
    if (!job.isReentrant && job.executions.size > 0) World.fail(`job ${name} ran and is told as cancelled before that`)
  }
}

/** Its client hears a provisional result. */
export const provisional = (ledger: Ledger, computationId: string, number: number): void => {
  const job = jobOf(ledger, computationId, number)
  job.provisionals++
  const name = nameOf(computationId, number)
  if (job.outcome !== "") World.fail(`job ${name} has a provisional result after its end`)
  if (job.provisionals > job.executions.size) World.fail(`job ${name} has a provisional result twice`)
}

/** A node has it, or its reply, for a client that is gone. */
export const keeps = (ledger: Ledger, computationId: string, number: number, node: string): void => {
  const { kept } = jobOf(ledger, computationId, number)
  if (!kept.has(node)) {
    kept.set(node, { isListed: false, isListSynced: false, isWritten: false, isSynced: false, attempt: 0 })
  }
}

/** A daemon is gone, or its machine, with what was not written down, or not confirmed. */
export const forgetUnwritten = (ledger: Ledger, node: string, isPowerLoss: boolean): void => {
  for (const { kept } of ledger.jobs.values()) {
    const known = kept.get(node)
    if (known === undefined) continue
    if (isPowerLoss) Object.assign(known, { isListed: known.isListSynced, isWritten: known.isSynced })
    if (!known.isListed) kept.delete(node)
  }
}

/** It is recovered, by another program than its client. */
export const recovered = (
  ledger: Ledger,
  computationId: string,
  number: number,
  how: "reply" | "lost" | "given back",
  /** The attempt that a reply tells to have run; 0 for none. */
  attempt: number
): void => {
  const job = jobOf(ledger, computationId, number)
  const name = nameOf(computationId, number)
  World.note(ledger.world, `job ${name} is recovered: ${how}`)
  World.count(ledger.world, `recovered ${how}`)
  if (job.recovered !== "") World.fail(`job ${name} is recovered twice, as ${job.recovered} and as ${how}`)
  job.recovered = how
  if (attempt > 0 && !job.executions.has(attempt)) {
    World.fail(`job ${name} is recovered with a reply and did not run`)
  }
  for (const [node, kept] of job.kept) {
    if (attempt > 0 && kept.isWritten && kept.attempt > attempt) {
      World.fail(
        `job ${name} is recovered with attempt ${attempt}, and ${node} has attempt ${kept.attempt} on its disk`
      )
    }
  }
  if (how === "lost") {
    for (const [node, { isWritten }] of job.kept) {
      if (isWritten) World.fail(`job ${name} is told as lost, and ${node} has its reply on its disk`)
    }
  }
}
