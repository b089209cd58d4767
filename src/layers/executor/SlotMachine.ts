/**
 * Carries out what the slot pool decides: starts, feeds, signals and buries slot
 * processes, and brings what they tell back to the pool. Plain code without a
 * fiber per job: this is the hot path of a node.
 */
import { setTimeout as sleep } from "node:timers/promises"
import * as SlotPool from "../../domain/node/SlotPool.ts"
import type { PoolAction, PoolEvent } from "../../domain/node/SlotPoolEvent.ts"
import * as SlotPoolState from "../../domain/node/SlotPoolState.ts"
import { messageOf } from "../../domain/Thrown.ts"
import type { LifecycleRun, PrepareSlot } from "../../domain/wire/SlotFrames.ts"
import type { ExecutorSettings } from "../../services/ExecutorConfig.ts"
import * as Fifos from "./Fifos.ts"
import type { Guardian } from "./Guardian.ts"
import * as ProcessTree from "./ProcessTree.ts"
import * as SentFiles from "./SentFiles.ts"
import * as SlotChannel from "./SlotChannel.ts"
import * as SlotProcess from "./SlotProcess.ts"
import * as SlotThread from "./SlotThread.ts"
import * as TreeMemory from "./TreeMemory.ts"

/** A computation as its slots and its client see it. */
export interface MachineSession {
  readonly told: Omit<PrepareSlot, "claimsPath" | "nonce">
  readonly onReplies: (entries: Uint8Array) => void
  readonly onReady: () => void
  readonly onRefused: (reason: string) => void
  /** Files that its jobs send. */
  readonly files: SentFiles.SentFiles
  /** Slots that have or had its code and are not buried yet. */
  readonly slots: Set<number>
  /** Its client is behind: what its slots say is not read for now. */
  isPaused: boolean
  /** `cleanup`, where the host of the threads runs it. */
  readonly hostCleanup: LifecycleRun | null
  hasOpened: boolean
  onBuried: () => void
}

/** Something worth a line in the log. */
export interface MachineNote {
  readonly slot: number
  readonly what: "slot ends" | "output of no job"
  readonly text: string
}

/** The slots of a node and all that is needed to run them. */
export interface SlotMachine {
  readonly pool: SlotPoolState.SlotPool
  readonly settings: ExecutorSettings
  /** Prefix of the slots' markers, unique on this machine. */
  readonly marker: string
  readonly directory: string
  readonly guardian: Guardian
  readonly fifos: Fifos.FifoMaker | undefined
  readonly onNote: (note: MachineNote) => void
  readonly processes: Map<number, SlotProcess.SlotProcess>
  readonly threads: Map<number, SlotThread.SlotThread>
  /** Of processes, and of threads that are there. */
  readonly channels: Map<number, SlotChannel.SlotChannel>
  readonly sessions: Map<number, MachineSession>
  /** Burials under way, by slot. */
  readonly burials: Map<number, Promise<void>>
  /** What is to be killed together: finding what belongs to them costs the same for many as for one. */
  condemned: Array<ProcessTree.TreeRoot>
  execution: Promise<void> | undefined
  readonly sweeps: Map<number, NodeJS.Timeout>
  readonly memory: TreeMemory.TreeMemory
  events: Array<PoolEvent>
  isStepping: boolean
  timer: NodeJS.Timeout | undefined
}

const now = (): number => performance.now()

/** Longer timers than 24 days fire at once in JavaScript; the pool is asked again earlier. */
const longestTimerMillis = 1_000_000_000

/** What does not die of SIGKILL hangs in the kernel: nobody waits longer for it. */
const burialMillis = 10_000

/** A machine without slots. */
export const make = (
  options: Pick<SlotMachine, "settings" | "marker" | "directory" | "guardian" | "fifos" | "onNote">
): SlotMachine => {
  const { cpus, maxInflight, prepareMillis, spares } = options.settings
  const pool = SlotPoolState.make({
    cpus,
    spares: spares ?? Math.min(2, cpus),
    maxInflight: options.fifos === undefined ? 1 : maxInflight,
    prepareMillis,
    epochMillis: performance.timeOrigin
  })
  return {
    ...options,
    pool,
    processes: new Map(),
    threads: new Map(),
    channels: new Map(),
    sessions: new Map(),
    burials: new Map(),
    condemned: [],
    execution: undefined,
    sweeps: new Map(),
    memory: TreeMemory.make(),
    events: [],
    isStepping: false,
    timer: undefined
  }
}

/** Takes in an event and does what follows from it, then what follows from that. */
export const feed = (machine: SlotMachine, event: PoolEvent): void => {
  machine.events.push(event)
  if (machine.isStepping) return
  machine.isStepping = true
  for (let next = machine.events.shift(); next !== undefined; next = machine.events.shift()) {
    // Answers to actions come before whatever else is waiting.
    const waiting = machine.events
    machine.events = []
    for (const action of SlotPool.step(machine.pool, next, now())) perform(machine, action)
    if (waiting.length > 0) machine.events.push(...waiting)
  }
  machine.isStepping = false
}

const perform = (machine: SlotMachine, action: PoolAction): void => {
  switch (action._tag) {
    case "Emit":
      return machine.sessions.get(action.session)?.onReplies(action.entries)
    case "SetTimer":
      return setTimer(machine, action.at)
    case "SessionReady":
      return sessionReady(machine, action.session)
    case "SessionRefused":
      return machine.sessions.get(action.session)?.onRefused(action.reason)
    case "Measure":
      return void measure(machine, action.slots)
    case "StartSlot":
      return startSlot(machine, action.slot)
    case "StartThread":
      return startThread(machine, action)
    case "SendJobs":
    case "TakeBack":
    case "Abort": {
      const channel = machine.channels.get(action.slot)
      return channel === undefined ? undefined : performOnChannel(machine, channel, action)
    }
    default: {
      const slot = machine.processes.get(action.slot)
      if (slot !== undefined) return performOnProcess(machine, slot, action)
      const thread = machine.threads.get(action.slot)
      if (thread !== undefined) performOnThread(machine, thread, action)
    }
  }
}

const sessionReady = (machine: SlotMachine, id: number): void => {
  const session = machine.sessions.get(id)
  if (session === undefined) return
  session.hasOpened = true
  session.onReady()
}

type Action<Tag extends PoolAction["_tag"]> = Extract<PoolAction, { readonly _tag: Tag }>

const performOnChannel = (
  machine: SlotMachine,
  channel: SlotChannel.SlotChannel,
  action: Action<"SendJobs" | "TakeBack" | "Abort">
): void => {
  if (action._tag === "SendJobs") return SlotChannel.sendJobs(channel, action.jobs)
  if (action._tag === "Abort") return SlotChannel.abort(channel, action.jobId)
  machine.events.push({ _tag: "TookBack", slot: channel.id, count: SlotChannel.takeBack(channel) })
}

const performOnProcess = (
  machine: SlotMachine,
  slot: SlotProcess.SlotProcess,
  action: Action<"PrepareSlot" | "Terminate" | "Kill" | "Sweep">
): void => {
  switch (action._tag) {
    case "PrepareSlot":
      return void prepareSlot(machine, slot, action.session)
    case "Terminate":
      return void ProcessTree.signal([slot.root], "SIGTERM")
    case "Kill":
      machine.onNote({ slot: slot.id, what: "slot ends", text: action.reason })
      // A host that cleans up is buried when it has.
      return slot.isCleaning ? undefined : bury(machine, slot)
    case "Sweep":
      if (action.afterMillis === 0) return bury(machine, slot)
      machine.sweeps.set(slot.id, setTimeout(() => bury(machine, slot), action.afterMillis))
  }
}

/** A thread is stopped, and what its jobs have started gets the signals that it cannot get itself. */
const performOnThread = (
  machine: SlotMachine,
  thread: SlotThread.SlotThread,
  action: Action<"PrepareSlot" | "Terminate" | "Kill" | "Sweep">
): void => {
  if (action._tag === "Terminate") {
    SlotThread.stop(thread)
    void ProcessTree.signal([thread.root], "SIGTERM")
  } else if (action._tag === "Sweep") {
    machine.channels.delete(thread.id)
    machine.threads.delete(thread.id)
    const sweep = (): void => void condemn(machine, [thread.root])
    if (action.afterMillis === 0) sweep()
    else machine.sweeps.set(thread.id, setTimeout(sweep, action.afterMillis))
  }
}

/** Every slot gets an answer: the pool waits for it. */
const measure = async (machine: SlotMachine, slots: Action<"Measure">["slots"]): Promise<void> => {
  const wanted = slots.map(({ aboveKiB, slot }) => ({ aboveKiB, root: machine.processes.get(slot)?.root }))
  const { costMillis, kib } = await TreeMemory.measure(machine.memory, wanted)
  feed(machine, { _tag: "Measured", slots: slots.map(({ slot }, i) => ({ slot, kib: kib[i] ?? 0 })), costMillis })
}

const setTimer = (machine: SlotMachine, at: number): void => {
  clearTimeout(machine.timer)
  const millis = Math.min(longestTimerMillis, Math.max(0, Math.ceil(at - now())))
  machine.timer = setTimeout(() => feed(machine, { _tag: "Timer" }), millis)
}

const startSlot = (machine: SlotMachine, id: number): void => {
  const slot = SlotProcess.start({
    id,
    marker: `${machine.marker}.${id}`,
    options: machine.settings.slotOptions,
    environment: machine.settings.environment,
    directory: machine.directory,
    onEvent: (event) => {
      if (event._tag === "SlotDied" && !machine.burials.has(id)) {
        machine.onNote({
          slot: event.slot,
          what: "slot ends",
          text: `${event.death.reason}\n${event.death.lastStderr}`.trim()
        })
      }
      if (event._tag === "SlotDied") {
        for (const session of machine.sessions.values()) {
          for (const end of [event, ...event.threads]) SentFiles.forget(session.files, end.slot)
        }
      }
      feed(machine, event)
    },
    onFile: (payload) => {
      const session = [...machine.sessions.values()].find((one) => one.slots.has(id))
      if (session !== undefined) takeFile(machine, session, id, payload)
    },
    onStray: (text) => machine.onNote({ slot: id, what: "output of no job", text })
  })
  if (typeof slot === "string") {
    const death = { reason: slot, exitCode: null, signal: null, lastStderr: "" }
    machine.onNote({ slot: id, what: "slot ends", text: slot })
    machine.events.push({ _tag: "SlotDied", slot: id, unclaimed: 0, death, printed: [], threads: [] })
    return
  }
  machine.processes.set(id, slot)
  machine.channels.set(id, slot.channel)
  if (slot.root.pid > 0) machine.guardian.add(slot.root.pid)
}

const takeFile = (machine: SlotMachine, session: MachineSession, id: number, payload: Uint8Array): void => {
  const channel = machine.channels.get(id)
  if (channel === undefined || SentFiles.take(session.files, channel, payload)) return
  feed(machine, { _tag: "SlotBroken", slot: id, reason: "it wrote a malformed request to send a file" })
}

const hasClaims = (machine: SlotMachine): boolean => machine.pool.config.maxInflight > 1

const prepareSlot = async (machine: SlotMachine, slot: SlotProcess.SlotProcess, id: number): Promise<void> => {
  const session = machine.sessions.get(id)
  if (session === undefined) return
  session.slots.add(slot.id)
  const isHost = session.told.executor === "thread"
  try {
    const maker = hasClaims(machine) && !isHost ? machine.fifos : undefined
    const claims = maker === undefined ? undefined : await Fifos.open(maker)
    if (slot.isReported && claims !== undefined) return Fifos.close(claims)
    const { nonce } = slot.channel
    SlotProcess.prepare(slot, { ...session.told, claimsPath: claims?.path ?? "", nonce }, claims)
    if (session.isPaused && !isHost) SlotChannel.setPaused(slot.channel, true)
  } catch (error) {
    const reason = `its claims cannot be made: ${messageOf(error)}`
    feed(machine, { _tag: "SlotRefused", slot: slot.id, reason })
  }
}

const startThread = (machine: SlotMachine, { host, session: sessionId, slot: id }: Action<"StartThread">): void => {
  const process = machine.processes.get(host)
  const session = machine.sessions.get(sessionId)
  if (process === undefined || session === undefined || machine.fifos === undefined) return
  const thread = SlotThread.make(id, process.channel, `${machine.marker}.${id}`)
  process.threads.set(id, thread)
  machine.threads.set(id, thread)
  const hears: SlotThread.Hears = {
    onEvent: (event) => feed(machine, event),
    onFile: (payload) => takeFile(machine, session, id, payload)
  }
  void SlotThread.start(thread, session.told, machine.fifos, hasClaims(machine), hears).then(() => {
    if (thread.channel === undefined) return
    machine.channels.set(id, thread.channel)
    if (session.isPaused) SlotChannel.setPaused(thread.channel, true)
  }, (error: unknown) => {
    const reason = `its FIFOs cannot be made: ${messageOf(error)}`
    feed(machine, { _tag: "SlotRefused", slot: id, reason })
  })
}

/** Kills what belongs to these, with whatever else is to be killed now. */
const condemn = (machine: SlotMachine, roots: ReadonlyArray<ProcessTree.TreeRoot>): Promise<void> => {
  machine.condemned.push(...roots)
  return machine.execution ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
    const condemned = machine.condemned
    machine.condemned = []
    machine.execution = undefined
    return ProcessTree.kill(condemned)
  })
}

/** Kills whatever is left of a process, once. */
const bury = (machine: SlotMachine, slot: SlotProcess.SlotProcess): void => {
  clearTimeout(machine.sweeps.get(slot.id))
  machine.sweeps.delete(slot.id)
  if (machine.burials.has(slot.id)) return
  SlotChannel.setPaused(slot.channel, false)
  const threads = [...machine.threads.values()].filter((thread) => thread.host === slot.channel)
  const killed = condemn(machine, slot.root.pid > 0 ? [slot.root, ...threads.map((thread) => thread.root)] : [])
  const gone = Promise.race([slot.reported, sleep(burialMillis, undefined, { ref: false })])
  machine.burials.set(slot.id, killed.then(() => gone).then(() => buried(machine, slot)))
}

const buried = (machine: SlotMachine, slot: SlotProcess.SlotProcess): void => {
  machine.processes.delete(slot.id)
  machine.channels.delete(slot.id)
  for (const thread of machine.threads.values()) {
    if (thread.host !== slot.channel) continue
    machine.threads.delete(thread.id)
    machine.channels.delete(thread.id)
  }
  machine.burials.delete(slot.id)
  if (slot.root.pid > 0) machine.guardian.remove(slot.root.pid)
  for (const session of machine.sessions.values()) {
    if (session.slots.delete(slot.id) && session.slots.size === 0) session.onBuried()
  }
}

/** Reads what a session's slots say, or does not for now. */
export const setPaused = (machine: SlotMachine, id: number, isPaused: boolean): void => {
  const session = machine.sessions.get(id)
  if (session === undefined) return
  session.isPaused = isPaused
  for (const slotId of session.slots) {
    const slot = machine.processes.get(slotId)
    // The end of a slot that is being killed is only seen when all that it said is read.
    if (slot === undefined || machine.burials.has(slotId)) continue
    // A host tells of its threads what has to be known in any case.
    if (session.told.executor === "process") SlotChannel.setPaused(slot.channel, isPaused)
    for (const { channel } of slot.threads.values()) {
      if (channel !== undefined) SlotChannel.setPaused(channel, isPaused)
    }
  }
}

/** The host of a session's threads, if it is there and ready. */
const hostOf = (machine: SlotMachine, session: MachineSession): SlotProcess.SlotProcess | undefined => {
  for (const id of session.slots) {
    const slot = machine.processes.get(id)
    const isGood = machine.pool.slots.get(id)?.phase === "hosting" && !machine.burials.has(id)
    if (slot !== undefined && isGood) return slot
  }
  return undefined
}

/**
 * Ends what a closed session left: resolves when nothing of it runs any more. To why `cleanup` in the host of its
 * threads failed, empty if it did not or there is none; to undefined if there is no host any more that could run it.
 */
export const closeSession = async (machine: SlotMachine, id: number): Promise<string | undefined> => {
  const session = machine.sessions.get(id)
  if (session === undefined) return ""
  const isDue = session.hostCleanup !== null && session.hasOpened
  const host = isDue ? hostOf(machine, session) : undefined
  if (host !== undefined) host.isCleaning = true
  feed(machine, { _tag: "SessionClosed", session: id })
  const problem = host === undefined || session.hostCleanup === null
    ? undefined
    : await SlotProcess.cleanUp(host, session.hostCleanup)
  await buryAll(machine, id, session)
  return isDue ? problem : ""
}

const buryAll = (machine: SlotMachine, id: number, session: MachineSession): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      machine.sessions.delete(id)
      resolve()
    }
    session.onBuried = done
    for (const slotId of session.slots) {
      const slot = machine.processes.get(slotId)
      if (slot !== undefined) bury(machine, slot)
    }
    if (session.slots.size === 0) done()
  })

/** Kills all slots: resolves when nothing of them runs any more. */
export const close = async (machine: SlotMachine): Promise<void> => {
  clearTimeout(machine.timer)
  machine.isStepping = true
  for (const slot of machine.processes.values()) bury(machine, slot)
  await Promise.all(machine.burials.values())
}
