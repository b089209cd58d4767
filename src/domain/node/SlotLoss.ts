/**
 * Slots that are of no use: they die, cannot be started, or do not load the code.
 * Says what becomes of their jobs and of the computations that wait for a slot.
 */
import * as Entries from "../wire/Entries.ts"
import { encodeSlotDeath } from "../wire/SlotDeath.ts"
import * as JobRing from "./JobRing.ts"
import * as SlotEnding from "./SlotEnding.ts"
import type { PoolAction, PoolEvent } from "./SlotPoolEvent.ts"
import type { PoolSession, PoolSlot, SlotPool } from "./SlotPoolState.ts"

/** After so many slots that did not get ready, one after another, their jobs are given up. */
const failureLimit = 3

/** How long to wait after so many failures in a row, in milliseconds. */
const backoff = (failures: number): number => Math.min(5_000, 25 * 2 ** failures)

/** Ends a slot that is of no use any more; its job, if any, is settled when it is gone. */
export const discard = (slot: PoolSlot, reason: string, out: Array<PoolAction>): void => {
  slot.phase = "dying"
  if (slot.fault === "") slot.fault = reason
  out.push({ _tag: "Kill", slot: slot.id, reason })
}

/** The session has this slot no more. */
export const leaveSession = (slot: PoolSlot): void => {
  slot.session?.slots.delete(slot)
  slot.session = null
}

/** The session's code does not load: nothing will ever run its jobs. */
const giveUp = (
  pool: SlotPool,
  session: PoolSession,
  reason: string,
  now: number,
  out: Array<PoolAction>
): void => {
  const result = encodeSlotDeath({ reason, exitCode: null, signal: null, lastStderr: "" })
  for (const job of JobRing.remove(session.queue, () => true)) {
    SlotEnding.emit(pool, session, job, Entries.Outcome.slotDied, now, out, { result })
  }
  session.refusals = 0
}

/** A slot could not load the session's code; `isFinal` when another one would not fare better. */
export const refused = (
  pool: SlotPool,
  session: PoolSession,
  reason: string,
  isFinal: boolean,
  now: number,
  out: Array<PoolAction>
): void => {
  session.refusals++
  session.prepareAfter = now + backoff(session.refusals)
  if (!session.isOpen) {
    if (!isFinal && session.refusals < failureLimit) return
    pool.sessions.delete(session.id)
    for (const slot of session.slots) {
      slot.session = null
      discard(slot, "its computation was refused", out)
    }
    out.push({ _tag: "SessionRefused", session: session.id, reason })
  } else if (session.refusals >= failureLimit && session.slots.size === 0) {
    giveUp(pool, session, `the computation does not load any more: ${reason}`, now, out)
  }
}

/** A slot ended before it was good for anything. */
const failedToStart = (pool: SlotPool, reason: string, now: number, out: Array<PoolAction>): void => {
  pool.startFailures++
  pool.startAfter = now + backoff(pool.startFailures)
  if (pool.startFailures < failureLimit) return
  for (const session of pool.sessions.values()) {
    if (session.slots.size > 0) continue
    if (!session.isOpen) refused(pool, session, `no slot process can be started: ${reason}`, true, now, out)
    else SlotEnding.giveBack(pool, session, now, out)
  }
}

/** When the kill plan of a slot that died of SIGTERM would have come to SIGKILL. */
const killAt = (slot: PoolSlot): number => {
  const last = slot.plan?.steps.at(-1)
  return last === undefined || slot.plan!.next === 0 ? 0 : slot.plan!.startedAt + last.atMillis
}

/** Settles the jobs of a slot that is gone. */
export const died = (
  pool: SlotPool,
  slot: PoolSlot,
  event: Extract<PoolEvent, { readonly _tag: "SlotDied" }>,
  now: number,
  out: Array<PoolAction>
): void => {
  const session = slot.session
  const { phase } = slot
  pool.slots.delete(slot.id)
  leaveSession(slot)
  if (slot.inflight.length > 0) pool.busy--
  out.push({ _tag: "Sweep", slot: slot.id, afterMillis: Math.max(0, killAt(slot) - now) })
  if (session === null) {
    if (phase === "starting" || phase === "blank") failedToStart(pool, event.death.reason, now, out)
    return
  }
  const claimed = slot.inflight.length - event.unclaimed
  const jobs = JobRing.toArray(slot.inflight)
  for (let i = jobs.length - 1; i >= claimed; i--) SlotEnding.unstarted(pool, session, jobs[i]!, now, out)
  for (let i = 0; i < claimed; i++) {
    const job = jobs[i]!
    const ending = slot.plan?.job === job ? job.ending : null
    const own = { since: slot.headSince, stdout: event.stdout, stderr: event.stderr }
    if (ending === "timedOut") SlotEnding.emit(pool, session, job, Entries.Outcome.timedOut, now, out, own)
    else if (ending === "cancelled") SlotEnding.emit(pool, session, job, Entries.Outcome.cancelled, now, out, own)
    else {
      const reason = slot.fault === "" ? event.death.reason : `its slot was killed because ${slot.fault}`
      const result = encodeSlotDeath({ ...event.death, reason })
      SlotEnding.emit(pool, session, job, Entries.Outcome.slotDied, now, out, { ...own, result })
    }
  }
  if (phase === "preparing") refused(pool, session, event.death.reason, false, now, out)
}
