/**
 * One slot process as its node sees it: frames out, frames in as events for the
 * pool, its output, its claims, and its end.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import type { PoolEvent } from "../../domain/node/SlotPoolEvent.ts"
import type { PoolJob } from "../../domain/node/SlotPoolState.ts"
import * as NodeInfo from "../../domain/NodeInfo.ts"
import * as Bytes from "../../domain/wire/Bytes.ts"
import * as Entries from "../../domain/wire/Entries.ts"
import type { SlotDeath } from "../../domain/wire/SlotDeath.ts"
import * as SlotFrames from "../../domain/wire/SlotFrames.ts"
import * as Claims from "./Claims.ts"
import * as ProcessTree from "./ProcessTree.ts"
import * as SlotOutput from "./SlotOutput.ts"

const isSource = import.meta.url.endsWith(".ts")
const slotFile = fileURLToPath(new URL(isSource ? "../../slot/main.ts" : "../../slot/main.js", import.meta.url))

/** Node warns of experimental means that the slot uses; nobody is to read that as a job's stderr. */
const slotOptions = ["--disable-warning=ExperimentalWarning"]

/** After its end a slot's descriptors may be held open by what it started; its output is awaited so long. */
const drainMillis = 50

/** Frames are awaited longer, since replies must not be lost; only a fork of the slot without exec holds them open. */
const framesMillis = 1_000

/** A reply waits so long for output that other processes may have swallowed. */
const markerMillis = 1_000

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
}

/** A slot process. */
export interface SlotProcess {
  readonly id: number
  readonly child: ChildProcess
  readonly root: ProcessTree.TreeRoot
  readonly nonce: string
  readonly onEvent: (event: PoolEvent) => void
  readonly onFile: (payload: Uint8Array) => void
  readonly input: Writable
  output: SlotOutput.SlotOutput
  claims: Claims.Claims | undefined
  /** Replies read since the last that were passed on. */
  batch: Array<Uint8Array>
  heapLimitMb: number
  /** How it ended, once it has. */
  ended: { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly reason: string } | undefined
  isReported: boolean
  /** Resolves when the end was reported. */
  readonly reported: Promise<void>
  readonly onReported: () => void
  markerTimer: NodeJS.Timeout | undefined
}

const flush = (slot: SlotProcess): void => {
  if (slot.batch.length === 0) return
  const entries = Bytes.concat(slot.batch)
  slot.batch = []
  if (Entries.countReplies(entries) < 1) return broken(slot, "it wrote a malformed reply")
  slot.onEvent({ _tag: "Replied", slot: slot.id, entries })
}

const broken = (slot: SlotProcess, reason: string): void => slot.onEvent({ _tag: "SlotBroken", slot: slot.id, reason })

const release = (slot: SlotProcess, isFinal: boolean): void => {
  const released = SlotOutput.release(slot.output, isFinal)
  if (released.length > 0) slot.batch.push(...released)
  clearTimeout(slot.markerTimer)
  if (slot.output.held.length === 0) return
  slot.markerTimer = setTimeout(() => {
    release(slot, true)
    flush(slot)
  }, markerMillis)
}

const onReply = (slot: SlotProcess, payload: Uint8Array, isMarked: boolean): void => {
  if (!isMarked && SlotOutput.isPlain(slot.output)) return void slot.batch.push(payload)
  if (Entries.countReplies(payload) !== 1) return broken(slot, "it wrote a malformed reply")
  SlotOutput.hold(slot.output, payload, isMarked)
  release(slot, false)
}

const numberIn = (payload: Uint8Array): number => payload.length === 4 ? Entries.viewOf(payload).getUint32(0, true) : 0

const onFrame = (slot: SlotProcess, type: number, payload: Uint8Array): void => {
  const { FromSlot } = SlotFrames
  if (type === FromSlot.reply) return onReply(slot, payload, false)
  if (type === FromSlot.replyMarked) return onReply(slot, payload, true)
  if (type === FromSlot.output) {
    if (!SlotOutput.pass(slot.output, payload)) broken(slot, "it wrote malformed output")
    return
  }
  if (type === FromSlot.provisional) {
    if (Entries.countReplies(payload) === 1 && Entries.countEnded(payload) === 0) return void slot.batch.push(payload)
    return broken(slot, "it wrote a malformed provisional result")
  }
  if (type === FromSlot.sendFile) return slot.onFile(payload)
  // What was read before is told before.
  flush(slot)
  if (type === FromSlot.ready) {
    slot.heapLimitMb = numberIn(payload)
    if (slot.claims !== undefined) Claims.unlink(slot.claims)
    slot.onEvent({ _tag: "SlotReady", slot: slot.id })
  } else if (type === FromSlot.refused) {
    slot.onEvent({ _tag: "SlotRefused", slot: slot.id, reason: Buffer.from(payload).toString() })
  } else if (type === FromSlot.listening) {
    slot.onEvent({ _tag: "SlotListening", slot: slot.id, jobId: numberIn(payload) })
  } else if (type === FromSlot.revoked) slot.onEvent({ _tag: "SlotRevoked", slot: slot.id })
  else broken(slot, `it wrote a frame of unknown type ${type}`)
}

const watchFrames = (slot: SlotProcess, frames: Readable, onEnd: () => void): void => {
  const reader = SlotFrames.makeFrameReader(NodeInfo.maxFrameBytes, (type, payload) => onFrame(slot, type, payload))
  let isSound = true
  frames.on("data", (chunk: Uint8Array) => {
    if (!isSound) return
    isSound = reader.feed(chunk)
    flush(slot)
    if (!isSound) broken(slot, "it wrote bytes that are no frames")
  })
  frames.on("error", () => {})
  frames.on("close", onEnd)
}

const watchOutput = (slot: SlotProcess, stream: Readable, index: 0 | 1, onEnd: () => void): void => {
  stream.on("data", (chunk: Buffer) => {
    SlotOutput.feed(slot.output, index, chunk)
    if (slot.output.held.length === 0) return
    release(slot, false)
    flush(slot)
  })
  stream.on("error", () => {})
  stream.on("close", () => {
    SlotOutput.end(slot.output, index)
    onEnd()
  })
}

const reasonOf = (slot: SlotProcess, stderr: string): string => {
  const { code, reason, signal } = slot.ended!
  if (reason !== "") return reason
  if (/heap out of memory|Reached heap limit/.test(stderr)) {
    return `ran out of heap memory (V8 limit ${slot.heapLimitMb} MB)`
  }
  if (signal === "SIGKILL") return "killed by SIGKILL (the system does this when memory runs out)"
  if (signal === "SIGABRT") return "killed by SIGABRT (process.abort or a failed assertion)"
  return signal === null ? `exited with code ${code}` : `killed by ${signal}`
}

const report = (slot: SlotProcess): void => {
  if (slot.isReported) return
  slot.isReported = true
  release(slot, true)
  clearTimeout(slot.markerTimer)
  flush(slot)
  const lastStderr = slot.output.last.toString()
  const { code, signal } = slot.ended!
  const death: SlotDeath = { reason: reasonOf(slot, lastStderr), exitCode: code, signal, lastStderr }
  const unclaimed = slot.claims === undefined ? 0 : Claims.takeBack(slot.claims)
  if (slot.claims !== undefined) Claims.close(slot.claims)
  slot.claims = undefined
  slot.onReported()
  slot.onEvent({ _tag: "SlotDied", slot: slot.id, unclaimed, death, ...SlotOutput.remains(slot.output) })
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
    setPaused(slot, false)
    look(0)
  })
  child.on("error", (error) => {
    if (child.pid !== undefined) return
    slot.ended ??= { code: null, signal: null, reason: `the process cannot be started: ${error.message}` }
    report(slot)
  })
  child.on("spawn", () => slot.onEvent({ _tag: "SlotStarted", slot: slot.id }))
  const [, stdout, stderr, , frames] = child.stdio
  watchOutput(slot, stdout as Readable, 0, onEnd("stdout"))
  watchOutput(slot, stderr as Readable, 1, onEnd("stderr"))
  watchFrames(slot, frames as Readable, onEnd("frames"))
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
    return `the process cannot be started: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** Makes a slot of a process that was started as one. */
export const adopt = (
  child: ChildProcess,
  options: Pick<SlotOptions, "id" | "marker" | "onEvent" | "onFile">
): SlotProcess => {
  const pid = child.pid ?? 0
  const nonce = randomUUID()
  const { promise: reported, resolve: onReported } = Promise.withResolvers<void>()
  const slot: SlotProcess = {
    id: options.id,
    child,
    root: { pid, start: ProcessTree.startOf(pid), marker: options.marker, seen: new Map() },
    nonce,
    onEvent: options.onEvent,
    onFile: options.onFile,
    input: child.stdio[3] as Writable,
    output: SlotOutput.make(0, nonce),
    claims: undefined,
    batch: [],
    heapLimitMb: 0,
    ended: undefined,
    isReported: false,
    reported,
    onReported,
    markerTimer: undefined
  }
  slot.input.on("error", () => {})
  watchEnd(slot)
  return slot
}

/** Tells a blank slot what it is for. */
export const prepare = (slot: SlotProcess, told: SlotFrames.PrepareSlot, claims: Claims.Claims | undefined): void => {
  slot.claims = claims
  slot.output = SlotOutput.make(told.outputLimitBytes, slot.nonce)
  slot.input.write(SlotFrames.encodeFrame(SlotFrames.ToSlot.prepare, Buffer.from(JSON.stringify(told))))
}

/** Sends jobs; neighbours in a batch are copied in one go. */
export const sendJobs = (slot: SlotProcess, jobs: ReadonlyArray<PoolJob>): void => {
  let size = SlotFrames.frameHeaderBytes
  for (const job of jobs) size += job.size
  const frame = Buffer.allocUnsafe(size)
  SlotFrames.writeFrameHeader(frame, SlotFrames.ToSlot.jobs)
  let at = SlotFrames.frameHeaderBytes
  for (let i = 0; i < jobs.length;) {
    const { batch, offset } = jobs[i]!
    let end = offset
    for (let job = jobs[i]; job !== undefined && job.batch === batch && job.offset === end; job = jobs[++i]) {
      end += job.size
    }
    frame.set(batch.subarray(offset, end), at)
    at += end - offset
  }
  if (slot.claims !== undefined) Claims.grant(slot.claims, jobs.length)
  slot.input.write(frame)
}

const sendNumber = (slot: SlotProcess, type: number, value: number): void => {
  const payload = new Uint8Array(4)
  Entries.viewOf(payload).setUint32(0, value, true)
  slot.input.write(SlotFrames.encodeFrame(type, payload))
}

/** Takes back the jobs that the slot has not claimed, and says how many. */
export const takeBack = (slot: SlotProcess): number => {
  const count = slot.claims === undefined ? 0 : Claims.takeBack(slot.claims)
  if (count > 0) sendNumber(slot, SlotFrames.ToSlot.revoke, count)
  return count
}

/** Reads the slot's frames, or leaves them in the pipe: then the slot waits when that is full. */
export const setPaused = (slot: SlotProcess, isPaused: boolean): void => {
  const frames = slot.child.stdio[4] as Readable
  if (isPaused) frames.pause()
  else frames.resume()
}

/** Fires the job's `dispy.signal`. */
export const abort = (slot: SlotProcess, jobId: number): void => sendNumber(slot, SlotFrames.ToSlot.abort, jobId)

/** Tells a job what became of a file that it sent. */
export const tellFile = (slot: SlotProcess, answer: SlotFrames.FileSent): void =>
  void slot.input.write(SlotFrames.encodeFrame(SlotFrames.ToSlot.fileSent, Buffer.from(JSON.stringify(answer))))
