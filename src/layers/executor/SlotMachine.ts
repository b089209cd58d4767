/**
 * Carries out what the slot pool decides: starts, feeds, signals and buries slot
 * processes, and brings what they tell back to the pool. Plain code without a
 * fiber per job: this is the hot path of a node.
 */
import { setTimeout as sleep } from "node:timers/promises"
import * as SlotPool from "../../domain/node/SlotPool.ts"
import type { PoolAction, PoolEvent } from "../../domain/node/SlotPoolEvent.ts"
import * as SlotPoolState from "../../domain/node/SlotPoolState.ts"
import { noBytes } from "../../domain/wire/Entries.ts"
import type { PrepareSlot } from "../../domain/wire/SlotFrames.ts"
import type { ExecutorSettings } from "../../services/ExecutorConfig.ts"
import * as Claims from "./Claims.ts"
import type { Guardian } from "./Guardian.ts"
import * as ProcessTree from "./ProcessTree.ts"
import * as SentFiles from "./SentFiles.ts"
import * as SlotProcess from "./SlotProcess.ts"

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
  onBuried: () => void
}

/** Something worth a line in the log. */
export interface MachineNote {
  readonly slot: number
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
  readonly claims: Claims.ClaimsMaker | undefined
  readonly onNote: (note: MachineNote) => void
  readonly processes: Map<number, SlotProcess.SlotProcess>
  readonly sessions: Map<number, MachineSession>
  /** Burials under way, by slot. */
  readonly burials: Map<number, Promise<void>>
  /** Slots to be killed together: finding what belongs to them costs the same for many as for one. */
  condemned: Array<SlotProcess.SlotProcess>
  execution: Promise<void> | undefined
  readonly sweeps: Map<number, NodeJS.Timeout>
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
  options: Pick<SlotMachine, "settings" | "marker" | "directory" | "guardian" | "claims" | "onNote">
): SlotMachine => {
  const { cpus, maxInflight, prepareMillis, spares } = options.settings
  const pool = SlotPoolState.make({
    cpus,
    spares: spares ?? Math.min(2, cpus),
    maxInflight: options.claims === undefined ? 1 : maxInflight,
    prepareMillis,
    epochMillis: performance.timeOrigin
  })
  return {
    ...options,
    pool,
    processes: new Map(),
    sessions: new Map(),
    burials: new Map(),
    condemned: [],
    execution: undefined,
    sweeps: new Map(),
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
      return machine.sessions.get(action.session)?.onReady()
    case "SessionRefused":
      return machine.sessions.get(action.session)?.onRefused(action.reason)
    case "StartSlot":
      return startSlot(machine, action.slot)
    default:
      return performOn(machine, action)
  }
}

type SlotAction = Exclude<Extract<PoolAction, { readonly slot: number }>, { readonly _tag: "StartSlot" }>

const performOn = (machine: SlotMachine, action: SlotAction): void => {
  const slot = machine.processes.get(action.slot)
  if (slot === undefined) return
  switch (action._tag) {
    case "SendJobs":
      return SlotProcess.sendJobs(slot, action.jobs)
    case "TakeBack":
      return void machine.events.push({ _tag: "TookBack", slot: slot.id, count: SlotProcess.takeBack(slot) })
    case "Abort":
      return SlotProcess.abort(slot, action.jobId)
    case "PrepareSlot":
      return void prepareSlot(machine, slot, action.session)
    case "Terminate":
      return void ProcessTree.signal([slot.root], "SIGTERM")
    case "Kill":
      machine.onNote({ slot: slot.id, text: action.reason })
      return bury(machine, slot)
    case "Sweep":
      if (action.afterMillis === 0) return bury(machine, slot)
      machine.sweeps.set(slot.id, setTimeout(() => bury(machine, slot), action.afterMillis))
  }
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
        machine.onNote({ slot: id, text: `${event.death.reason}\n${event.death.lastStderr}`.trim() })
      }
      if (event._tag === "SlotDied") {
        for (const session of machine.sessions.values()) SentFiles.forget(session.files, id)
      }
      feed(machine, event)
    },
    onFile: (payload) => takeFile(machine, id, payload)
  })
  if (typeof slot === "string") {
    const death = { reason: slot, exitCode: null, signal: null, lastStderr: "" }
    machine.onNote({ slot: id, text: slot })
    machine.events.push({ _tag: "SlotDied", slot: id, unclaimed: 0, death, stdout: noBytes, stderr: noBytes })
    return
  }
  machine.processes.set(id, slot)
  if (slot.root.pid > 0) machine.guardian.add(slot.root.pid)
}

const takeFile = (machine: SlotMachine, id: number, payload: Uint8Array): void => {
  const slot = machine.processes.get(id)
  if (slot === undefined) return
  for (const session of machine.sessions.values()) {
    if (!session.slots.has(id)) continue
    if (SentFiles.take(session.files, slot, payload)) return
  }
  feed(machine, { _tag: "SlotBroken", slot: id, reason: "it wrote a malformed request to send a file" })
}

const prepareSlot = async (machine: SlotMachine, slot: SlotProcess.SlotProcess, id: number): Promise<void> => {
  const session = machine.sessions.get(id)
  if (session === undefined) return
  session.slots.add(slot.id)
  try {
    const claims = machine.claims === undefined ? undefined : await Claims.open(machine.claims)
    if (slot.isReported && claims !== undefined) return Claims.close(claims)
    SlotProcess.prepare(slot, { ...session.told, claimsPath: claims?.path ?? "", nonce: slot.nonce }, claims)
    if (session.isPaused) SlotProcess.setPaused(slot, true)
  } catch (error) {
    const reason = `its claims cannot be made: ${error instanceof Error ? error.message : String(error)}`
    feed(machine, { _tag: "SlotRefused", slot: slot.id, reason })
  }
}

/** Kills whatever is left of a slot, once. */
const bury = (machine: SlotMachine, slot: SlotProcess.SlotProcess): void => {
  clearTimeout(machine.sweeps.get(slot.id))
  machine.sweeps.delete(slot.id)
  if (machine.burials.has(slot.id)) return
  SlotProcess.setPaused(slot, false)
  if (slot.root.pid > 0) machine.condemned.push(slot)
  machine.execution ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
    const roots = machine.condemned.map((one) => one.root)
    machine.condemned = []
    machine.execution = undefined
    return ProcessTree.kill(roots)
  })
  const gone = Promise.race([slot.reported, sleep(burialMillis, undefined, { ref: false })])
  machine.burials.set(slot.id, machine.execution.then(() => gone).then(() => buried(machine, slot)))
}

const buried = (machine: SlotMachine, slot: SlotProcess.SlotProcess): void => {
  machine.processes.delete(slot.id)
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
    if (slot !== undefined && !machine.burials.has(slotId)) SlotProcess.setPaused(slot, isPaused)
  }
}

/** Ends what a closed session left: resolves when nothing of it runs any more. */
export const closeSession = (machine: SlotMachine, id: number): Promise<void> =>
  new Promise((resolve) => {
    const session = machine.sessions.get(id)
    if (session === undefined) return resolve()
    const done = (): void => {
      machine.sessions.delete(id)
      resolve()
    }
    session.onBuried = done
    feed(machine, { _tag: "SessionClosed", session: id })
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
