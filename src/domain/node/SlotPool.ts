/**
 * Decides everything about a node's slots: which jobs go where, what is taken
 * back, who is killed, and what reply a job gets when its slot cannot give one.
 * Events in, actions out; no I/O, no clock. Times are milliseconds of one
 * monotonic clock.
 *
 * Every job that arrived gets exactly one reply: the slot's own, or one made here
 * when it was cancelled, ran too long, took its slot down, or never started.
 */
import * as Entries from "../wire/Entries.ts"
import * as JobRing from "./JobRing.ts"
import * as SlotEnding from "./SlotEnding.ts"
import * as SlotKill from "./SlotKill.ts"
import * as SlotLoss from "./SlotLoss.ts"
import type { PoolAction, PoolEvent } from "./SlotPoolEvent.ts"
import * as State from "./SlotPoolState.ts"
import type { PoolJob, PoolSession, PoolSlot, SlotPool } from "./SlotPoolState.ts"
import * as SlotSchedule from "./SlotSchedule.ts"

/** A job that runs this long has the jobs behind it taken back if a cpu is free. */
const headMillis = 5

/** A job that runs this long has the jobs behind it taken back in any case. */
const longHeadMillis = 20

/** A slot that has not claimed its only job by then gets it taken away. */
const unclaimedMillis = 250

/** A slot that does not answer its node for so long is ended. */
const silentMillis = 5_000

const arrived = (session: PoolSession, batch: Uint8Array): void => {
  const view = Entries.viewOf(batch)
  for (let offset = 0; offset < batch.length;) {
    const size = Entries.entrySize(view, offset)
    JobRing.push(session.queue, {
      id: Entries.entryJobId(view, offset),
      order: session.arrived++,
      attempt: Entries.entryAttempt(view, offset),
      timeoutMillis: Entries.jobTimeoutMillis(view, offset),
      batch,
      offset,
      size,
      sentAt: 0,
      ending: null
    })
    offset += size
  }
}

/** What a slot itself can say of a job; the rest is the node's to say. */
const isSlotOutcome = (outcome: Entries.Outcome): boolean =>
  outcome === Entries.Outcome.succeeded || outcome === Entries.Outcome.failed ||
  outcome === Entries.Outcome.slotDied || outcome === Entries.Outcome.notCloneable ||
  outcome === Entries.Outcome.notTransferred

/**
 * The reply of the job that was being ended: it has the result that came in time, and the outcome that was asked for.
 * One that was in time by its own clock is not overdue: it was the node that looked late.
 */
const settlePlan = (slot: PoolSlot, job: PoolJob, view: DataView, offset: number): void => {
  const plan = slot.plans.find((one) => one.job === job)
  if (plan === undefined) return
  slot.plans = slot.plans.filter((one) => one !== plan)
  const { next, steps } = plan
  // Asked to end, the job may have answered just for that, a little before its own clock says that its time was up.
  const wasAsked = next > 0 && steps[0]?.act === "abort"
  const isOverdue = wasAsked || Entries.replyDurationMicros(view, offset) > job.timeoutMillis * 1000
  const outcome = job.ending === "cancelled"
    ? Entries.Outcome.cancelled
    : isOverdue
    ? Entries.Outcome.timedOut
    : undefined
  if (outcome !== undefined) Entries.endEarly(view, offset, outcome)
}

/** A reply that is held for its output may be behind the next job's provisional results: so not only the first. */
const hasJob = (slot: PoolSlot, id: number, attempt: number): boolean => {
  for (let i = 0; i < slot.inflight.length; i++) {
    const job = JobRing.at(slot.inflight, i)!
    if (job.id === id) return job.attempt === attempt
  }
  return false
}

/** Where a job is among those in flight; -1 if it is not. A slot that runs one at a time can only reply to the first. */
const placeOf = (slot: PoolSlot, id: number): number => {
  if (!State.isShared(slot)) return 0
  for (let i = 0; i < slot.inflight.length; i++) if (JobRing.at(slot.inflight, i)!.id === id) return i
  return -1
}

const replied = (pool: SlotPool, slot: PoolSlot, entries: Uint8Array, now: number, out: Array<PoolAction>): void => {
  const session = slot.session
  const view = Entries.viewOf(entries)
  let offset = 0
  let broken = ""
  let ended = 0
  while (offset < entries.length) {
    const id = Entries.entryJobId(view, offset)
    if (Entries.replyOutcome(view, offset) === Entries.Outcome.provisional) {
      if (!hasJob(slot, id, Entries.entryAttempt(view, offset))) {
        broken = `it sent a provisional result of job ${id}, which it was not running`
        break
      }
      offset += Entries.entrySize(view, offset)
      continue
    }
    const place = placeOf(slot, id)
    const job = place < 0 ? undefined : JobRing.at(slot.inflight, place)
    if (job === undefined || job.id !== id || job.attempt !== Entries.entryAttempt(view, offset)) {
      broken = `it replied to job ${id}, which it was not running`
      break
    }
    if (!isSlotOutcome(Entries.replyOutcome(view, offset))) {
      broken = `it gave job ${id} an outcome that only a node gives`
      break
    }
    if (place === 0) JobRing.shift(slot.inflight)
    else JobRing.removeAt(slot.inflight, place)
    if (slot.plans.length > 0) settlePlan(slot, job, view, offset)
    if (session !== null && !State.isShared(slot)) learn(session, slot, Entries.replyDurationMicros(view, offset))
    offset += Entries.entrySize(view, offset)
    ended++
  }
  if (ended > 0) {
    if (!State.isShared(slot)) nextHead(pool, slot, now, out)
    if (slot.inflight.length === 0) {
      pool.busy--
      slot.since = now
    }
    if (session !== null) session.lastServed = ++pool.served
  }
  if (offset > 0 && session !== null) {
    const good = offset === entries.length ? entries : entries.subarray(0, offset)
    out.push({ _tag: "Emit", session: session.id, entries: good })
  }
  if (broken !== "") SlotKill.discard(slot, broken, now, out)
}

/** The jobs before it have ended: the first one in flight runs now. */
const nextHead = (pool: SlotPool, slot: PoolSlot, now: number, out: Array<PoolAction>): void => {
  const limit = slot.session === null ? 1 : SlotSchedule.windowLimit(pool, slot.session)
  slot.window = Math.min(slot.window * 2, limit)
  slot.headSince = now
  slot.takes = 0
  // It was told to end, or is about to be: the job made it in time, its slot is not to be trusted any more.
  if (slot.phase === "dying") SlotKill.discard(slot, "its job ended while it was being killed", now, out)
  const head = JobRing.at(slot.inflight, 0)
  if (head !== undefined && head.ending !== null) SlotEnding.takeBack(slot, out)
}

/** What the slot itself needs per job, in microseconds. */
const slotMicros = 6

/** Goes up at once and down slowly: one long job among short ones ends sending ahead for a while. */
const learn = (session: PoolSession, slot: PoolSlot, durationMicros: number): void => {
  const micros = (durationMicros >= 0 && durationMicros < 1e12 ? durationMicros : 0) + slotMicros
  const average = session.jobMicros
  session.jobMicros = micros > average ? (average + micros) / 2 : average + (micros - average) / 16
  if (micros > 2_000) slot.window = 1
}

/** Code that waits ends itself by then, and can say what it printed; one that computes is ended a little later. */
const setupSlackMillis = 250

/** How long a slot may take for what it does before it is ready: to load the code, or what the computation wants first. */
const prepareMillis = (pool: SlotPool, slot: PoolSlot): number =>
  slot.settingUp === null ? pool.config.prepareMillis : (slot.session?.setupMillis ?? 0) + setupSlackMillis

/** When `timed` has something to do for this slot. */
const deadline = (pool: SlotPool, slot: PoolSlot): number => {
  const at = slot.plans.length === 0 ? Infinity : SlotEnding.nextStepAt(slot)
  if (slot.phase === "preparing") return slot.since + prepareMillis(pool, slot)
  if (slot.phase !== "ready") return slot.phase === "dying" ? Math.min(at, SlotKill.stopBy(slot)) : Infinity
  const head = JobRing.at(slot.inflight, 0)
  if (head === undefined) return slot.isRevoking ? slot.since + silentMillis : Infinity
  return Math.min(at, overdueAt(slot, head), lookAgainAt(pool, slot))
}

/** When a job in flight has had its time, or earlier. */
const overdueAt = (slot: PoolSlot, head: PoolJob): number => {
  if (State.isShared(slot)) return slot.overdueAt
  return head.timeoutMillis > 0 && head.ending === null ? slot.headSince + head.timeoutMillis : Infinity
}

/** When jobs that the slot may not have claimed are to be taken back. */
const lookAgainAt = (pool: SlotPool, slot: PoolSlot): number => {
  if (State.isShared(slot)) {
    // All of them should be running by then: one that computes keeps the others from it.
    if (slot.takes > 0) return Infinity
    return slot.headSince + (pool.busy < pool.cpus ? headMillis : longHeadMillis)
  }
  if (pool.config.maxInflight <= 1) return Infinity
  if (slot.inflight.length > 1) {
    const wait = pool.busy < pool.cpus ? headMillis : longHeadMillis
    return slot.headSince + wait * 2 ** slot.takes
  }
  return slot.takes === 0 ? slot.headSince + unclaimedMillis : Infinity
}

/** Marks the running jobs that have had their time. */
const markOverdue = (slot: PoolSlot, now: number): void => {
  const count = State.isShared(slot) ? slot.inflight.length : 1
  slot.overdueAt = Infinity
  for (let i = 0; i < count; i++) {
    const job = JobRing.at(slot.inflight, i)!
    if (job.timeoutMillis === 0 || job.ending !== null) continue
    const at = State.startOf(slot, job) + job.timeoutMillis
    if (now >= at) job.ending = "timedOut"
    else slot.overdueAt = Math.min(slot.overdueAt, at)
  }
}

const timed = (pool: SlotPool, slot: PoolSlot, now: number, out: Array<PoolAction>): void => {
  if (now < deadline(pool, slot)) return
  SlotEnding.pursue(slot, now, out)
  if (slot.phase === "dying") {
    if (now >= SlotKill.stopBy(slot)) SlotKill.outlived(slot, out)
    return
  }
  if (slot.phase === "preparing") {
    const session = slot.session!
    SlotKill.leaveSession(slot)
    SlotKill.discard(slot, "it did not get ready", now, out)
    const reason = slot.settingUp === null
      ? `the code did not load within ${pool.config.prepareMillis} ms`
      : `${slot.settingUp} failed: it did not end within ${session.setupMillis} ms; raise setupTimeout if it needs longer`
    return SlotLoss.refused(pool, session, reason, true, now, out)
  }
  const head = JobRing.at(slot.inflight, 0)
  if (head === undefined) {
    SlotKill.leaveSession(slot)
    return SlotKill.discard(slot, "it does not answer", now, out)
  }
  if (now < Math.min(overdueAt(slot, head), lookAgainAt(pool, slot))) return
  markOverdue(slot, now)
  SlotEnding.takeBack(slot, out)
}

const setTimer = (pool: SlotPool, now: number, out: Array<PoolAction>): void => {
  let at = Infinity
  for (const slot of pool.slots.values()) at = Math.min(at, deadline(pool, slot))
  if (pool.startAfter > now) at = Math.min(at, pool.startAfter)
  if (pool.spareAfter > now) at = Math.min(at, pool.spareAfter)
  for (const session of pool.sessions.values()) {
    if (session.prepareAfter > now) at = Math.min(at, session.prepareAfter)
  }
  // A timer that fires too early costs one look; so it is only ever moved forward.
  if (at >= pool.timerAt) return
  pool.timerAt = at
  out.push({ _tag: "SetTimer", at })
}

const onSession = (
  pool: SlotPool,
  event: Extract<PoolEvent, { readonly session: number }>,
  now: number,
  out: Array<PoolAction>
): void => {
  if (event._tag === "SessionOpened") {
    pool.sessions.set(event.session, {
      id: event.session,
      graceMillis: event.graceMillis,
      setupMillis: event.setupMillis ?? 0,
      cpus: event.cpus,
      kind: event.kind,
      concurrency: event.concurrency,
      host: null,
      queue: JobRing.make(),
      slots: new Set(),
      isOpen: false,
      refusals: 0,
      prepareAfter: 0,
      jobMicros: 100,
      arrived: 0,
      lastServed: ++pool.served
    })
    return
  }
  const session = pool.sessions.get(event.session)
  if (session === undefined) return
  if (event._tag === "JobsArrived") {
    arrived(session, event.batch)
    // It was on its way when the session lost its cpus, or the node all of them.
    if (session.cpus === 0 || pool.cpus === 0) SlotEnding.giveBack(pool, session, now, out)
  } else if (event._tag === "SessionLimited") {
    session.cpus = event.cpus
    if (event.cpus === 0) SlotEnding.giveBack(pool, session, now, out)
  } else if (event._tag === "JobsCancelled") SlotEnding.cancel(pool, session, event.jobIds, now, out)
  else if (event._tag === "QueueReturned") SlotEnding.giveBack(pool, session, now, out)
  else SlotLoss.endSession(pool, session, "its computation was closed", now, out)
}

const onSlot = (
  pool: SlotPool,
  event: Extract<PoolEvent, { readonly slot: number }>,
  now: number,
  out: Array<PoolAction>
): void => {
  const slot = pool.slots.get(event.slot)
  if (slot === undefined) return
  switch (event._tag) {
    case "Replied":
      return replied(pool, slot, event.entries, now, out)
    case "TookBack":
      return SlotEnding.tookBack(pool, slot, event.count, now, out)
    case "SlotDied":
      return SlotLoss.died(pool, slot, event, now, out)
    case "SlotRevoked":
      slot.isRevoking = false
      slot.since = now
      return
    case "SlotListening":
      slot.listener = event.jobId
      return
    case "SlotStarted":
      if (slot.phase !== "starting") return
      pool.startFailures = 0
      slot.phase = "blank"
      slot.since = now
      return
    case "SlotBroken":
      if (slot.phase !== "dying") SlotKill.discard(slot, event.reason, now, out)
      return
    case "SlotRefused": {
      if (slot.phase !== "preparing") return
      const session = slot.session!
      SlotKill.leaveSession(slot)
      SlotKill.discard(slot, event.reason, now, out)
      return SlotLoss.refused(pool, session, event.reason, true, now, out)
    }
    case "SlotSettingUp":
      if (slot.phase !== "preparing") return
      slot.settingUp = event.step
      slot.since = now
      return
    case "SlotReady": {
      if (slot.phase !== "preparing") return
      const session = slot.session!
      slot.since = now
      if (session.host === slot) {
        slot.phase = "hosting"
        return
      }
      slot.phase = "ready"
      session.refusals = 0
      if (session.isOpen) return
      session.isOpen = true
      out.push({ _tag: "SessionReady", session: session.id })
    }
  }
}

/** Jobs that run go on; without cpus all others are given back. */
const setCpus = (pool: SlotPool, cpus: number, now: number, out: Array<PoolAction>): void => {
  pool.cpus = cpus
  pool.mostCpus = Math.max(pool.mostCpus, cpus)
  if (cpus > 0) return
  for (const session of pool.sessions.values()) SlotEnding.giveBack(pool, session, now, out)
}

/** Takes in one event and says what is to be done. */
export const step = (pool: SlotPool, event: PoolEvent, now: number): ReadonlyArray<PoolAction> => {
  const out: Array<PoolAction> = []
  if (event._tag === "Timer") {
    pool.timerAt = Infinity
    for (const slot of pool.slots.values()) timed(pool, slot, now, out)
  } else if (event._tag === "CpusSet") setCpus(pool, event.cpus, now, out)
  else if ("slot" in event) onSlot(pool, event, now, out)
  else onSession(pool, event, now, out)
  pool.ceiling = Math.max(pool.cpus, Math.min(pool.ceiling, pool.busy))
  SlotSchedule.run(pool, now, out)
  setTimer(pool, now, out)
  return out
}
