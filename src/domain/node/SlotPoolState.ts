/**
 * What a node knows about its slots and the computations they work for: the data
 * under `SlotPool.step`, and the rules that hold for it at all times.
 *
 * ```
 * slot   starting ─▶ blank ─▶ preparing ─▶ ready ─▶ dying ─▶ (gone)
 *           └──────────┴──────────┴───────────────────▲
 *            a host: preparing ─▶ hosting ─▶ dying ─▶ (gone, with all its threads)
 * thread              preparing ─▶ ready ─▶ dying ─▶ (gone)
 * job    queued ─▶ sent to a slot ─▶ claimed by it ─▶ replied
 *           ▲───────────┘ taken back
 * ```
 * A slot is what takes a cpu: a process, or a thread of a process that is its host. It runs one job at a time, or as
 * many as its computation's `concurrency` says, on one event loop; however many they are, it is one busy slot.
 */
import type { ExecutorKind } from "../Computation.ts"
import type { SetupStep } from "../wire/SlotFrames.ts"
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
  /** When it was last sent to a slot. */
  sentAt: number
  /** Why it is to be ended, or given back if it has not started. */
  ending: "timedOut" | "cancelled" | "returned" | null
}

/** A computation on this node. */
export interface PoolSession {
  readonly id: number
  readonly graceMillis: number
  /** How long the computation's `setupSlot`, and its `setup` in a host, may take, in addition to loading. */
  readonly setupMillis: number
  /** Slots that run its jobs at the same time, at most; 0 starts none. */
  cpus: number
  /** What its slots are. */
  readonly kind: ExecutorKind
  /** Jobs at a time per slot. */
  readonly concurrency: number
  /** The process whose threads are its slots; null while there is none that is good. */
  host: PoolSlot | null
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

/** A slot: a process, or a thread; or a process that is a host of threads and runs no jobs itself. */
export interface PoolSlot {
  readonly id: number
  phase: "starting" | "blank" | "preparing" | "ready" | "hosting" | "dying"
  /** What it runs before it is ready; null while it loads the code. */
  settingUp: SetupStep | null
  session: PoolSession | null
  /** The process whose thread it is; null for a process. */
  readonly host: PoolSlot | null
  /** Of a host: its threads that are not gone. */
  readonly threads: Set<PoolSlot>
  /** Jobs that it runs at a time. */
  concurrency: number
  /** Jobs sent and not replied to; the slot starts them in this order. */
  readonly inflight: JobRing.JobRing<PoolJob>
  /** How many jobs may be in flight: doubles per round trip up to what the jobs' duration allows. */
  window: number
  /** When the first job in flight started, as far as the node can tell; of a shared slot, when it was last sent one. */
  headSince: number
  /** Of a shared slot: no job in flight is overdue before. */
  overdueAt: number
  /** The job that asked for `dispy.signal` last, by id; 0 for none. */
  listener: number
  /** The claims are being read (`TakeBack` is out, `TookBack` not in). */
  isTaking: boolean
  /** Jobs were taken back and the slot has not said yet that it forgot them: it gets no new ones. */
  isRevoking: boolean
  /** How often the claims were read for the first job in flight. */
  takes: number
  /** Jobs in flight that are being ended: the first one, or several of a shared slot. */
  plans: Array<SlotPlan>
  /** Of a thread that is to stop: its process is killed if it has not by then. */
  stopBy: number
  /** Why the node ended it under a job; empty when it did not. */
  fault: string
  /** In this phase or step of it, or without a job, since. */
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

/** A process that is about to be started. */
export const makeSlot = (id: number, now: number): PoolSlot => ({
  id,
  phase: "starting",
  settingUp: null,
  session: null,
  host: null,
  threads: new Set(),
  concurrency: 1,
  inflight: JobRing.make(),
  window: 1,
  headSince: now,
  overdueAt: Infinity,
  listener: 0,
  isTaking: false,
  isRevoking: false,
  takes: 0,
  plans: [],
  stopBy: Infinity,
  fault: "",
  since: now
})

/** A thread that is about to be started. */
export const makeThread = (id: number, host: PoolSlot, session: PoolSession, now: number): PoolSlot => ({
  ...makeSlot(id, now),
  phase: "preparing",
  session,
  host,
  concurrency: session.concurrency
})

/** Whether a slot runs several jobs at a time. */
export const isShared = (slot: PoolSlot): boolean => slot.concurrency > 1

/** When a job in flight that was claimed started, as far as the node can tell. */
export const startOf = (slot: PoolSlot, job: PoolJob): number => slot.concurrency > 1 ? job.sentAt : slot.headSince

/** Whether a slot can be given a first job now. */
export const isIdle = (slot: PoolSlot): boolean =>
  slot.phase === "ready" && slot.inflight.length === 0 && !slot.isTaking && !slot.isRevoking

const wrongWithJobs = (pool: SlotPool, slot: PoolSlot): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const most = isShared(slot) ? slot.concurrency : pool.config.maxInflight
  if (slot.inflight.length > most) wrong.push(`slot ${slot.id} has too many jobs in flight`)
  if (slot.inflight.length > 0 && slot.phase !== "ready" && slot.phase !== "dying") {
    wrong.push(`slot ${slot.id} has jobs in phase ${slot.phase}`)
  }
  const jobs = JobRing.toArray(slot.inflight)
  for (const { job } of slot.plans) {
    if (!jobs.includes(job)) wrong.push(`slot ${slot.id} is ending a job that it does not run`)
  }
  if (!isShared(slot) && slot.plans.length > 0 && jobs.length > 1) {
    wrong.push(`slot ${slot.id} is ending a job with others behind it`)
  }
  return wrong
}

const wrongWithPlace = (pool: SlotPool, slot: PoolSlot): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const { host, phase, session } = slot
  const isFree = phase === "starting" || phase === "blank"
  if (isFree && session !== null) wrong.push(`slot ${slot.id} is ${phase} and has a session`)
  if (!isFree && phase !== "dying" && session === null) wrong.push(`slot ${slot.id} has no session`)
  if (session !== null && pool.sessions.get(session.id) !== session) {
    wrong.push(`slot ${slot.id} works for a closed session`)
  }
  const isHost = session?.kind === "thread" && host === null
  if (session !== null && session.slots.has(slot) === isHost) wrong.push(`slot ${slot.id} is misplaced in its session`)
  if (isHost && slot.inflight.length > 0) wrong.push(`host ${slot.id} has jobs`)
  if (isHost && phase !== "dying" && session.host !== slot) wrong.push(`session ${session.id} has two hosts`)
  if (host === null) return wrong
  if (pool.slots.get(host.id) !== host || !host.threads.has(slot)) wrong.push(`thread ${slot.id} has no process`)
  if (phase !== "dying" && host.phase !== "hosting") wrong.push(`thread ${slot.id} is good in a host that is not`)
  return wrong
}

/** Everything that is wrong with a pool; empty for a sound one. */
export const invariants = (pool: SlotPool): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  let busy = 0
  for (const slot of pool.slots.values()) {
    if (slot.inflight.length > 0) busy++
    wrong.push(...wrongWithJobs(pool, slot), ...wrongWithPlace(pool, slot))
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
