/**
 * Slots that are of no use: they die, cannot be started, or do not load the code.
 * Says what becomes of their jobs and of the computations that wait for a slot.
 */
import * as Entries from "../wire/Entries.ts"
import * as PrintedText from "../wire/PrintedText.ts"
import { encodeSlotDeath, type SlotDeath } from "../wire/SlotDeath.ts"
import * as JobRing from "./JobRing.ts"
import * as SlotEnding from "./SlotEnding.ts"
import * as SlotKill from "./SlotKill.ts"
import type { PoolAction, PoolEvent, SlotEnd } from "./SlotPoolEvent.ts"
import * as State from "./SlotPoolState.ts"
import type { PoolJob, PoolSession, PoolSlot, SlotPool } from "./SlotPoolState.ts"

/** After so many slots that did not get ready, one after another, their jobs are given up. */
const failureLimit = 3

/** How long to wait after so many failures in a row, in milliseconds. */
const backoff = (failures: number): number => Math.min(5_000, 25 * 2 ** failures)

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

/** Ends all that works for a session; what its jobs come to matters to nobody any more. */
export const endSession = (
  pool: SlotPool,
  session: PoolSession,
  reason: string,
  now: number,
  out: Array<PoolAction>
): void => {
  pool.sessions.delete(session.id)
  const { host } = session
  if (host !== null) SlotKill.killProcess(host, reason, out)
  for (const slot of session.slots) {
    slot.session = null
    slot.plans = []
    // The threads of a host that dies need nothing more.
    if (slot.host?.phase !== "dying") SlotKill.discard(slot, reason, now, out)
  }
  session.slots.clear()
  for (const slot of pool.slots.values()) if (slot.session === session) slot.session = null
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
    endSession(pool, session, "its computation was refused", now, out)
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
    if (session.slots.size > 0 || session.host !== null) continue
    if (!session.isOpen) refused(pool, session, `no slot process can be started: ${reason}`, true, now, out)
    else SlotEnding.giveBack(pool, session, now, out)
  }
}

/** When the kill plan of a slot that died of SIGTERM would have come to SIGKILL. */
const killAt = (slot: PoolSlot): number => {
  let at = 0
  for (const { next, startedAt, steps } of slot.plans) {
    const last = steps.at(-1)
    if (last !== undefined && next > 0) at = Math.max(at, startedAt + last.atMillis)
  }
  return at
}

/** A slot that is gone, and what it left. */
interface Lost {
  readonly slot: PoolSlot
  readonly session: PoolSession
  readonly end: SlotEnd
  /** Its jobs that had started, and those that had not. */
  readonly claimed: ReadonlyArray<PoolJob>
  readonly unclaimed: ReadonlyArray<PoolJob>
}

/** Takes a slot out of the pool; undefined if nobody waits for its jobs. */
const lose = (pool: SlotPool, slot: PoolSlot, end: SlotEnd): Lost | undefined => {
  const { session } = slot
  pool.slots.delete(slot.id)
  slot.host?.threads.delete(slot)
  SlotKill.leaveSession(slot)
  if (slot.inflight.length > 0) pool.busy--
  if (session === null) return undefined
  const jobs = JobRing.toArray(slot.inflight)
  const started = Math.max(0, jobs.length - end.unclaimed)
  return { slot, session, end, claimed: jobs.slice(0, started), unclaimed: jobs.slice(started) }
}

/** Jobs named in a reason, at most. */
const namedJobs = 5

const listed = (jobs: ReadonlyArray<PoolJob>): string => {
  const names = jobs.slice(0, namedJobs).map((job) => String(job.id))
  const more = jobs.length - names.length
  return more > 0 ? `${names.join(", ")} and ${more} more` : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`
}

/** Why a job that ran in a slot that died did not get to its end. */
const reasonOf = ({ slot }: Lost, process: PoolSlot, reason: string, suspects: ReadonlyArray<PoolJob>): string => {
  if (slot.fault !== "") return `its slot was killed because ${slot.fault}`
  if (process.fault !== "") return `the process of its thread was killed because ${process.fault}`
  if (suspects.length < 2) return reason
  const where = slot === process && slot.host !== null ? "thread" : "process"
  return `${reason}; jobs ${listed(suspects)} ran in the same ${where}, and any of them may have caused it`
}

/** Settles the jobs of slots that went together. */
const settle = (
  pool: SlotPool,
  process: PoolSlot,
  lost: ReadonlyArray<Lost>,
  death: SlotDeath,
  now: number,
  out: Array<PoolAction>
): void => {
  const suspects = lost.flatMap((one) => one.claimed)
  for (const one of lost) {
    const { claimed, end, session, slot, unclaimed } = one
    for (const job of unclaimed.toReversed()) SlotEnding.unstarted(pool, session, job, now, out)
    for (const job of claimed) {
      const isEnding = slot.plans.some((plan) => plan.job === job)
      const printed = end.printed.find(({ jobId }) => jobId === job.id || jobId === 0)
      const own = { since: State.startOf(slot, job), ...printed }
      if (isEnding && job.ending === "timedOut") {
        SlotEnding.emit(pool, session, job, Entries.Outcome.timedOut, now, out, own)
      } else if (isEnding && job.ending === "cancelled") {
        SlotEnding.emit(pool, session, job, Entries.Outcome.cancelled, now, out, own)
      } else {
        const result = encodeSlotDeath({ ...death, reason: reasonOf(one, process, death.reason, suspects) })
        SlotEnding.emit(pool, session, job, Entries.Outcome.slotDied, now, out, { ...own, result })
      }
    }
  }
}

/** Why a slot that died did not get ready. */
const unready = ({ settingUp }: PoolSlot, { lastStderr, reason }: SlotDeath): string =>
  settingUp === null
    ? reason
    : `${settingUp} failed: the process ended before it was done: ${reason}${PrintedText.after("", lastStderr)}`

/** Settles the jobs of a slot that is gone, and of its threads. */
export const died = (
  pool: SlotPool,
  slot: PoolSlot,
  event: Extract<PoolEvent, { readonly _tag: "SlotDied" }>,
  now: number,
  out: Array<PoolAction>
): void => {
  const { phase, session } = slot
  out.push({ _tag: "Sweep", slot: slot.id, afterMillis: Math.max(0, killAt(slot) - now) })
  const preparing = [slot, ...slot.threads].find((one) => one.phase === "preparing")
  const nothing: SlotEnd = { slot: 0, unclaimed: 0, printed: [] }
  const lost = [lose(pool, slot, event)]
  for (const thread of slot.threads) {
    lost.push(lose(pool, thread, event.threads.find((end) => end.slot === thread.id) ?? nothing))
  }
  settle(pool, slot, lost.filter((one) => one !== undefined), event.death, now, out)
  if (session !== null) {
    // What `setup` did once is not done again: it would not fare better, and is promised to run once.
    if (preparing !== undefined) {
      refused(pool, session, unready(preparing, event.death), preparing.settingUp === "setup", now, out)
    }
  } else if (phase === "starting" || phase === "blank") failedToStart(pool, event.death.reason, now, out)
}
