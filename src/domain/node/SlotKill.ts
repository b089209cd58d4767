/**
 * The ways to be rid of a slot: a process is killed, a thread is stopped, and a
 * thread that does not stop costs its process, with all threads in it.
 */
import * as KillPlan from "./KillPlan.ts"
import type { PoolAction } from "./SlotPoolEvent.ts"
import type { PoolSlot } from "./SlotPoolState.ts"

/** The session has this slot no more. */
export const leaveSession = (slot: PoolSlot): void => {
  const { session } = slot
  if (session === null) return
  session.slots.delete(slot)
  if (session.host === slot) session.host = null
  slot.session = null
}

/** Kills a process; the jobs of its threads, if it has any, are settled when it is gone. */
export const killProcess = (slot: PoolSlot, reason: string, out: Array<PoolAction>): void => {
  slot.phase = "dying"
  if (slot.fault === "") slot.fault = reason
  // A fresh host can be made at once.
  if (slot.session?.host === slot) slot.session.host = null
  for (const thread of slot.threads) {
    thread.phase = "dying"
    if (thread.inflight.length === 0) leaveSession(thread)
  }
  out.push({ _tag: "Kill", slot: slot.id, reason })
}

/** Ends a slot that is of no use any more; its jobs, if any, are settled when it is gone. */
export const discard = (slot: PoolSlot, reason: string, now: number, out: Array<PoolAction>): void => {
  if (slot.host === null) return killProcess(slot, reason, out)
  slot.phase = "dying"
  if (slot.fault === "") slot.fault = reason
  slot.stopBy = Math.min(slot.stopBy, now + KillPlan.stopMillis)
  out.push({ _tag: "Terminate", slot: slot.id })
}

/** When a thread that was to stop costs its process. */
export const stopBy = (slot: PoolSlot): number =>
  slot.host === null || slot.host.phase === "dying" ? Infinity : slot.stopBy

/** A thread has not stopped in time. */
export const outlived = (slot: PoolSlot, out: Array<PoolAction>): void => {
  if (slot.host !== null) killProcess(slot.host, `a thread of it did not stop (${slot.fault})`, out)
}
