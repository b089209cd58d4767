/**
 * How jobs end before their time: cancelled, overdue, or wanted back. What a slot
 * has not claimed is taken back first, so that ending the running job can never
 * hit another one; then a `KillPlan` runs its steps.
 */
import * as Entries from "../wire/Entries.ts"
import * as JobRing from "./JobRing.ts"
import * as KillPlan from "./KillPlan.ts"
import type { PoolAction } from "./SlotPoolEvent.ts"
import type { PoolJob, PoolSession, PoolSlot, SlotPool } from "./SlotPoolState.ts"

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
    if (slot.inflight.length === 0 || slot.plan !== null) continue
    for (const job of JobRing.toArray(slot.inflight)) job.ending ??= "returned"
    takeBack(slot, out)
  }
}

/** Does the steps of the slot's kill plan that are due. */
export const pursue = (slot: PoolSlot, now: number, out: Array<PoolAction>): void => {
  const plan = slot.plan
  if (plan === null) return
  for (let step = plan.steps[plan.next]; step !== undefined; step = plan.steps[plan.next]) {
    if (now < plan.startedAt + step.atMillis) return
    plan.next++
    if (step.act === "abort") {
      out.push({ _tag: "Abort", slot: slot.id, jobId: plan.job.id })
      continue
    }
    slot.phase = "dying"
    out.push(
      step.act === "terminate"
        ? { _tag: "Terminate", slot: slot.id }
        : { _tag: "Kill", slot: slot.id, reason: `job ${plan.job.id} did not end in time` }
    )
  }
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
  for (const job of JobRing.toArray(slot.inflight)) if (job.ending === "returned") job.ending = null
  // Of several claimed jobs only the last can be running: the replies of the others are on their way.
  const head = JobRing.at(slot.inflight, 0)
  if (session === null || slot.plan !== null || slot.inflight.length !== 1 || head!.ending === null) return
  slot.plan = {
    job: head!,
    startedAt: now,
    steps: KillPlan.steps(session.graceMillis, slot.listener === head!.id),
    next: 0
  }
  pursue(slot, now, out)
}
