/**
 * What becomes of slots that use too much memory. A job over its limit is killed with all it started; a slot that kept
 * too much of its jobs is replaced when it has none.
 *
 * ```
 * job   watched ──over──▶ suspected ──jobs behind it taken back, looked at again──▶ killed, or watched
 * slot  watched ──over──▶ gets no more jobs ──its jobs have ended, looked at again──▶ replaced, or watched
 * ```
 * The second look at a job is needed since the first can have been at the one before it: what its slot has claimed is
 * known only when the rest was taken back. Where jobs share a process nobody can tell which of them uses what: they are
 * not limited, clients refuse to ask for it, and only their slot is watched.
 */
import * as JobRing from "./JobRing.ts"
import * as MemoryGauge from "./MemoryGauge.ts"
import * as SlotEnding from "./SlotEnding.ts"
import * as SlotKill from "./SlotKill.ts"
import type { PoolAction, PoolEvent } from "./SlotPoolEvent.ts"
import * as State from "./SlotPoolState.ts"
import type { PoolJob, PoolSlot, SlotPool } from "./SlotPoolState.ts"

/** Slots that are due so soon are looked at together. */
const togetherMillis = 5

/** What the job that runs may use; infinite if that does not matter. */
const jobLimit = (slot: PoolSlot): number => {
  const head = JobRing.at(slot.inflight, 0)
  return head === undefined || head.memoryKiB === 0 || slot.host !== null || State.isShared(slot)
    ? Infinity
    : head.memoryKiB
}

/** What the slot may have left between two jobs; of a thread nobody can tell. */
const slotLimit = (slot: PoolSlot): number => {
  const limit = slot.session?.slotLimits.memoryKiB ?? 0
  return limit === 0 || slot.host !== null ? Infinity : limit
}

/** A job has become the first in flight. */
export const began = (slot: PoolSlot, now: number): void => {
  const { gauge } = slot
  gauge.peakKiB = 0
  if (jobLimit(slot) < Infinity) MemoryGauge.lookBy(gauge, now + MemoryGauge.firstMillis)
  else if (slotLimit(slot) < Infinity) MemoryGauge.lookBy(gauge, now + MemoryGauge.slotMillis)
}

/** When there is to be a look at the slot. */
export const lookAt = (slot: PoolSlot): number => slot.gauge.isLooking ? Infinity : slot.gauge.lookAt

/** Whether anything would follow from a look. */
const matters = (slot: PoolSlot): boolean =>
  (slot.phase === "ready" && (slotLimit(slot) < Infinity || jobLimit(slot) < Infinity)) ||
  // It is being ended, and may still grow until it is.
  (jobLimit(slot) < Infinity && slot.plans.some((plan) => plan.next < plan.steps.length))

const measure = (slots: ReadonlyArray<PoolSlot>, out: Array<PoolAction>): void => {
  if (slots.length === 0) return
  for (const { gauge } of slots) {
    gauge.isLooking = true
    gauge.lookAt = Infinity
  }
  out.push({
    _tag: "Measure",
    slots: slots.map((slot) => ({ slot: slot.id, aboveKiB: Math.min(jobLimit(slot), slotLimit(slot)) }))
  })
}

/** Looks at the slots that are due. */
export const look = (pool: SlotPool, now: number, out: Array<PoolAction>): void => {
  const due: Array<PoolSlot> = []
  for (const slot of pool.slots.values()) {
    if (lookAt(slot) > now + togetherMillis) continue
    if (matters(slot)) due.push(slot)
    else slot.gauge.lookAt = Infinity
  }
  if (due.some((slot) => lookAt(slot) <= now)) measure(due, out)
}

/** Looks at a slot now. */
const lookNow = (slot: PoolSlot, out: Array<PoolAction>): void => {
  if (!slot.gauge.isLooking) measure([slot], out)
}

/** The jobs that a slot had not claimed were taken back: the one that it runs is known now. */
export const tookBack = (slot: PoolSlot, out: Array<PoolAction>): void => {
  if (slot.phase === "ready" && JobRing.at(slot.inflight, 0)?.ending === "outOfMemory") lookNow(slot, out)
}

/** The slot has no jobs: if it is worn, it is replaced, or looked at first. */
export const emptied = (slot: PoolSlot, now: number, out: Array<PoolAction>): void => {
  if (slot.phase !== "ready") return
  if (State.servesMore(slot) <= 0) {
    SlotKill.leaveSession(slot)
    return SlotKill.discard(slot, "it has run as many jobs as it may", now, out)
  }
  if (slot.isLarge) lookNow(slot, out)
}

/**
 * Whether the job is known to be the one that runs. One that is being ended is, and goes on growing: it has no grace for
 * that.
 */
const isCaught = (slot: PoolSlot, job: PoolJob): boolean =>
  slot.plans.length > 0 || (slot.inflight.length === 1 && !slot.isTaking && job.ending === "outOfMemory")

const overLimit = (slot: PoolSlot, job: PoolJob, now: number, out: Array<PoolAction>): void => {
  if (isCaught(slot, job)) return SlotEnding.killAtOnce(slot, job, now, out)
  if (job.ending !== null) return
  job.ending = "outOfMemory"
  SlotEnding.takeBack(slot, out)
}

const judgeSlot = (slot: PoolSlot, now: number, out: Array<PoolAction>): void => {
  slot.isLarge = slot.gauge.kib > slotLimit(slot)
  if (!slot.isLarge || slot.inflight.length > 0) return
  SlotKill.leaveSession(slot)
  SlotKill.discard(slot, `it kept ${Math.round(slot.gauge.kib / 1024)} MiB of its jobs`, now, out)
}

const saw = (pool: SlotPool, slot: PoolSlot, kib: number, now: number, out: Array<PoolAction>): void => {
  const limit = jobLimit(slot)
  const wait = MemoryGauge.note(slot.gauge, kib, now, limit)
  const head = JobRing.at(slot.inflight, 0)
  if (!matters(slot)) return
  if (slot.phase === "ready" && slotLimit(slot) < Infinity) judgeSlot(slot, now, out)
  if (head !== undefined && kib > limit) overLimit(slot, head, now, out)
  else if (head?.ending === "outOfMemory") head.ending = null
  if (slot.inflight.length === 0 || !matters(slot)) return
  const millis = limit < Infinity ? Math.max(wait, pool.lookMillis) : MemoryGauge.slotMillis
  MemoryGauge.lookBy(slot.gauge, now + millis)
}

/** Takes in what slots use. */
export const measured = (
  pool: SlotPool,
  event: Extract<PoolEvent, { readonly _tag: "Measured" }>,
  now: number,
  out: Array<PoolAction>
): void => {
  pool.lookMillis = MemoryGauge.pause(event.costMillis)
  for (const { kib, slot: id } of event.slots) {
    const slot = pool.slots.get(id)
    if (slot !== undefined) saw(pool, slot, kib, now, out)
  }
}
