/**
 * How jobs end before their time: cancelled, overdue, or wanted back. What a slot
 * has not claimed is taken back first, so that ending the running job can never
 * hit another one; then a `KillPlan` runs its steps.
 */
import * as Entries from "../wire/Entries.ts"
import * as JobRing from "./JobRing.ts"
import * as KillPlan from "./KillPlan.ts"
import * as SlotKill from "./SlotKill.ts"
import type { PoolAction } from "./SlotPoolEvent.ts"
import * as State from "./SlotPoolState.ts"
import type { PoolJob, PoolSession, PoolSlot, SlotPlan, SlotPool } from "./SlotPoolState.ts"

/** What a reply that the node makes itself says beside its outcome. */
export interface OwnReply {
  /** When the job started; absent if it did not. */
  readonly since?: number
  readonly result?: Uint8Array
  readonly stdout?: Uint8Array
  readonly stderr?: Uint8Array
}

/** Replies to a job in the slot's place. */
export const emit = (
  pool: SlotPool,
  session: PoolSession,
  job: PoolJob,
  outcome: Entries.Outcome,
  now: number,
  out: Array<PoolAction>,
  reply: OwnReply = {}
): void => {
  const entries = Entries.encodeReply({
    jobId: job.id,
    attempt: job.attempt,
    outcome,
    flags: 0,
    startMillis: reply.since === undefined ? 0 : pool.config.epochMillis + reply.since,
    durationMicros: reply.since === undefined ? 0 : (now - reply.since) * 1000,
    result: reply.result ?? Entries.noBytes,
    stdout: reply.stdout ?? Entries.noBytes,
    stderr: reply.stderr ?? Entries.noBytes
  })
  out.push({ _tag: "Emit", session: session.id, entries })
}

/** Asks for the jobs that the slot has not claimed. */
export const takeBack = (slot: PoolSlot, out: Array<PoolAction>): void => {
  if (slot.isTaking) return
  slot.isTaking = true
  slot.takes++
  out.push({ _tag: "TakeBack", slot: slot.id })
}

/** Ends jobs, wherever they are. */
export const cancel = (
  pool: SlotPool,
  session: PoolSession,
  ids: ReadonlyArray<number>,
  now: number,
  out: Array<PoolAction>
): void => {
  const wanted = new Set(ids)
  for (const job of JobRing.remove(session.queue, (queued) => wanted.has(queued.id))) {
    emit(pool, session, job, Entries.Outcome.cancelled, now, out)
  }
  for (const slot of session.slots) {
    let isMeant = false
    for (const job of JobRing.toArray(slot.inflight)) {
      if (!wanted.has(job.id) || job.ending === "cancelled" || job.ending === "timedOut") continue
      job.ending = "cancelled"
      isMeant = true
    }
    if (isMeant) takeBack(slot, out)
  }
}

/** Gives back what has not started. */
export const giveBack = (pool: SlotPool, session: PoolSession, now: number, out: Array<PoolAction>): void => {
  for (const job of JobRing.remove(session.queue, () => true)) {
    emit(pool, session, job, Entries.Outcome.returned, now, out)
  }
  for (const slot of session.slots) {
    if (slot.inflight.length === 0 || (slot.plans.length > 0 && !State.isShared(slot))) continue
    for (const job of JobRing.toArray(slot.inflight)) job.ending ??= "returned"
    takeBack(slot, out)
  }
}

const act = (slot: PoolSlot, plan: SlotPlan, step: KillPlan.KillStep, out: Array<PoolAction>): void => {
  const jobId = plan.job.id
  if (step.act === "abort") return void out.push({ _tag: "Abort", slot: slot.id, jobId })
  slot.phase = "dying"
  if (State.isShared(slot) && slot.fault === "") {
    slot.fault = `job ${jobId}, which ran in it at the same time, did not end in time`
  }
  if (step.act === "terminate") {
    // Also when this job ends: others may still keep the thread from stopping.
    if (slot.host !== null) slot.stopBy = Math.min(slot.stopBy, plan.startedAt + plan.steps.at(-1)!.atMillis)
    out.push({ _tag: "Terminate", slot: slot.id })
  } else if (slot.host === null) {
    const reason = plan.job.ending === "outOfMemory" ? "used more memory than it may" : "did not end in time"
    out.push({ _tag: "Kill", slot: slot.id, reason: `job ${jobId} ${reason}` })
  } else SlotKill.killProcess(slot.host, `job ${jobId}, which ran in another thread, could not be stopped`, out)
}

/** Does the steps of the slot's kill plans that are due. */
export const pursue = (slot: PoolSlot, now: number, out: Array<PoolAction>): void => {
  for (const plan of slot.plans) {
    for (let step = plan.steps[plan.next]; step !== undefined; step = plan.steps[plan.next]) {
      if (now < plan.startedAt + step.atMillis) break
      plan.next++
      act(slot, plan, step, out)
    }
  }
}

/** When the next step of a kill plan is due. */
export const nextStepAt = (slot: PoolSlot): number => {
  let at = Infinity
  for (const { next, startedAt, steps } of slot.plans) {
    const step = steps[next]
    if (step !== undefined) at = Math.min(at, startedAt + step.atMillis)
  }
  return at
}

/** A job that comes back from a slot without having started. */
export const unstarted = (
  pool: SlotPool,
  session: PoolSession,
  job: PoolJob,
  now: number,
  out: Array<PoolAction>
): void => {
  if (job.ending === "cancelled") emit(pool, session, job, Entries.Outcome.cancelled, now, out)
  else if (job.ending === "returned") emit(pool, session, job, Entries.Outcome.returned, now, out)
  else {
    job.ending = null
    requeue(session, job)
  }
}

/** Puts a job back where it was in line: near the front, for it was sent a moment ago. */
const requeue = (session: PoolSession, job: PoolJob): void => {
  const earlier: Array<PoolJob> = []
  for (let first = JobRing.at(session.queue, 0); first !== undefined; first = JobRing.at(session.queue, 0)) {
    if (first.order > job.order) break
    earlier.push(first)
    JobRing.shift(session.queue)
  }
  JobRing.pushFront(session.queue, job)
  for (const one of earlier.reverse()) JobRing.pushFront(session.queue, one)
}

/** The last `count` jobs in flight did not start and will not; if the one before them is to end, its end begins. */
export const tookBack = (
  pool: SlotPool,
  slot: PoolSlot,
  count: number,
  now: number,
  out: Array<PoolAction>
): void => {
  const session = slot.session
  slot.isTaking = false
  if (count > 0) {
    slot.isRevoking = true
    slot.since = now
    slot.window = 1
  }
  for (let left = count; left > 0; left--) {
    const job = JobRing.pop(slot.inflight)
    if (job !== undefined && session !== null) unstarted(pool, session, job, now, out)
  }
  if (count > 0 && slot.inflight.length === 0) pool.busy--
  slot.served -= count
  for (const job of JobRing.toArray(slot.inflight)) if (job.ending === "returned") job.ending = null
  if (session === null) return
  if (State.isShared(slot)) {
    for (const job of JobRing.toArray(slot.inflight)) begin(session, slot, job, now)
  } else if (slot.inflight.length === 1) {
    // Of several claimed jobs only the last can be running: the replies of the others are on their way.
    begin(session, slot, JobRing.at(slot.inflight, 0)!, now)
  }
  pursue(slot, now, out)
}

/** Kills a job that is alone in its process, also when its end has begun. */
export const killAtOnce = (slot: PoolSlot, job: PoolJob, now: number, out: Array<PoolAction>): void => {
  slot.plans = [{ job, startedAt: now, steps: [{ atMillis: 0, act: "kill" }], next: 0 }]
  pursue(slot, now, out)
}

/** Begins the end of a running job that is to end, unless it has begun. Who uses too much is looked at once more. */
const begin = (session: PoolSession, slot: PoolSlot, job: PoolJob, now: number): void => {
  if (job.ending === null || job.ending === "outOfMemory" || slot.plans.some((plan) => plan.job === job)) return
  const surroundings = { isThread: slot.host !== null, isShared: State.isShared(slot) }
  slot.plans.push({
    job,
    startedAt: now,
    steps: KillPlan.steps(session.graceMillis, slot.listener === job.id, surroundings),
    next: 0
  })
}
