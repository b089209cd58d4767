/**
 * What a node knows about its slots and the computations they work for: the data
 * under `SlotPool.step`, and the rules that hold for it at all times.
 *
 * ```
 * slot   starting ─▶ blank ─▶ preparing ─▶ ready ─▶ dying ─▶ (gone)
 *           └──────────┴──────────┴───────────────────▲
 * job    queued ─▶ sent to a slot ─▶ claimed by it ─▶ replied
 *           ▲───────────┘ taken back
 * ```
 */
import * as JobRing from "./JobRing.ts"
import type * as KillPlan from "./KillPlan.ts"

/** A job on this node. */
export interface PoolJob {
  readonly id: number
  /** Counts arrivals in the session: jobs start in this order. */
  readonly order: number
  readonly attempt: number
  /** 0 for none. */
  readonly timeoutMillis: number
  /** The batch it came in, and where its entry is in there. */
  readonly batch: Uint8Array
  readonly offset: number
  readonly size: number
  /** Why it is to be ended, or given back if it has not started. */
  ending: "timedOut" | "cancelled" | "returned" | null
}

/** A computation on this node. */
export interface PoolSession {
  readonly id: number
  readonly graceMillis: number
  /** Slots that run its jobs at the same time, at most; 0 starts none. */
  cpus: number
  readonly queue: JobRing.JobRing<PoolJob>
  /** Its slots that are preparing or ready, and those that die under one of its jobs. */
  readonly slots: Set<PoolSlot>
  /** A slot has loaded the code. */
  isOpen: boolean
  /** Slots in a row that did not get to load the code since one did. */
  refusals: number
  /** After refusals no slot is given the code before. */
  prepareAfter: number
  /** Running average of what a job costs its slot. */
  jobMicros: number
  /** Jobs that have arrived. */
  arrived: number
  /** When it was last given a cpu; the longest waiting goes first. */
  lastServed: number
}

/** A slot process. */
export interface PoolSlot {
  readonly id: number
  phase: "starting" | "blank" | "preparing" | "ready" | "dying"
  session: PoolSession | null
  /** Jobs sent and not replied to; the slot runs them in this order. */
  readonly inflight: JobRing.JobRing<PoolJob>
  /** How many jobs may be in flight: doubles per round trip up to what the jobs' duration allows. */
  window: number
  /** When the first job in flight started, as far as the node can tell. */
  headSince: number
  /** The job that asked for `dispy.signal` last, by id; 0 for none. */
  listener: number
  /** The claims are being read (`TakeBack` is out, `TookBack` not in). */
  isTaking: boolean
  /** Jobs were taken back and the slot has not said yet that it forgot them: it gets no new ones. */
  isRevoking: boolean
  /** How often the claims were read for the first job in flight. */
  takes: number
  /** The first job in flight is being ended. */
  plan: SlotPlan | null
  /** Why the node ended it under a job; empty when it did not. */
  fault: string
  /** In this phase, or without a job, since. */
  since: number
}

/** A kill plan at work. */
export interface SlotPlan {
  readonly job: PoolJob
  readonly startedAt: number
  readonly steps: ReadonlyArray<KillPlan.KillStep>
  next: number
}

/** What is fixed for a pool. */
export interface PoolConfig {
  /** Slots that run jobs at the same time, at most, until `CpusSet` says otherwise. */
  readonly cpus: number
  /** Blank slots kept warm. */
  readonly spares: number
  /** Jobs in flight per slot at most; 1 sends no job ahead of time. */
  readonly maxInflight: number
  /** How long loading the code may take. */
  readonly prepareMillis: number
  /** Wall clock at time 0 of the pool's clock. */
  readonly epochMillis: number
}

/** All of it. */
export interface SlotPool {
  readonly config: PoolConfig
  /** Slots that may run jobs at the same time now. */
  cpus: number
  /** Slots with a job, at most: more than `cpus` while those go on that were busy when it was lowered. */
  ceiling: number
  /** The most cpus there ever were. */
  mostCpus: number
  readonly sessions: Map<number, PoolSession>
  readonly slots: Map<number, PoolSlot>
  nextSlotId: number
  /** Slots with a job in flight. */
  busy: number
  /** Counts services, to tell who waits longest. */
  served: number
  /** Slots in a row that ended before they were ready for anything. */
  startFailures: number
  /** No slot is started before. */
  startAfter: number
  /** Spares are not replaced before, so that they do not compete with the job that took one. */
  spareAfter: number
  /** When the timer that was asked for fires. */
  timerAt: number
}

/** A pool without slots and computations. */
export const make = (config: PoolConfig): SlotPool => ({
  config,
  cpus: config.cpus,
  ceiling: config.cpus,
  mostCpus: config.cpus,
  sessions: new Map(),
  slots: new Map(),
  nextSlotId: 1,
  busy: 0,
  served: 0,
  startFailures: 0,
  startAfter: 0,
  spareAfter: 0,
  timerAt: Infinity
})

/** A slot that is about to be started. */
export const makeSlot = (id: number, now: number): PoolSlot => ({
  id,
  phase: "starting",
  session: null,
  inflight: JobRing.make(),
  window: 1,
  headSince: now,
  listener: 0,
  isTaking: false,
  isRevoking: false,
  takes: 0,
  plan: null,
  fault: "",
  since: now
})

/** Whether a slot can be given a first job now. */
export const isIdle = (slot: PoolSlot): boolean =>
  slot.phase === "ready" && slot.inflight.length === 0 && !slot.isTaking && !slot.isRevoking

/** Everything that is wrong with a pool; empty for a sound one. */
export const invariants = (pool: SlotPool): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  let busy = 0
  for (const slot of pool.slots.values()) {
    if (slot.inflight.length > 0) busy++
    if (slot.inflight.length > pool.config.maxInflight) wrong.push(`slot ${slot.id} has too many jobs in flight`)
    if (slot.inflight.length > 0 && slot.phase !== "ready" && slot.phase !== "dying") {
      wrong.push(`slot ${slot.id} has jobs in phase ${slot.phase}`)
    }
    const free = slot.phase === "starting" || slot.phase === "blank"
    if (free && slot.session !== null) wrong.push(`slot ${slot.id} is ${slot.phase} and has a session`)
    if (!free && slot.phase !== "dying" && slot.session === null) wrong.push(`slot ${slot.id} has no session`)
    if (slot.plan !== null && JobRing.at(slot.inflight, 0) !== slot.plan.job) {
      wrong.push(`slot ${slot.id} is ending a job that it does not run`)
    }
    if (slot.plan !== null && slot.inflight.length > 1) {
      wrong.push(`slot ${slot.id} is ending a job with others behind it`)
    }
    if (slot.session !== null && pool.sessions.get(slot.session.id) !== slot.session) {
      wrong.push(`slot ${slot.id} works for a closed session`)
    }
    if (slot.session !== null && !slot.session.slots.has(slot)) wrong.push(`session misses slot ${slot.id}`)
  }
  if (busy !== pool.busy) wrong.push(`${busy} slots are busy, counted ${pool.busy}`)
  if (busy > pool.ceiling) wrong.push(`${busy} slots are busy on ${pool.ceiling} cpus`)
  const seen = new Set<PoolJob>()
  for (const session of pool.sessions.values()) {
    if (session.slots.size > Math.max(1, pool.mostCpus) * 2) {
      wrong.push(`session ${session.id} has ${session.slots.size} slots`)
    }
    const jobs = JobRing.toArray(session.queue)
    for (const slot of session.slots) {
      if (pool.slots.get(slot.id) !== slot) wrong.push(`session ${session.id} has a slot that is gone`)
      jobs.push(...JobRing.toArray(slot.inflight))
    }
    for (const job of jobs) {
      if (seen.has(job)) wrong.push(`job ${job.id} is in two places`)
      seen.add(job)
    }
  }
  return wrong
}
