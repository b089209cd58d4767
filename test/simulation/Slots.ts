/**
 * The slots of a simulated node: the real slot pool (`domain/node/SlotPool.ts`) over processes that claim their jobs
 * from a FIFO, run them for their time, and end when they are told to, or not before they are killed.
 */
import * as SessionJobs from "../../src/domain/node/SessionJobs.ts"
import * as SlotPool from "../../src/domain/node/SlotPool.ts"
import type { PoolAction, PoolEvent } from "../../src/domain/node/SlotPoolEvent.ts"
import * as SlotPoolState from "../../src/domain/node/SlotPoolState.ts"
import * as Entries from "../../src/domain/wire/Entries.ts"
import type { ExecutorSession } from "../../src/services/JobExecutor.ts"
import * as Ledger from "./Ledger.ts"
import * as Random from "./Random.ts"
import * as World from "./World.ts"

interface RunningJob {
  readonly id: number
  readonly attempt: number
}

interface Slot {
  readonly id: number
  session: number
  /** Bytes in its claims FIFO. */
  fifo: number
  readonly queue: Array<RunningJob>
  running: RunningJob | undefined
  /** Counts jobs, so that the end of an earlier one is nobody's. */
  turn: number
  /** Of the job that runs. */
  startedAt: number
  /** Nothing that it is told later arrives before. */
  hearsAt: number
  isAlive: boolean
}

/** See above. */
export interface Slots {
  readonly world: World.World
  readonly ledger: Ledger.Ledger
  readonly process: World.Process
  /** Ends the daemon. */
  readonly takeDown: () => void
  readonly pool: SlotPoolState.SlotPool
  readonly slots: Map<number, Slot>
  /** Computations by session. */
  readonly sessions: Map<number, Session>
  timer: number
}

interface Session {
  readonly computationId: string
  readonly emit: (entries: Uint8Array) => void
  readonly ready: () => void
}

/** Slots of a daemon. */
export const make = (
  options: Pick<Slots, "world" | "ledger" | "process" | "takeDown">,
  cpus: number
): Slots => {
  const slots: Slots = {
    ...options,
    pool: SlotPoolState.make({ cpus, spares: 1, maxInflight: 16, prepareMillis: 10_000, epochMillis: 1.7e12 }),
    slots: new Map(),
    sessions: new Map(),
    timer: 0
  }
  feed(slots, { _tag: "Timer" })
  return slots
}

const feed = (self: Slots, event: PoolEvent): void => {
  if (!self.process.isAlive) return
  const events = [event]
  for (let next = events.shift(); next !== undefined; next = events.shift()) {
    for (const action of SlotPool.step(self.pool, next, self.world.now)) perform(self, action, events)
  }
}

const later = (self: Slots, least: number, most: number, run: () => void): void =>
  World.after(self.world, self.process, Random.between(self.world.random, least, most), "", run)

/** Tells a slot something: it hears things in order. */
const say = (self: Slots, slot: Slot, hear: () => void): void => {
  const { now, random } = self.world
  slot.hearsAt = Math.max(slot.hearsAt, now + Random.between(random, 0.02, 0.2))
  World.after(self.world, self.process, slot.hearsAt - now, "", () => {
    if (slot.isAlive) hear()
  })
}

const perform = (self: Slots, action: PoolAction, events: Array<PoolEvent>): void => {
  switch (action._tag) {
    case "SetTimer": {
      const timer = ++self.timer
      World.after(self.world, self.process, action.at - self.world.now, "", () => {
        if (timer === self.timer) feed(self, { _tag: "Timer" })
      })
      return
    }
    case "Emit":
      return self.sessions.get(action.session)?.emit(action.entries)
    case "SessionReady":
      return self.sessions.get(action.session)?.ready()
    case "SessionRefused":
    case "StartThread":
    case "Sweep":
    // No job has a memory limit.
    case "Measure":
      return
    case "StartSlot": {
      const { slot: id } = action
      self.slots.set(id, {
        id,
        session: 0,
        fifo: 0,
        queue: [],
        running: undefined,
        turn: 0,
        startedAt: 0,
        hearsAt: 0,
        isAlive: true
      })
      return later(self, 20, 60, () => feed(self, { _tag: "SlotStarted", slot: id }))
    }
    default:
      performOn(self, self.slots.get(action.slot)!, action, events)
  }
}

const performOn = (
  self: Slots,
  slot: Slot,
  action: Extract<
    PoolAction,
    { readonly _tag: "PrepareSlot" | "SendJobs" | "TakeBack" | "Abort" | "Terminate" | "Kill" }
  >,
  events: Array<PoolEvent>
): void => {
  switch (action._tag) {
    case "PrepareSlot":
      slot.session = action.session
      return later(self, 2, 20, () => slot.isAlive && feed(self, { _tag: "SlotReady", slot: slot.id }))
    case "SendJobs": {
      const jobs = action.jobs.map(({ attempt, id }) => ({ id, attempt }))
      slot.fifo += jobs.length
      return say(self, slot, () => {
        slot.queue.push(...jobs)
        begin(self, slot)
      })
    }
    case "TakeBack": {
      const count = slot.fifo
      slot.fifo = 0
      if (count > 0) {
        say(self, slot, () => {
          slot.queue.length = Math.max(0, slot.queue.length - count)
          feed(self, { _tag: "SlotRevoked", slot: slot.id })
        })
      }
      events.push({ _tag: "TookBack", slot: slot.id, count })
      return
    }
    case "Abort": {
      const { turn } = slot
      return later(self, 0.1, 5, () => {
        const spec = slot.running === undefined ? undefined : specOf(self, slot, slot.running)
        if (slot.turn === turn && spec?.isStubborn === false) finish(self, slot, Entries.Outcome.failed)
      })
    }
    case "Terminate": {
      const spec = slot.running === undefined ? undefined : specOf(self, slot, slot.running)
      if (spec?.isStubborn !== true) later(self, 0.5, 5, () => die(self, slot, "SIGTERM"))
      return
    }
    case "Kill":
      slot.isAlive = false
      return later(self, 0.1, 2, () => die(self, slot, "SIGKILL"))
  }
}

const specOf = (self: Slots, slot: Slot, job: RunningJob): Ledger.Spec | undefined => {
  const computationId = self.sessions.get(slot.session)?.computationId
  return computationId === undefined ? undefined : Ledger.jobOf(self.ledger, computationId, job.id).spec
}

/** The slot claims its next job and starts it. */
const begin = (self: Slots, slot: Slot): void => {
  const job = slot.queue[0]
  const session = self.sessions.get(slot.session)
  if (!slot.isAlive || slot.running !== undefined || job === undefined || slot.fifo === 0) return
  if (session === undefined) return
  slot.fifo--
  slot.queue.shift()
  slot.running = job
  slot.startedAt = self.world.now
  const turn = ++slot.turn
  const known = Ledger.started(self.ledger, session.computationId, job.id, job.attempt, self.process.name)
  const { spec } = known
  if (self.process.machine.isBad) {
    const millis = Random.between(self.world.random, 1, 5)
    World.after(self.world, self.process, millis, "", () => {
      if (slot.turn === turn) finish(self, slot, Entries.Outcome.failed)
    })
    return
  }
  const ends = Ledger.endOf(known)
  if (spec.hasProvisional) {
    World.after(self.world, self.process, spec.millis / 2, "", () => {
      if (slot.turn === turn && slot.isAlive) reply(self, slot, job, Entries.Outcome.provisional)
    })
  }
  World.after(self.world, self.process, spec.millis, "", () => {
    if (slot.turn !== turn || !slot.isAlive) return
    if (ends === "exits") return die(self, slot, "exit")
    if (ends === "ends its node") return self.takeDown()
    finish(self, slot, ends === "returns" ? Entries.Outcome.succeeded : Entries.Outcome.failed)
  })
}

const reply = (self: Slots, slot: Slot, job: RunningJob, outcome: Entries.Outcome): void => {
  const { now } = self.world
  const result = new Uint8Array(8)
  Entries.viewOf(result).setUint32(0, job.id, true)
  Entries.viewOf(result).setUint32(4, job.attempt, true)
  feed(self, {
    _tag: "Replied",
    slot: slot.id,
    entries: Entries.encodeReply({
      jobId: job.id,
      attempt: job.attempt,
      outcome,
      flags: 0,
      startMillis: 1.7e12 + slot.startedAt + self.process.machine.clockError,
      durationMicros: Math.round((now - slot.startedAt) * 1000),
      result,
      stdout: Entries.noBytes,
      stderr: Entries.noBytes
    })
  })
}

const finish = (self: Slots, slot: Slot, outcome: Entries.Outcome): void => {
  const job = slot.running
  if (job === undefined || !slot.isAlive) return
  slot.running = undefined
  slot.turn++
  reply(self, slot, job, outcome)
  begin(self, slot)
}

const die = (self: Slots, slot: Slot, how: string): void => {
  if (!self.slots.delete(slot.id)) return
  slot.isAlive = false
  const computationId = self.sessions.get(slot.session)?.computationId
  // Other ends are what the pool asked for, and nothing that the job did.
  const isOwn = how === "exit" || how === "SIGSEGV"
  if (isOwn && slot.running !== undefined && computationId !== undefined) {
    Ledger.tookDown(self.ledger, computationId, slot.running.id)
  }
  feed(self, {
    _tag: "SlotDied",
    slot: slot.id,
    unclaimed: slot.fifo,
    printed: [],
    death: { reason: how, exitCode: null, signal: how, lastStderr: "" },
    threads: []
  })
}

/** Makes a computation ready. */
export const open = (self: Slots, session: number, options: Session & { readonly cpus: number }): void => {
  self.sessions.set(session, options)
  feed(self, {
    _tag: "SessionOpened",
    session,
    graceMillis: 500,
    cpus: options.cpus,
    kind: "process",
    concurrency: 1
  })
}

/** What a lease does with a computation that is ready. */
export const sessionOf = (self: Slots, session: number): ExecutorSession => ({
  dispatch: (batch) => feed(self, { _tag: "JobsArrived", session, batch }),
  cancel: (jobIds) => feed(self, { _tag: "JobsCancelled", session, jobIds }),
  setPaused: () => {},
  returnQueued: () => feed(self, { _tag: "QueueReturned", session }),
  setCpus: (cpus) => feed(self, { _tag: "SessionLimited", session, cpus }),
  jobs: () => {
    const pooled = self.pool.sessions.get(session)
    return pooled === undefined ? SessionJobs.none : SessionJobs.of(pooled)
  },
  answerFile: () => {}
})

/** Ends a computation: what runs is killed. */
export const close = (self: Slots, session: number): void => {
  feed(self, { _tag: "SessionClosed", session })
  self.sessions.delete(session)
}

/** Offers another number of cpus. */
export const setCpus = (self: Slots, cpus: number): void => feed(self, { _tag: "CpusSet", cpus })

/** A slot is killed from outside. */
export const kill = (self: Slots): void => {
  const slots = [...self.slots.values()].filter(({ isAlive }) => isAlive)
  if (slots.length > 0) die(self, Random.pick(self.world.random, slots), "SIGSEGV")
}

/** What is wrong. */
export const invariants = (self: Slots): ReadonlyArray<string> => SlotPoolState.invariants(self.pool)
