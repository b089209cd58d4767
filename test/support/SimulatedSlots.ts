/**
 * Slots on paper, for the slot pool, processes and threads: each claims its jobs from
 * a FIFO of its own, runs one or several at a time, and answers when a test lets it. Frames in both
 * directions wait until they are delivered, so that every race between a node and
 * its slots can be had on purpose.
 */
import type { SlotLimits } from "../../src/domain/Computation.ts"
import * as JobRing from "../../src/domain/node/JobRing.ts"
import * as SlotPool from "../../src/domain/node/SlotPool.ts"
import type { PoolAction, PoolEvent } from "../../src/domain/node/SlotPoolEvent.ts"
import * as SlotPoolState from "../../src/domain/node/SlotPoolState.ts"
import * as Entries from "../../src/domain/wire/Entries.ts"
import { decodeMemoryPeak } from "../../src/domain/wire/MemoryPeak.ts"

interface SimulatedJob {
  readonly session: number
  readonly id: number
  readonly attempt: number
}

type Frame =
  | { readonly _tag: "Prepare"; readonly session: number }
  | { readonly _tag: "Jobs"; readonly jobs: ReadonlyArray<SimulatedJob> }
  | { readonly _tag: "Revoke"; readonly count: number }

/** A slot, or a host of threads. */
export interface SimulatedSlot {
  readonly id: number
  session: number
  /** The process whose thread it is; 0 for a process. */
  readonly host: number
  /** Jobs that it runs at a time. */
  concurrency: number
  /** Bytes in the claims FIFO. */
  fifo: number
  readonly inbox: Array<Frame>
  /** Events that the node has not read yet. */
  readonly outbox: Array<PoolEvent>
  readonly queue: Array<SimulatedJob>
  readonly running: Array<SimulatedJob>
  isTerminated: boolean
  isAlive: boolean
  /** What it uses, and the most that its node was told of it under the job that runs. */
  kib: number
  toldKiB: number
  /** It claims no more. */
  isFull: boolean
  begun: number
}

/** A pool over simulated slots. */
export interface Simulation {
  readonly pool: SlotPoolState.SlotPool
  readonly slots: Map<number, SimulatedSlot>
  now: number
  timerAt: number
  /** Jobs given to each session that have no reply, in order of arrival; those in a slot's hands too. */
  readonly open: Map<number, Set<number>>
  /** Jobs of each session that no slot has, in order. */
  readonly waiting: Map<number, Array<number>>
  readonly replies: Map<string, Entries.ReplyFields>
  /** Provisional results that reached the client. */
  provisionals: number
  /** When each job was last sent to a slot. */
  readonly sent: Map<string, number>
  /** Jobs that a slot has started. */
  readonly started: Set<string>
  /** Jobs whose end was asked for, and those with a timeout. */
  readonly cancelled: Set<string>
  readonly timeouts: Map<string, number>
  /** Memory that jobs may use, where that is limited. */
  readonly limits: Map<string, number>
  /** What was found out of slots, and not told yet; told at once where `looksAtOnce`. */
  readonly looks: Array<Extract<PoolEvent, { readonly _tag: "Measured" }>>
  looksAtOnce: boolean
  /** How often a slot was looked at. */
  looked: number
  readonly slotLimits: Map<number, SlotLimits>
  /** Jobs at a time per slot, by session. */
  readonly concurrency: Map<number, number>
  readonly readySessions: Set<number>
  readonly refusedSessions: Set<number>
  nextJob: number
}

const nameOf = (session: number, id: number): string => `${session}/${id}`

const demand = (isTrue: boolean, message: string): void => {
  if (!isTrue) throw new Error(message)
}

/** A simulation at time 0 with its first spares being started. */
export const make = (config: Partial<SlotPoolState.PoolConfig> = {}): Simulation => {
  const simulation: Simulation = {
    pool: SlotPoolState.make({
      cpus: 2,
      spares: 1,
      maxInflight: 256,
      prepareMillis: 10_000,
      epochMillis: 1_000_000,
      ...config
    }),
    slots: new Map(),
    now: 0,
    timerAt: Infinity,
    open: new Map(),
    waiting: new Map(),
    replies: new Map(),
    provisionals: 0,
    sent: new Map(),
    started: new Set(),
    cancelled: new Set(),
    timeouts: new Map(),
    limits: new Map(),
    looks: [],
    looksAtOnce: true,
    looked: 0,
    slotLimits: new Map(),
    concurrency: new Map(),
    readySessions: new Set(),
    refusedSessions: new Set(),
    nextJob: 1
  }
  feed(simulation, { _tag: "Timer" })
  return simulation
}

/** Gives the pool an event, and does what it wants done. */
export const feed = (simulation: Simulation, event: PoolEvent): void => {
  const events = [event]
  for (let next = events.shift(); next !== undefined; next = events.shift()) {
    for (const action of SlotPool.step(simulation.pool, next, simulation.now)) perform(simulation, action, events)
    if (simulation.pool.slots.size > 0) continue
  }
  const wrong = SlotPoolState.invariants(simulation.pool)
  demand(wrong.length === 0, wrong.join("; "))
  const running = [...simulation.slots.values()].filter((slot) => slot.isAlive && slot.running.length > 0)
  demand(running.length <= simulation.pool.ceiling, `${running.length} slots are busy at the same time`)
}

const perform = (simulation: Simulation, action: PoolAction, events: Array<PoolEvent>): void => {
  if (action._tag === "SetTimer") simulation.timerAt = action.at
  else if (action._tag === "Emit") emitted(simulation, action.session, action.entries)
  else if (action._tag === "SessionReady") simulation.readySessions.add(action.session)
  else if (action._tag === "SessionRefused") simulation.refusedSessions.add(action.session)
  else if (action._tag === "StartSlot") startSlot(simulation, action.slot)
  else if (action._tag === "StartThread") startThread(simulation, action)
  else if (action._tag === "Measure") measure(simulation, action.slots, events)
  else performOn(simulation, simulation.slots.get(action.slot)!, action, events)
}

const measure = (
  simulation: Simulation,
  slots: Extract<PoolAction, { readonly _tag: "Measure" }>["slots"],
  events: Array<PoolEvent>
): void => {
  const told = slots.map(({ slot: id }) => {
    const slot = simulation.slots.get(id)
    if (slot?.isAlive !== true) return { slot: id, kib: 0 }
    slot.toldKiB = Math.max(slot.toldKiB, slot.kib)
    return { slot: id, kib: slot.kib }
  })
  simulation.looked += told.length
  const event = { _tag: "Measured", slots: told, costMillis: 0 } as const
  if (simulation.looksAtOnce) events.push(event)
  else simulation.looks.push(event)
}

/** The node hears what was found out of its slots. */
export const hearLook = (simulation: Simulation): boolean => {
  const event = simulation.looks.shift()
  if (event === undefined) return false
  feed(simulation, event)
  return true
}

const addSlot = (simulation: Simulation, id: number, host: number): SimulatedSlot => {
  demand(!simulation.slots.has(id), `slot ${id} is started twice`)
  const slot: SimulatedSlot = {
    id,
    session: 0,
    host,
    concurrency: 1,
    fifo: 0,
    inbox: [],
    outbox: [],
    queue: [],
    running: [],
    isTerminated: false,
    isAlive: true,
    kib: 0,
    toldKiB: 0,
    isFull: false,
    begun: 0
  }
  simulation.slots.set(id, slot)
  return slot
}

const startSlot = (simulation: Simulation, id: number): void => {
  addSlot(simulation, id, 0).outbox.push({ _tag: "SlotStarted", slot: id })
}

const prepare = (simulation: Simulation, slot: SimulatedSlot, session: number): void => {
  slot.session = session
  slot.concurrency = simulation.concurrency.get(session) ?? 1
  slot.inbox.push({ _tag: "Prepare", session })
}

const startThread = (
  simulation: Simulation,
  { host, session, slot: id }: Extract<PoolAction, { readonly _tag: "StartThread" }>
): void => {
  const slot = addSlot(simulation, id, host)
  // The host may have died without its node knowing.
  if (simulation.slots.get(host)?.isAlive === true) prepare(simulation, slot, session)
  else slot.isAlive = false
}

const threadsOf = (simulation: Simulation, host: SimulatedSlot): ReadonlyArray<SimulatedSlot> =>
  [...simulation.slots.values()].filter((slot) => slot.host === host.id)

const performOn = (
  simulation: Simulation,
  slot: SimulatedSlot,
  action: Exclude<Extract<PoolAction, { readonly slot: number }>, { readonly _tag: "StartSlot" | "StartThread" }>,
  events: Array<PoolEvent>
): void => {
  switch (action._tag) {
    case "PrepareSlot":
      return prepare(simulation, slot, action.session)
    case "SendJobs":
      return send(simulation, slot, action.jobs)
    case "TakeBack": {
      const count = slot.fifo
      slot.fifo = 0
      takenBack(simulation, slot, count)
      if (count > 0) slot.inbox.push({ _tag: "Revoke", count })
      events.push({ _tag: "TookBack", slot: slot.id, count })
      return
    }
    case "Terminate":
      demandGuilt(simulation, slot)
      slot.isTerminated = true
      return
    case "Kill":
      demandGuilt(simulation, slot)
      return die(simulation, slot)
    case "Abort":
    case "Sweep":
  }
}

/** A job has been cancelled, or was sent as long ago as it may run, and can be killed. */
const isToEnd = (simulation: Simulation, name: string): boolean => {
  const since = simulation.sent.get(name)
  const timeout = simulation.timeouts.get(name)
  return simulation.cancelled.has(name) ||
    (since !== undefined && timeout !== undefined && simulation.now - since >= timeout)
}

/** Nobody is killed unless one of the jobs that die is to end; it may have ended without the node knowing. */
const demandGuilt = (simulation: Simulation, slot: SimulatedSlot): void => {
  const slots = [slot, ...threadsOf(simulation, slot)]
  const jobs = slots.flatMap((one) => one.isAlive ? one.running : []).filter((job) => simulation.open.has(job.session))
  if (jobs.length === 0 || slots.some((one) => one.isTerminated)) return
  const hasReplied = slots.length + slot.concurrency > 2 &&
    slots.some((one) => one.outbox.some((event) => event._tag === "Replied"))
  const isGuilty = jobs.some((job) => {
    const name = nameOf(job.session, job.id)
    const isLarge = slot.toldKiB > (simulation.limits.get(name) ?? Infinity)
    return job.id === brokenJob || isToEnd(simulation, name) || (isLarge && slot.concurrency === 1 && slot.host === 0)
  })
  demand(hasReplied || isGuilty, `job ${jobs[0]!.id} is killed for no reason`)
}

/** Number of a job that no client sent: a slot that replies to it is broken. */
export const brokenJob = 999_999

const send = (
  simulation: Simulation,
  slot: SimulatedSlot,
  jobs: ReadonlyArray<SlotPoolState.PoolJob>
): void => {
  const waiting = simulation.waiting.get(slot.session)!
  const session = simulation.pool.sessions.get(slot.session)!
  const inflight = simulation.pool.slots.get(slot.id)!.inflight.length
  const busy = [...session.slots].filter((one) => one.inflight.length > 0).length
  demand(inflight > jobs.length || busy <= session.cpus, `${busy} slots run jobs on ${session.cpus} cpus`)
  for (const job of jobs) {
    demand(waiting[0] === job.id, `job ${job.id} is sent before job ${waiting[0]}`)
    waiting.shift()
    simulation.sent.set(nameOf(slot.session, job.id), simulation.now)
  }
  slot.fifo += jobs.length
  slot.inbox.push({
    _tag: "Jobs",
    jobs: jobs.map(({ attempt, id }) => ({ session: slot.session, id, attempt }))
  })
}

/** The pool has these jobs again: they wait where they were in line. */
const takenBack = (simulation: Simulation, slot: SimulatedSlot, count: number): void => {
  const poolSlot = simulation.pool.slots.get(slot.id)
  const waiting = simulation.waiting.get(slot.session)
  if (poolSlot === undefined || waiting === undefined || count === 0) return
  waiting.push(...JobRing.toArray(poolSlot.inflight).slice(-count).map((job) => job.id))
  waiting.sort((a, b) => a - b)
}

const emitted = (simulation: Simulation, session: number, entries: Uint8Array): void => {
  const view = Entries.viewOf(entries)
  for (let offset = 0; offset < entries.length; offset += Entries.entrySize(view, offset)) {
    const reply = Entries.readReply(entries, view, offset)
    const name = nameOf(session, reply.jobId)
    demand(!simulation.replies.has(name), `job ${name} gets a second reply`)
    demand(simulation.open.get(session)?.has(reply.jobId) === true, `job ${name} gets a reply and is not open`)
    const hasStarted = simulation.started.has(name)
    if (reply.outcome === Entries.Outcome.provisional) {
      demand(hasStarted, `job ${name} has a provisional result and did not start`)
      simulation.provisionals++
      continue
    }
    if (reply.outcome === Entries.Outcome.cancelled) {
      demand(simulation.cancelled.has(name), `job ${name} was not cancelled and says so`)
    }
    if (reply.outcome === Entries.Outcome.timedOut) {
      demand(simulation.timeouts.has(name) && hasStarted, `job ${name} cannot have run too long`)
    }
    if (reply.outcome === Entries.Outcome.outOfMemory) {
      const { limitBytes, peakBytes } = decodeMemoryPeak(reply.result)
      demand(limitBytes === simulation.limits.get(name)! * 1024, `job ${name} had another limit`)
      demand(hasStarted && peakBytes > limitBytes, `job ${name} did not use too much`)
    }
    if (reply.outcome === Entries.Outcome.returned) demand(!hasStarted, `job ${name} started and is given back`)
    if (reply.startMillis === 0) demand(!hasStarted, `job ${name} started and its reply says that it did not`)
    simulation.replies.set(name, reply)
    simulation.open.get(session)!.delete(reply.jobId)
    const waiting = simulation.waiting.get(session)!
    if (waiting.includes(reply.jobId)) waiting.splice(waiting.indexOf(reply.jobId), 1)
  }
}

/** It is gone, with its threads; what they wrote can still be read, its end comes last. */
export const die = (simulation: Simulation, slot: SimulatedSlot): void => {
  for (const one of [slot, ...threadsOf(simulation, slot)]) {
    one.isAlive = false
    one.inbox.length = 0
  }
}

const isGoneWithHost = (simulation: Simulation, slot: SimulatedSlot): boolean =>
  slot.host > 0 && simulation.slots.get(slot.host)?.isAlive !== true

/** The node reads the next thing that the slot wrote, or that it is gone. */
export const read = (simulation: Simulation, slot: SimulatedSlot): boolean => {
  const event = slot.outbox.shift()
  if (event !== undefined) {
    feed(simulation, event)
    return true
  }
  if (slot.isAlive || isGoneWithHost(simulation, slot)) return false
  const threads = threadsOf(simulation, slot)
  const unread = threads.find((thread) => thread.outbox.length > 0)
  if (unread !== undefined) return read(simulation, unread)
  const ends = [slot, ...threads].map((one) => {
    simulation.slots.delete(one.id)
    takenBack(simulation, one, one.fifo)
    return { slot: one.id, unclaimed: one.fifo, printed: [] }
  })
  feed(simulation, {
    _tag: "SlotDied",
    ...ends[0]!,
    death: { reason: "killed by SIGSEGV", exitCode: null, signal: "SIGSEGV", lastStderr: "" },
    threads: ends.slice(1)
  })
  return true
}

/** The slot reads its next frame. */
export const receive = (slot: SimulatedSlot): boolean => {
  const frame = slot.isAlive ? slot.inbox.shift() : undefined
  if (frame === undefined) return false
  if (frame._tag === "Prepare") slot.outbox.push({ _tag: "SlotReady", slot: slot.id })
  else if (frame._tag === "Jobs") slot.queue.push(...frame.jobs)
  else {
    slot.queue.length = Math.max(0, slot.queue.length - frame.count)
    slot.outbox.push({ _tag: "SlotRevoked", slot: slot.id })
  }
  return true
}

/** The slot claims and starts its next job. */
export const begin = (simulation: Simulation, slot: SimulatedSlot): boolean => {
  const job = slot.queue[0]
  if (!slot.isAlive || slot.isFull || slot.running.length >= slot.concurrency || job === undefined || slot.fifo === 0) {
    return false
  }
  slot.fifo--
  slot.queue.shift()
  const name = nameOf(job.session, job.id)
  demand(!simulation.started.has(name), `job ${name} is started twice`)
  demand(!simulation.replies.has(name), `job ${name} is started after its reply`)
  simulation.started.add(name)
  slot.toldKiB = 0
  const most = simulation.slotLimits.get(job.session)?.jobs ?? 0
  demand(++slot.begun <= most || most === 0, `slot ${slot.id} runs more jobs than it may`)
  slot.running.push(job)
  return true
}

const replyOf = (
  job: { readonly id: number; readonly attempt: number },
  outcome: Entries.Outcome,
  durationMicros: number
): Uint8Array =>
  Entries.encodeReply({
    jobId: job.id,
    attempt: job.attempt,
    outcome,
    flags: 0,
    startMillis: 1,
    durationMicros,
    result: Entries.noBytes,
    stdout: Entries.noBytes,
    stderr: Entries.noBytes
  })

/** A job of the slot sends a provisional result. */
export const say = (slot: SimulatedSlot, pick = 0): boolean => {
  const job = slot.isAlive ? slot.running[pick % Math.max(1, slot.running.length)] : undefined
  if (job === undefined) return false
  const entries = replyOf(job, Entries.Outcome.provisional, 1)
  slot.outbox.push({ _tag: "Replied", slot: slot.id, entries })
  return true
}

/** The slot replies to a job that it runs. */
export const finish = (slot: SimulatedSlot, micros: number, pick = 0): boolean => {
  const [job] = slot.isAlive ? slot.running.splice(pick % Math.max(1, slot.running.length), 1) : []
  if (job === undefined) return false
  const entries = replyOf(job, Entries.Outcome.succeeded, micros)
  slot.outbox.push({ _tag: "Replied", slot: slot.id, entries })
  return true
}

/** What earlier jobs left is too much for the next one. */
export const fill = (slot: SimulatedSlot): boolean => {
  if (!slot.isAlive || slot.isFull || slot.running.length > 0 || slot.queue.length === 0) return false
  slot.isFull = true
  slot.outbox.push({ _tag: "SlotBroken", slot: slot.id, reason: "it is full" })
  return true
}

/** Time passes. */
export const advance = (simulation: Simulation, millis: number): void => {
  simulation.now += millis
  if (simulation.now < simulation.timerAt) return
  simulation.timerAt = Infinity
  feed(simulation, { _tag: "Timer" })
}

/** What a session's slots are. */
export interface SessionKind {
  readonly kind: "process" | "thread"
  readonly concurrency: number
  readonly slotLimits?: SlotLimits
}

const aProcess: SessionKind = { kind: "process", concurrency: 1 }

interface OpenOptions {
  readonly cpus?: number
  readonly graceMillis?: number
  readonly kind?: SessionKind | undefined
}

/** A client opens a computation. */
export const open = (
  simulation: Simulation,
  session: number,
  { cpus = Infinity, graceMillis = 1000, kind = aProcess }: OpenOptions = {}
): void => {
  simulation.concurrency.set(session, kind.concurrency)
  if (kind.slotLimits !== undefined) simulation.slotLimits.set(session, kind.slotLimits)
  simulation.open.set(session, new Set())
  simulation.waiting.set(session, [])
  feed(simulation, { _tag: "SessionOpened", session, graceMillis, cpus, ...kind })
}

/** The client closes it and forgets its jobs. */
export const close = (simulation: Simulation, session: number): void => {
  simulation.open.delete(session)
  simulation.waiting.delete(session)
  feed(simulation, { _tag: "SessionClosed", session })
}

/** The client sends jobs; returns their ids. */
export const dispatch = (
  simulation: Simulation,
  session: number,
  count: number,
  timeoutMillis = 0,
  memoryKiB = 0
): ReadonlyArray<number> => {
  const jobs: Array<Entries.JobFields> = []
  for (let i = 0; i < count; i++) {
    const jobId = simulation.nextJob++
    jobs.push({ jobId, attempt: 3, flags: 0, timeoutMillis, memoryKiB, args: Entries.noBytes })
    if (memoryKiB > 0) simulation.limits.set(nameOf(session, jobId), memoryKiB)
    simulation.open.get(session)!.add(jobId)
    if (timeoutMillis > 0) simulation.timeouts.set(nameOf(session, jobId), timeoutMillis)
    simulation.waiting.get(session)!.push(jobId)
  }
  feed(simulation, { _tag: "JobsArrived", session, batch: Entries.encodeJobs(jobs) })
  return jobs.map((job) => job.jobId)
}

/** The client cancels jobs. */
export const cancel = (simulation: Simulation, session: number, jobIds: ReadonlyArray<number>): void => {
  for (const jobId of jobIds) simulation.cancelled.add(nameOf(session, jobId))
  feed(simulation, { _tag: "JobsCancelled", session, jobIds })
}

/** The job is over its limit, where jobs are limited. */
const isTooLarge = (simulation: Simulation, slot: SimulatedSlot, job: SimulatedJob): boolean =>
  slot.concurrency === 1 && slot.host === 0 &&
  slot.kib > (simulation.limits.get(nameOf(job.session, job.id)) ?? Infinity)

/** Everything that can go on without time passing goes on; jobs take `micros`, and with `isStubborn` those that are to end never do. */
export const settle = (simulation: Simulation, micros: number, isStubborn = false): void => {
  for (let isBusy = true; isBusy;) {
    isBusy = false
    for (const slot of simulation.slots.values()) {
      const mayEnd = slot.running.findIndex((job) =>
        !isStubborn || (!simulation.cancelled.has(nameOf(job.session, job.id)) && !isTooLarge(simulation, slot, job))
      )
      const hasMoved = receive(slot) || (mayEnd >= 0 && finish(slot, micros, mayEnd)) || begin(simulation, slot)
      isBusy = read(simulation, slot) || hearLook(simulation) || hasMoved || isBusy
    }
  }
}
