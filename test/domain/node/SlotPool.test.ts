import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as SlotPool from "../../../src/domain/node/SlotPool.ts"
import type { PoolAction, PoolEvent } from "../../../src/domain/node/SlotPoolEvent.ts"
import * as SlotPoolState from "../../../src/domain/node/SlotPoolState.ts"
import {
  encodeReply,
  endEarly,
  noBytes,
  Outcome,
  readReply,
  ReplyFlags,
  viewOf
} from "../../../src/domain/wire/Entries.ts"
import { outcomeOf, ready, runningJobs, startJobs } from "../../support/SimulatedRuns.ts"
import * as Simulated from "../../support/SimulatedSlots.ts"

const sessions = [1, 2, 3, 4]

/** What the slots of each session are. */
const kinds: ReadonlyArray<Simulated.SessionKind> = [
  { kind: "process", concurrency: 1 },
  { kind: "thread", concurrency: 1 },
  { kind: "process", concurrency: 3 },
  { kind: "thread", concurrency: 2 }
]

/** What can happen; some of it more often. */
const happenings = "dispatch dispatch receive receive begin begin begin finish finish read read read advance advance " +
  "cancel crash open close return settle finishLong listen burst say limit cpus"

/** One thing that happens; `pick` chooses among what is there. */
const command = fc.record({
  what: fc.constantFrom(...happenings.split(" ")),
  pick: fc.nat(1000),
  amount: fc.integer({ min: 1, max: 40 })
})

type Command = typeof command extends fc.Arbitrary<infer A> ? A : never

const among = <A>(items: Iterable<A>, pick: number): A | undefined => {
  const all = [...items]
  return all[pick % Math.max(1, all.length)]
}

const onSession = (simulation: Simulated.Simulation, { amount, pick, what }: Command, turn: number): void => {
  const session = sessions[pick % sessions.length]!
  const jobs = simulation.open.get(session)
  if (what === "open") {
    if (jobs === undefined && !simulation.readySessions.has(session)) {
      const cpus = amount > 20 ? amount % 3 : Infinity
      const kind = kinds[(session + turn) % kinds.length]
      Simulated.open(simulation, session, { graceMillis: pick % 3 * 50, cpus, kind })
    }
    return
  }
  if (jobs === undefined || simulation.refusedSessions.has(session)) return
  if (what === "close") Simulated.close(simulation, session)
  else if (what === "limit") Simulated.feed(simulation, { _tag: "SessionLimited", session, cpus: amount % 4 })
  else if (what === "return") Simulated.feed(simulation, { _tag: "QueueReturned", session })
  else if (!simulation.readySessions.has(session)) return
  else if (what === "dispatch") Simulated.dispatch(simulation, session, amount, pick % 5 === 0 ? 30 : 0)
  else if (jobs.size > 0) {
    const started = [...jobs].filter((job) => simulation.started.has(`${session}/${job}`))
    const jobIds = [
      among(jobs, pick)!,
      among(pick % 2 === 0 && started.length > 0 ? started : jobs, pick * 7)!,
      4_000_000
    ]
    Simulated.cancel(simulation, session, jobIds)
  }
}

const onSlot = (simulation: Simulated.Simulation, { amount, pick, what }: Command): void => {
  const slot = among(simulation.slots.values(), pick)
  if (slot === undefined) return
  if (what === "receive") Simulated.receive(slot)
  else if (what === "burst") {
    Simulated.receive(slot)
    for (let i = 0; i < amount % 8 && Simulated.begin(simulation, slot); i++) Simulated.finish(slot, 1)
    Simulated.begin(simulation, slot)
  } else if (what === "begin") Simulated.begin(simulation, slot)
  else if (what === "finish") Simulated.finish(slot, amount, pick)
  else if (what === "finishLong") Simulated.finish(slot, amount * 10_000, pick)
  else if (what === "say") Simulated.say(slot, pick)
  else if (what === "read") Simulated.read(simulation, slot)
  else if (what === "listen" && slot.running.length > 0) {
    slot.outbox.push({ _tag: "SlotListening", slot: slot.id, jobId: among(slot.running, pick)!.id })
  } else if (what === "crash" && (slot.isTerminated || amount > 20)) Simulated.die(simulation, slot)
}

const happen = (simulation: Simulated.Simulation, next: Command, turn: number): void => {
  if (["open", "close", "return", "limit", "dispatch", "cancel"].includes(next.what)) onSession(simulation, next, turn)
  else if (next.what === "advance") Simulated.advance(simulation, next.amount)
  else if (next.what === "cpus") Simulated.feed(simulation, { _tag: "CpusSet", cpus: next.pick % 5 })
  else if (next.what === "settle") Simulated.settle(simulation, next.amount)
  else onSlot(simulation, next)
}

const openJobs = (simulation: Simulated.Simulation): number =>
  [...simulation.open.values()].reduce((sum, jobs) => sum + jobs.size, 0)

/** From here on slots behave well, though cancelled jobs do not end by themselves: every job must get its reply. */
const finishAll = (simulation: Simulated.Simulation): void => {
  for (let round = 0; round < 2000 && openJobs(simulation) > 0; round++) {
    Simulated.settle(simulation, 5, true)
    Simulated.advance(simulation, 50)
  }
}

describe("any sequence of events", () => {
  it("gives every job in processes and threads exactly one reply, starts none twice, keeps to the cpus and the order, and leaves nothing", () => {
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 300, size: "max" }),
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom(1, 4, 256),
        fc.nat(3),
        (commands, cpus, maxInflight, turn) => {
          const simulation = Simulated.make({ cpus, maxInflight, spares: 1 })
          Simulated.open(simulation, 1, { kind: kinds[(1 + turn) % kinds.length] })
          for (const next of commands) happen(simulation, next, turn)
          if (simulation.pool.cpus === 0) Simulated.feed(simulation, { _tag: "CpusSet", cpus })
          finishAll(simulation)
          expect(openJobs(simulation)).toBe(0)
          for (const session of simulation.open.keys()) Simulated.close(simulation, session)
          Simulated.settle(simulation, 5)
          expect(simulation.pool.sessions.size).toBe(0)
          expect(
            [...simulation.pool.slots.values()].filter((slot) => slot.phase !== "blank" && slot.phase !== "starting")
          )
            .toEqual([])
          expect(simulation.pool.busy).toBe(0)
        }
      ),
      { numRuns: 1500 }
    )
  })
})

describe("work ahead", () => {
  it("grows to hundreds of no-op jobs in flight and stops at a long job", () => {
    const simulation = ready({ cpus: 1 })
    Simulated.dispatch(simulation, 1, 5000)
    let most = 0
    for (let i = 0; i < 4000; i++) {
      for (const slot of simulation.slots.values()) {
        while (Simulated.receive(slot));
        while (Simulated.begin(simulation, slot) && Simulated.finish(slot, 1));
        while (Simulated.read(simulation, slot));
      }
      for (const slot of simulation.pool.slots.values()) most = Math.max(most, slot.inflight.length)
    }
    expect(most).toBeGreaterThan(200)
    expect(openJobs(simulation)).toBe(0)
    Simulated.dispatch(simulation, 1, 2)
    startJobs(simulation)
    for (const slot of simulation.slots.values()) Simulated.finish(slot, 50_000)
    startJobs(simulation)
    Simulated.dispatch(simulation, 1, 100)
    for (const slot of simulation.pool.slots.values()) expect(slot.inflight.length).toBeLessThanOrEqual(1)
  })

  it("takes jobs back from behind one that runs for 5 ms when a cpu is free", () => {
    const simulation = ready({ cpus: 2, spares: 2 })
    Simulated.dispatch(simulation, 1, 600)
    Simulated.settle(simulation, 1)
    const jobs = Simulated.dispatch(simulation, 1, 20)
    startJobs(simulation)
    const [first, second] = [...simulation.slots.values()].filter((slot) => slot.running.length > 0)
    const behind = first!.queue.length
    expect(behind).toBeGreaterThan(0)
    const finishSecond = (): void => {
      while (Simulated.finish(second!, 1) && Simulated.begin(simulation, second!));
      while (Simulated.read(simulation, second!));
      Simulated.receive(second!)
    }
    for (let i = 0; i < 5; i++) finishSecond()
    Simulated.advance(simulation, 6)
    for (let i = 0; i < 20; i++) {
      Simulated.begin(simulation, second!)
      finishSecond()
    }
    expect(openJobs(simulation)).toBe(1)
    expect(runningJobs(simulation)).toEqual([jobs[0]])
  })
})

describe("ending a job", () => {
  it("replies at once for a queued job and kills only the running one", () => {
    const simulation = ready({ cpus: 1 })
    const [first, second, third] = Simulated.dispatch(simulation, 1, 3)
    startJobs(simulation)
    Simulated.cancel(simulation, 1, [third!])
    expect(outcomeOf(simulation, third!)).toBe(Outcome.cancelled)
    Simulated.cancel(simulation, 1, [first!])
    const slot = [...simulation.slots.values()].find((one) => one.running.length > 0)!
    expect(slot.isTerminated).toBe(true)
    Simulated.die(simulation, slot)
    startJobs(simulation)
    expect(outcomeOf(simulation, first!)).toBe(Outcome.cancelled)
    Simulated.settle(simulation, 5)
    Simulated.advance(simulation, 1000)
    Simulated.settle(simulation, 5)
    expect(outcomeOf(simulation, second!)).toBe(Outcome.succeeded)
  })

  it("kills a job that outlives its timeout and the grace, and says timedOut", () => {
    const simulation = ready({ cpus: 1 })
    const [job] = Simulated.dispatch(simulation, 1, 1, 100)
    startJobs(simulation)
    const slot = [...simulation.slots.values()].find((one) => one.running.length > 0)!
    Simulated.advance(simulation, 101)
    expect(slot.isTerminated).toBe(true)
    expect(slot.isAlive).toBe(true)
    Simulated.advance(simulation, 1001)
    expect(slot.isAlive).toBe(false)
    startJobs(simulation)
    expect(outcomeOf(simulation, job!)).toBe(Outcome.timedOut)
  })

  it("passes on provisional results, which neither end a job nor give it more time", () => {
    const simulation = ready({ cpus: 1 })
    const [job] = Simulated.dispatch(simulation, 1, 1, 100)
    startJobs(simulation)
    const slot = [...simulation.slots.values()].find((one) => one.running !== undefined)!
    for (let i = 0; i < 3; i++) {
      Simulated.advance(simulation, 30)
      Simulated.say(slot)
      Simulated.read(simulation, slot)
    }
    expect(simulation.provisionals).toBe(3)
    expect(simulation.replies.has(`1/${job}`)).toBe(false)
    Simulated.advance(simulation, 11)
    expect(slot.isTerminated).toBe(true)
    startJobs(simulation)
  })

  it("ends a slot that sends a provisional result of a job it does not have", () => {
    const simulation = ready({ cpus: 1 })
    const [job] = Simulated.dispatch(simulation, 1, 1)
    startJobs(simulation)
    const slot = [...simulation.slots.values()].find((one) => one.running !== undefined)!
    slot.running[0] = { session: 1, id: Simulated.brokenJob, attempt: 3 }
    Simulated.say(slot)
    Simulated.read(simulation, slot)
    Simulated.settle(simulation, 1)
    expect(outcomeOf(simulation, job!)).toBe(Outcome.slotDied)
    expect(simulation.provisionals).toBe(0)
  })

  it("tells what a job returned that was asked to end from what it threw", () => {
    for (const [outcome, flags] of [[Outcome.succeeded, ReplyFlags.partialResult], [Outcome.failed, 0]] as const) {
      const entry = encodeReply({
        jobId: 1,
        attempt: 1,
        outcome,
        flags: 0,
        startMillis: 1,
        durationMicros: 1,
        result: noBytes,
        stdout: noBytes,
        stderr: noBytes
      })
      endEarly(viewOf(entry), 0, Outcome.cancelled)
      expect(readReply(entry, viewOf(entry), 0)).toMatchObject({ outcome: Outcome.cancelled, flags })
    }
  })

  it("lets a listening job end by itself, keeps its slot, and says cancelled", () => {
    const simulation = ready({ cpus: 1 })
    const [job] = Simulated.dispatch(simulation, 1, 1)
    startJobs(simulation)
    const slot = [...simulation.slots.values()].find((one) => one.running.length > 0)!
    Simulated.feed(simulation, { _tag: "SlotListening", slot: slot.id, jobId: job! })
    Simulated.cancel(simulation, 1, [job!])
    Simulated.advance(simulation, 400)
    expect(slot.isTerminated).toBe(false)
    Simulated.settle(simulation, 400_000)
    expect(outcomeOf(simulation, job!)).toBe(Outcome.cancelled)
    const [next] = Simulated.dispatch(simulation, 1, 1)
    Simulated.settle(simulation, 5)
    expect(outcomeOf(simulation, next!)).toBe(Outcome.succeeded)
    expect(simulation.slots.get(slot.id)?.isAlive).toBe(true)
  })

  it("blames the claimed job alone when a slot dies, and runs the others elsewhere", () => {
    const simulation = ready({ cpus: 1, spares: 1 })
    Simulated.dispatch(simulation, 1, 600)
    Simulated.settle(simulation, 1)
    const jobs = Simulated.dispatch(simulation, 1, 8)
    startJobs(simulation)
    Simulated.die(simulation, [...simulation.slots.values()].find((one) => one.running.length > 0)!)
    for (let i = 0; i < 10; i++) {
      Simulated.settle(simulation, 5)
      Simulated.advance(simulation, 300)
    }
    expect(jobs.map((job) => outcomeOf(simulation, job))).toEqual([
      Outcome.slotDied,
      ...jobs.slice(1).map(() => Outcome.succeeded)
    ])
  })

  it("ends a slot that replies to a job it was not given", () => {
    const simulation = ready({ cpus: 1 })
    const [job] = Simulated.dispatch(simulation, 1, 1)
    startJobs(simulation)
    const slot = [...simulation.slots.values()].find((one) => one.running.length > 0)!
    slot.running[0] = { session: 1, id: Simulated.brokenJob, attempt: 3 }
    Simulated.finish(slot, 1)
    Simulated.read(simulation, slot)
    expect(slot.isAlive).toBe(false)
    startJobs(simulation)
    expect(outcomeOf(simulation, job!)).toBe(Outcome.slotDied)
    expect(simulation.replies.has(`1/${Simulated.brokenJob}`)).toBe(false)
  })
})

describe("sharing", () => {
  it("gives a second computation the next free cpu, and goes on in turn", () => {
    const simulation = ready({ cpus: 1, spares: 2 })
    Simulated.open(simulation, 2)
    Simulated.settle(simulation, 5)
    const first = Simulated.dispatch(simulation, 1, 4)
    const second = Simulated.dispatch(simulation, 2, 4)
    const order: Array<number> = []
    while (openJobs(simulation) > 0) {
      startJobs(simulation)
      const slot = [...simulation.slots.values()].find((one) => one.running.length > 0)!
      order.push(slot.running[0]!.id)
      Simulated.finish(slot, 10_000)
      startJobs(simulation)
    }
    expect(order).toEqual([first[0], second[0], first[1], second[1], first[2], second[2], first[3], second[3]])
  })

  it("refuses a computation whose slot does not load it, in the slot's words", () => {
    const simulation = Simulated.make()
    Simulated.open(simulation, 1)
    const slot = [...simulation.slots.values()][0]!
    Simulated.read(simulation, slot)
    Simulated.feed(simulation, { _tag: "SlotRefused", slot: slot.id, reason: "SyntaxError: no" })
    expect([...simulation.refusedSessions]).toEqual([1])
    expect(simulation.pool.sessions.size).toBe(0)
  })

  it("counts the time of setup from its beginning, and calls what ends it by its name, without another try", () => {
    const begun = (step: "setup" | "setupSlot") => {
      const pool = SlotPoolState.make({ cpus: 1, spares: 0, maxInflight: 1, prepareMillis: 1000, epochMillis: 0 })
      const tell = (event: PoolEvent, now: number) => SlotPool.step(pool, event, now)
      tell({
        _tag: "SessionOpened",
        session: 1,
        graceMillis: 1,
        cpus: 1,
        kind: "process",
        concurrency: 1,
        setupMillis: 60_000
      }, 0)
      const [slot] = pool.slots.keys()
      tell({ _tag: "SlotStarted", slot: slot! }, 0)
      tell({ _tag: "SlotSettingUp", slot: slot!, step }, 900)
      return { slot: slot!, tell }
    }
    const refusal = (actions: ReadonlyArray<PoolAction>) =>
      actions.flatMap((action) => action._tag === "SessionRefused" ? [action.reason] : [])
    const late = begun("setup")
    expect(refusal(late.tell({ _tag: "Timer" }, 60_900))).toEqual([])
    expect(refusal(late.tell({ _tag: "Timer" }, 61_150))).toEqual([
      "setup failed: it did not end within 60000 ms; raise setupTimeout if it needs longer"
    ])
    const death = { reason: "killed by SIGSEGV", exitCode: null, signal: "SIGSEGV", lastStderr: "no disk\n" }
    const died = { unclaimed: 0, death, printed: [], threads: [] }
    const once = begun("setup")
    expect(refusal(once.tell({ _tag: "SlotDied", slot: once.slot, ...died }, 1000))).toEqual([
      "setup failed: the process ended before it was done: killed by SIGSEGV; stderr: no disk"
    ])
    const again = begun("setupSlot")
    expect(refusal(again.tell({ _tag: "SlotDied", slot: again.slot, ...died }, 1000))).toEqual([])
  })

  it("refuses a computation when no slot process can be started", () => {
    const simulation = Simulated.make({ spares: 0 })
    Simulated.open(simulation, 1)
    for (let i = 0; i < 5; i++) {
      for (const slot of simulation.slots.values()) {
        slot.outbox.length = 0
        Simulated.die(simulation, slot)
        Simulated.read(simulation, slot)
      }
      Simulated.advance(simulation, 1000)
    }
    expect([...simulation.refusedSessions]).toEqual([1])
  })
})

describe("cpus at run time", () => {
  it("lets running jobs go on, starts none above the new number, and ends slots that have nothing to do", () => {
    const simulation = ready({ cpus: 3, spares: 2 })
    Simulated.dispatch(simulation, 1, 3)
    for (let i = 0; i < 3; i++) {
      Simulated.advance(simulation, 300)
      startJobs(simulation)
    }
    expect(runningJobs(simulation)).toHaveLength(3)
    Simulated.feed(simulation, { _tag: "CpusSet", cpus: 1 })
    expect(runningJobs(simulation)).toHaveLength(3)
    const [next] = Simulated.dispatch(simulation, 1, 1)
    const [first, second, third] = [...simulation.slots.values()].filter((slot) => slot.running !== undefined)
    Simulated.finish(first!, 1)
    startJobs(simulation)
    expect(runningJobs(simulation)).toHaveLength(2)
    expect(first!.isAlive).toBe(false)
    Simulated.finish(second!, 1)
    startJobs(simulation)
    expect(runningJobs(simulation)).toHaveLength(1)
    Simulated.finish(third!, 1)
    startJobs(simulation)
    expect(runningJobs(simulation)).toEqual([next])
  })

  it("starts nothing on 0 cpus but gives it back, has a computation load all the same, and goes on where there are cpus again", () => {
    const simulation = ready({ cpus: 2 })
    Simulated.feed(simulation, { _tag: "CpusSet", cpus: 0 })
    const [job] = Simulated.dispatch(simulation, 1, 1)
    Simulated.open(simulation, 2)
    Simulated.settle(simulation, 1)
    Simulated.advance(simulation, 1000)
    Simulated.settle(simulation, 1)
    expect(simulation.readySessions).toContain(2)
    expect(simulation.started.size).toBe(0)
    expect(outcomeOf(simulation, job!)).toBe(Outcome.returned)
    Simulated.feed(simulation, { _tag: "CpusSet", cpus: 2 })
    const [again] = Simulated.dispatch(simulation, 1, 1)
    Simulated.settle(simulation, 1)
    expect(outcomeOf(simulation, again!)).toBe(Outcome.succeeded)
  })
})
