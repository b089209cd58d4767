/**
 * One slot process as its node sees it: its channel, what it and its children print,
 * its threads if it is a host of some, and its end.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import type { PoolEvent, SlotEnd } from "../../domain/node/SlotPoolEvent.ts"
import { messageOf } from "../../domain/Thrown.ts"
import type { SlotDeath } from "../../domain/wire/SlotDeath.ts"
import * as SlotFrames from "../../domain/wire/SlotFrames.ts"
import type { Fifo } from "./Fifos.ts"
import * as ProcessTree from "./ProcessTree.ts"
import * as SlotChannel from "./SlotChannel.ts"
import * as SlotOutput from "./SlotOutput.ts"
import * as SlotThread from "./SlotThread.ts"

const isSource = import.meta.url.endsWith(".ts")
const slotFile = fileURLToPath(new URL(isSource ? "../../slot/main.ts" : "../../slot/main.js", import.meta.url))

/** Node warns of experimental means that the slot uses; nobody is to read that as a job's stderr. */
const slotOptions = ["--disable-warning=ExperimentalWarning"]

/** After its end a slot's descriptors may be held open by what it started; its output is awaited so long. */
const drainMillis = 50

/** Frames are awaited longer, since replies must not be lost; only a fork of the slot without exec holds them open. */
const framesMillis = 1_000

/** Threads may take so long to end before `cleanup` runs. */
const stoppingMillis = 1_000

/** So much of what belongs to no job goes to the log at a time. */
const strayBytes = 1024

/** What a slot is started with. */
export interface SlotOptions {
  readonly id: number
  readonly marker: string
  readonly options: ReadonlyArray<string>
  readonly environment: Readonly<Record<string, string>>
  readonly directory: string
  readonly onEvent: (event: PoolEvent) => void
  /** A job of the slot sends a file. */
  readonly onFile: (payload: Uint8Array) => void
  /** Hears what children and native code print where several jobs run in the process. */
  readonly onStray: (text: string) => void
}

/** A slot process. */
export interface SlotProcess {
  readonly id: number
  readonly child: ChildProcess
  readonly root: ProcessTree.TreeRoot
  readonly channel: SlotChannel.SlotChannel
  /** Of a host: its threads that have not ended. */
  readonly threads: Map<number, SlotThread.SlotThread>
  readonly onStray: (text: string) => void
  /** How it ended, once it has. */
  ended: { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly reason: string } | undefined
  isReported: boolean
  /** It runs `cleanup` and is to be left alone. */
  isCleaning: boolean
  /** Hears of the end of that. */
  onCleanedUp: (problem: string) => void
  /** Resolves when the end was reported. */
  readonly reported: Promise<void>
  readonly onReported: () => void
}

const watchOutput = (slot: SlotProcess, stream: Readable, index: 0 | 1, onEnd: () => void): void => {
  const { channel } = slot
  stream.on("data", (chunk: Buffer) => {
    SlotOutput.feed(channel.output, index, chunk)
    if (channel.output.isShared) slot.onStray(chunk.toString("utf8", 0, strayBytes))
    if (channel.output.held.length === 0) return
    SlotChannel.release(channel, false)
    SlotChannel.flush(channel)
  })
  stream.on("error", () => {})
  stream.on("close", () => {
    SlotOutput.end(channel.output, index)
    onEnd()
  })
}

const reasonOf = (slot: SlotProcess, stderr: string): string => {
  const { code, reason, signal } = slot.ended!
  if (reason !== "") return reason
  if (/heap out of memory|Reached heap limit/.test(stderr)) {
    return `ran out of heap memory (V8 limit ${slot.channel.heapLimitMb} MB)`
  }
  if (signal === "SIGKILL") return "killed by SIGKILL (the system does this when memory runs out)"
  if (signal === "SIGABRT") return "killed by SIGABRT (process.abort or a failed assertion)"
  return signal === null ? `exited with code ${code}` : `killed by ${signal}`
}

const report = (slot: SlotProcess): void => {
  if (slot.isReported) return
  slot.isReported = true
  const { channel, threads } = slot
  const ends: Array<SlotEnd> = [...threads.values()].map(SlotThread.end)
  const unclaimed = SlotChannel.close(channel)
  const lastStderr = channel.output.last.toString()
  const { code, signal } = slot.ended!
  const death: SlotDeath = { reason: reasonOf(slot, lastStderr), exitCode: code, signal, lastStderr }
  slot.onReported()
  const printed = SlotOutput.remains(channel.output)
  channel.onEvent({ _tag: "SlotDied", slot: slot.id, unclaimed, death, printed, threads: ends })
  threads.clear()
}

/** Reports the end once all that the process wrote was read, or after a while if others hold its descriptors. */
const watchEnd = (slot: SlotProcess): void => {
  const open = new Set(["stdout", "stderr", "frames"])
  const look = (waited: number): void => {
    if (slot.ended === undefined || slot.isReported) return
    if (open.size === 0 || waited >= (open.has("frames") ? framesMillis : drainMillis)) report(slot)
    else if (waited >= 0) setTimeout(() => look(waited + drainMillis), drainMillis)
  }
  const onEnd = (name: string) => (): void => {
    open.delete(name)
    look(-1)
  }
  const { child } = slot
  child.on("exit", (code, signal) => {
    slot.ended ??= { code, signal, reason: "" }
    // All that it said is wanted now.
    SlotChannel.setPaused(slot.channel, false)
    look(0)
  })
  child.on("error", (error) => {
    if (child.pid !== undefined) return
    slot.ended ??= { code: null, signal: null, reason: `the process cannot be started: ${error.message}` }
    report(slot)
  })
  child.on("spawn", () => slot.channel.onEvent({ _tag: "SlotStarted", slot: slot.id }))
  const [, stdout, stderr] = child.stdio
  watchOutput(slot, stdout as Readable, 0, onEnd("stdout"))
  watchOutput(slot, stderr as Readable, 1, onEnd("stderr"))
  SlotChannel.watch(slot.channel, onEnd("frames"))
}

/** Starts a blank slot, or says why it cannot. */
export const start = (options: SlotOptions): SlotProcess | string => {
  try {
    const child: ChildProcess = spawn(process.execPath, [...slotOptions, ...options.options, slotFile], {
      detached: process.platform !== "win32",
      cwd: options.directory,
      env: { ...options.environment, [ProcessTree.markerName]: options.marker },
      stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"],
      windowsHide: true
    })
    // Without free descriptors Node gives back a child without any.
    if (Array.isArray(child.stdio)) return adopt(child, options)
    child.on("error", () => {})
    return "the process cannot be started: too many open files"
  } catch (error) {
    return `the process cannot be started: ${messageOf(error)}`
  }
}

/** Makes a slot of a process that was started as one. */
export const adopt = (
  child: ChildProcess,
  options: Pick<SlotOptions, "id" | "marker" | "onEvent" | "onFile" | "onStray">
): SlotProcess => {
  const pid = child.pid ?? 0
  const { promise: reported, resolve: onReported } = Promise.withResolvers<void>()
  const threads = new Map<number, SlotThread.SlotThread>()
  const slot: SlotProcess = {
    id: options.id,
    child,
    root: { pid, start: ProcessTree.startOf(pid), marker: options.marker, seen: new Map() },
    channel: SlotChannel.make({
      id: options.id,
      nonce: randomUUID(),
      input: child.stdio[3] as Writable,
      frames: child.stdio[4] as Readable,
      onEvent: options.onEvent,
      onFile: options.onFile,
      onOther: (type, payload) => onHostFrame(slot, type, payload)
    }),
    threads,
    onStray: options.onStray,
    ended: undefined,
    isReported: false,
    isCleaning: false,
    onCleanedUp: () => {},
    reported,
    onReported
  }
  watchEnd(slot)
  return slot
}

const onHostFrame = (slot: SlotProcess, type: number, payload: Uint8Array): boolean => {
  if (type === SlotFrames.FromSlot.threadEnded) return onThreadEnded(slot, payload)
  if (type !== SlotFrames.FromSlot.cleanedUp || !slot.isCleaning) return false
  slot.onCleanedUp(Buffer.from(payload).toString())
  return true
}

const onThreadEnded = (slot: SlotProcess, payload: Uint8Array): boolean => {
  const ended = SlotThread.endedIn(payload)
  const thread = ended === undefined ? undefined : slot.threads.get(ended.slot)
  if (ended === undefined || thread === undefined) return false
  slot.threads.delete(thread.id)
  const death: SlotDeath = { reason: ended.reason, exitCode: ended.exitCode, signal: null, lastStderr: "" }
  slot.channel.onEvent({ _tag: "SlotDied", ...SlotThread.end(thread), death, threads: [] })
  return true
}

/** Tells a blank slot what it is for. */
export const prepare = ({ channel }: SlotProcess, told: SlotFrames.PrepareSlot, claims: Fifo | undefined): void => {
  SlotChannel.expect(channel, told, claims)
  channel.input.write(SlotFrames.encodeFrame(SlotFrames.ToSlot.prepare, Buffer.from(JSON.stringify(told))))
}

/** Has a host end its threads and run `cleanup`; resolves to why that failed, or empty. */
export const cleanUp = (slot: SlotProcess, told: SlotFrames.LifecycleRun): Promise<string> => {
  const { promise, resolve } = Promise.withResolvers<string>()
  const timer = setTimeout(
    () => resolve(`it did not end within ${told.timeoutMillis} ms; raise setupTimeout if it needs longer`),
    Math.min(told.timeoutMillis + stoppingMillis, 0x7fffffff)
  )
  slot.onCleanedUp = resolve
  void slot.reported.then(() => resolve("its process ended before it was done"))
  slot.channel.input.write(SlotFrames.encodeFrame(SlotFrames.ToSlot.cleanUp, Buffer.from(JSON.stringify(told))))
  return promise.finally(() => clearTimeout(timer))
}
