/**
 * Who gets the next cpu, how many jobs a slot gets ahead of time, and when a slot
 * process is started, given to a computation or ended. Called after every event.
 *
 * A job that would wait behind a long one must not be with that slot, and a no-op
 * job must not pay a round trip: so a slot gets about two milliseconds of work. A
 * slot that runs several jobs at a time gets as many as it can run, and none ahead.
 */
import * as JobRing from "./JobRing.ts"
import * as SlotKill from "./SlotKill.ts"
import * as SlotMemory from "./SlotMemory.ts"
import type { PoolAction } from "./SlotPoolEvent.ts"
import * as State from "./SlotPoolState.ts"
import type { PoolJob, PoolSession, PoolSlot, SlotPool } from "./SlotPoolState.ts"

/** Work in flight per slot that is aimed at, in microseconds. */
const inflightMicros = 2_000

/** Most bytes of jobs sent ahead in one go. */
const inflightBytes = 1 << 20

/** How long a taken spare is not replaced, in milliseconds. */
export const spareDelayMillis = 200

/** Largest window for a session's jobs. */
export const windowLimit = (pool: SlotPool, session: PoolSession): number =>
  Math.max(1, Math.min(pool.config.maxInflight, Math.floor(inflightMicros / session.jobMicros)))

/** How many jobs a slot may have in flight now. */
const windowOf = (pool: SlotPool, session: PoolSession, slot: PoolSlot): number =>
  State.isShared(slot) ? slot.concurrency : Math.min(slot.window, windowLimit(pool, session))

/** Slots that work for a session or will. */
const liveSlots = (session: PoolSession): number => {
  let count = 0
  for (const slot of session.slots) if (slot.phase !== "dying") count++
  return count
}

const busySlots = (session: PoolSession): number => {
  let count = 0
  for (const slot of session.slots) if (slot.inflight.length > 0) count++
  return count
}

const idleSlot = (session: PoolSession): PoolSlot | undefined => {
  for (const slot of session.slots) if (State.isIdle(slot)) return slot
  return undefined
}

/** Whether jobs may be about to come back, which then go before those in the queue. */
const isTaking = (session: PoolSession): boolean => {
  for (const slot of session.slots) if (slot.isTaking) return true
  return false
}

const send = (
  pool: SlotPool,
  session: PoolSession,
  slot: PoolSlot,
  most: number,
  now: number,
  out: Array<PoolAction>
): void => {
  const jobs: Array<PoolJob> = []
  let bytes = 0
  const room = Math.min(most, State.servesMore(slot))
  while (jobs.length < room) {
    const job = JobRing.at(session.queue, 0)
    if (job === undefined || (jobs.length > 0 && bytes + job.size > inflightBytes && !State.isShared(slot))) break
    JobRing.shift(session.queue)
    JobRing.push(slot.inflight, job)
    job.sentAt = now
    if (job.timeoutMillis > 0) slot.overdueAt = Math.min(slot.overdueAt, now + job.timeoutMillis)
    jobs.push(job)
    bytes += job.size
  }
  if (jobs.length === 0) return
  slot.served += jobs.length
  session.lastServed = ++pool.served
  if (State.isShared(slot)) {
    slot.headSince = now
    slot.takes = 0
  }
  out.push({ _tag: "SendJobs", slot: slot.id, jobs })
}

/** The waiting session with the fewest cpus, among equals the one served longest ago. */
const nextSession = (pool: SlotPool): PoolSession | undefined => {
  let best: PoolSession | undefined
  let bestBusy = 0
  for (const session of pool.sessions.values()) {
    if (session.queue.length === 0 || idleSlot(session) === undefined || isTaking(session)) continue
    const busy = busySlots(session)
    if (busy >= session.cpus) continue
    if (best === undefined || busy < bestBusy || (busy === bestBusy && session.lastServed < best.lastServed)) {
      best = session
      bestBusy = busy
    }
  }
  return best
}

/** Gives free cpus to idle slots. */
const fillIdle = (pool: SlotPool, now: number, out: Array<PoolAction>): void => {
  while (pool.busy < pool.cpus) {
    const session = nextSession(pool)
    if (session === undefined) return
    const slot = idleSlot(session)!
    const share = Math.ceil(
      session.queue.length / Math.max(1, Math.min(liveSlots(session), pool.cpus, session.cpus))
    )
    slot.headSince = now
    slot.takes = 0
    send(pool, session, slot, Math.min(windowOf(pool, session, slot), share), now, out)
    SlotMemory.began(slot, now)
    pool.busy++
  }
}

/** Whether a session could work and has less than its share of the cpus: then the others get no work ahead of time. */
const someoneStarves = (pool: SlotPool): boolean => {
  if (pool.busy < pool.cpus || pool.sessions.size < 2) return false
  let active = 0
  for (const session of pool.sessions.values()) if (session.queue.length > 0 || busySlots(session) > 0) active++
  const share = Math.max(1, Math.floor(pool.cpus / active))
  for (const session of pool.sessions.values()) {
    const fair = Math.min(share, session.cpus)
    if (session.queue.length > 0 && busySlots(session) < fair && idleSlot(session) !== undefined) return true
  }
  return false
}

/** Whether a busy slot is to get more jobs: one that runs several when it has room, one that runs one when half is done. */
const wantsMore = (slot: PoolSlot, window: number): boolean => {
  if (slot.phase !== "ready" || slot.inflight.length === 0 || slot.plans.length > 0) return false
  if (slot.isRevoking || slot.isTaking || State.isWorn(slot)) return false
  return State.isShared(slot) ? slot.inflight.length < window : slot.takes === 0 && slot.inflight.length * 2 <= window
}

/** Sends more jobs to slots that are busy. */
const refill = (pool: SlotPool, now: number, out: Array<PoolAction>): void => {
  if (pool.busy > pool.cpus || someoneStarves(pool)) return
  for (const session of pool.sessions.values()) {
    if (session.queue.length === 0 || isTaking(session)) continue
    if (session.concurrency === 1 && windowLimit(pool, session) <= 1) continue
    const slots = Math.max(1, busySlots(session))
    // It has fewer cpus than before: slots run dry until it keeps to them.
    if (slots > session.cpus) continue
    for (const slot of session.slots) {
      const window = windowOf(pool, session, slot)
      if (!wantsMore(slot, window)) continue
      const share = Math.ceil(session.queue.length / slots)
      send(pool, session, slot, Math.min(window - slot.inflight.length, share), now, out)
    }
  }
}

const preparingSlots = (session: PoolSession): number => {
  let count = 0
  for (const slot of session.slots) if (slot.phase === "preparing") count++
  return count
}

/** Prepared slots of the whole pool. */
const preparedSlots = (pool: SlotPool): number => {
  let count = 0
  for (const slot of pool.slots.values()) if (slot.phase === "preparing" || slot.phase === "ready") count++
  return count
}

/** Ends the slot that was idle longest, of a session that has another one; false when there is none. */
const evictIdle = (pool: SlotPool, wanting: PoolSession, now: number, out: Array<PoolAction>): boolean => {
  let oldest: PoolSlot | undefined
  for (const session of pool.sessions.values()) {
    if (session === wanting || session.queue.length > 0 || liveSlots(session) < 2) continue
    for (const slot of session.slots) {
      if (State.isIdle(slot) && (oldest === undefined || slot.since < oldest.since)) oldest = slot
    }
  }
  if (oldest === undefined) return false
  dismiss(oldest, "idle, its place is needed", now, out)
  return true
}

const dismiss = (slot: PoolSlot, reason: string, now: number, out: Array<PoolAction>): void => {
  SlotKill.leaveSession(slot)
  SlotKill.discard(slot, reason, now, out)
}

/** Blank slots to be kept warm: no more than could be made use of. */
const sparesOf = (pool: SlotPool): number => Math.min(pool.config.spares, pool.cpus)

/** Ends idle slots that are more than there are cpus for, and spares that nobody can need. */
const shrink = (pool: SlotPool, now: number, out: Array<PoolAction>): void => {
  for (const session of pool.sessions.values()) {
    for (const slot of session.slots) {
      if (liveSlots(session) <= pool.cpus) break
      if (State.isIdle(slot)) dismiss(slot, "idle, its cpu was taken away", now, out)
    }
  }
  let blanks = 0
  for (const slot of pool.slots.values()) {
    if (slot.phase === "blank" && ++blanks > sparesOf(pool)) dismiss(slot, "a spare too many", now, out)
  }
}

/** How many more slots a session should get now. */
const wantedSlots = (pool: SlotPool, session: PoolSession, now: number, out: Array<PoolAction>): number => {
  if (now < session.prepareAfter || session.host?.phase === "preparing") return 0
  const live = liveSlots(session)
  const first = live === 0 && (!session.isOpen || (session.queue.length > 0 && pool.cpus > 0)) ? 1 : 0
  if (first === 1) return 1
  if (session.queue.length === 0 || idleSlot(session) !== undefined) return 0
  const more = Math.min(Math.min(pool.cpus, session.cpus) - live, session.queue.length - preparingSlots(session))
  if (more <= 0) return 0
  // Beyond its first slot a session only takes room that nobody else makes use of.
  if (preparedSlots(pool) >= pool.cpus * 2 && !evictIdle(pool, session, now, out)) return 0
  return 1
}

const startThread = (
  pool: SlotPool,
  session: PoolSession,
  host: PoolSlot,
  now: number,
  out: Array<PoolAction>
): void => {
  const slot = State.makeThread(pool.nextSlotId++, host, session, now)
  pool.slots.set(slot.id, slot)
  host.threads.add(slot)
  session.slots.add(slot)
  out.push({ _tag: "StartThread", slot: slot.id, host: host.id, session: session.id })
}

/** Gives blank slots to sessions that want one; returns how many wants stay open. */
const prepare = (pool: SlotPool, now: number, out: Array<PoolAction>): number => {
  const blanks: Array<PoolSlot> = []
  for (const slot of pool.slots.values()) if (slot.phase === "blank") blanks.push(slot)
  let unmet = 0
  const waiting = [...pool.sessions.values()].sort((a, b) => a.lastServed - b.lastServed)
  for (const session of waiting) {
    while (wantedSlots(pool, session, now, out) > 0) {
      if (session.host !== null) {
        startThread(pool, session, session.host, now, out)
        continue
      }
      const slot = blanks.shift()
      if (slot === undefined) {
        unmet++
        break
      }
      slot.phase = "preparing"
      slot.session = session
      slot.since = now
      slot.concurrency = session.concurrency
      if (session.kind === "thread") session.host = slot
      else session.slots.add(slot)
      pool.spareAfter = now + spareDelayMillis
      out.push({ _tag: "PrepareSlot", slot: slot.id, session: session.id })
    }
  }
  return unmet
}

/** Starts what is missing. */
const start = (pool: SlotPool, unmet: number, now: number, out: Array<PoolAction>): void => {
  if (now < pool.startAfter) return
  let coming = 0
  let spare = 0
  for (const slot of pool.slots.values()) {
    if (slot.phase === "starting") coming++
    else if (slot.phase === "blank") spare++
  }
  const spares = now >= pool.spareAfter ? sparesOf(pool) - spare : 0
  const wanted = Math.max(unmet, spares + unmet)
  for (let i = coming; i < wanted; i++) {
    const slot = State.makeSlot(pool.nextSlotId++, now)
    pool.slots.set(slot.id, slot)
    out.push({ _tag: "StartSlot", slot: slot.id })
  }
}

/** Does everything that the state allows. */
export const run = (pool: SlotPool, now: number, out: Array<PoolAction>): void => {
  fillIdle(pool, now, out)
  refill(pool, now, out)
  let hasUnmet = pool.slots.size === 0
  for (const session of pool.sessions.values()) if (!session.isOpen || session.queue.length > 0) hasUnmet = true
  const unmet = hasUnmet ? prepare(pool, now, out) : 0
  // After new computations got theirs: they need a slot to load their code even where there are no cpus.
  if (pool.cpus < pool.mostCpus) shrink(pool, now, out)
  start(pool, unmet, now, out)
}
