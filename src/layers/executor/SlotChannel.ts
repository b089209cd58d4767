/**
 * A slot's frames as its node sees them, whether it is a process or a thread: jobs
 * and orders out, events for the pool in, and the claims.
 */
import * as fs from "node:fs"
import type { Readable, Writable } from "node:stream"
import type { PoolEvent } from "../../domain/node/SlotPoolEvent.ts"
import type { PoolJob } from "../../domain/node/SlotPoolState.ts"
import * as NodeInfo from "../../domain/NodeInfo.ts"
import * as Bytes from "../../domain/wire/Bytes.ts"
import * as Entries from "../../domain/wire/Entries.ts"
import * as SlotFrames from "../../domain/wire/SlotFrames.ts"
import * as Claims from "./Claims.ts"
import * as Fifos from "./Fifos.ts"
import * as SlotOutput from "./SlotOutput.ts"

/** A reply waits so long for output that other processes may have swallowed. */
const markerMillis = 1_000

/** The way to a slot and back. */
export interface SlotChannel {
  readonly id: number
  readonly nonce: string
  readonly onEvent: (event: PoolEvent) => void
  /** A job of the slot sends a file. */
  readonly onFile: (payload: Uint8Array) => void
  /** Takes frames that no slot sends; says whether it knew what to do with one. */
  readonly onOther: (type: number, payload: Uint8Array) => boolean
  readonly input: Writable
  readonly frames: Readable
  output: SlotOutput.SlotOutput
  claims: Fifos.Fifo | undefined
  /** Replies read since the last that were passed on. */
  batch: Array<Uint8Array>
  heapLimitMb: number
  markerTimer: NodeJS.Timeout | undefined
}

/** A channel over these streams. */
export const make = (
  options: Pick<SlotChannel, "id" | "nonce" | "onEvent" | "onFile" | "onOther" | "input" | "frames">
): SlotChannel => {
  options.input.on("error", () => {})
  return {
    ...options,
    output: SlotOutput.make(0, options.nonce),
    claims: undefined,
    batch: [],
    heapLimitMb: 0,
    markerTimer: undefined
  }
}

/** Passes on the replies read so far. */
export const flush = (slot: SlotChannel): void => {
  if (slot.batch.length === 0) return
  const entries = Bytes.concat(slot.batch)
  slot.batch = []
  if (Entries.countReplies(entries) < 1) return broken(slot, "it wrote a malformed reply")
  slot.onEvent({ _tag: "Replied", slot: slot.id, entries })
}

const broken = (slot: SlotChannel, reason: string): void => slot.onEvent({ _tag: "SlotBroken", slot: slot.id, reason })

/** Passes on what has all its output; with `isFinal` everything. */
export const release = (slot: SlotChannel, isFinal: boolean): void => {
  const released = SlotOutput.release(slot.output, isFinal)
  if (released.length > 0) slot.batch.push(...released)
  clearTimeout(slot.markerTimer)
  if (slot.output.held.length === 0) return
  slot.markerTimer = setTimeout(() => {
    release(slot, true)
    flush(slot)
  }, markerMillis)
}

const onReply = (slot: SlotChannel, payload: Uint8Array, isMarked: boolean): void => {
  if (!isMarked && SlotOutput.isPlain(slot.output)) return void slot.batch.push(payload)
  if (Entries.countReplies(payload) !== 1) return broken(slot, "it wrote a malformed reply")
  SlotOutput.hold(slot.output, payload, isMarked)
  release(slot, false)
}

const numberIn = (payload: Uint8Array): number => payload.length === 4 ? Entries.viewOf(payload).getUint32(0, true) : 0

const onFrame = (slot: SlotChannel, type: number, payload: Uint8Array): void => {
  const { FromSlot } = SlotFrames
  if (type === FromSlot.reply) return onReply(slot, payload, false)
  if (type === FromSlot.replyMarked) return onReply(slot, payload, true)
  if (type === FromSlot.output) {
    if (!SlotOutput.pass(slot.output, payload)) broken(slot, "it wrote malformed output")
    return
  }
  if (type === FromSlot.provisional) {
    const isProvisional = Entries.countReplies(payload) === 1 &&
      Entries.replyOutcome(Entries.viewOf(payload), 0) === Entries.Outcome.provisional
    if (isProvisional) return void slot.batch.push(payload)
    return broken(slot, "it wrote a malformed provisional result")
  }
  if (type === FromSlot.sendFile) return slot.onFile(payload)
  // What was read before is told before.
  flush(slot)
  if (type === FromSlot.ready) {
    slot.heapLimitMb = numberIn(payload)
    if (slot.claims !== undefined) Fifos.unlink(slot.claims)
    slot.onEvent({ _tag: "SlotReady", slot: slot.id })
  } else if (type === FromSlot.refused) {
    slot.onEvent({ _tag: "SlotRefused", slot: slot.id, reason: Buffer.from(payload).toString() })
  } else if (type === FromSlot.listening) {
    slot.onEvent({ _tag: "SlotListening", slot: slot.id, jobId: numberIn(payload) })
  } else if (type === FromSlot.settingUp) {
    const step = Buffer.from(payload).toString()
    if (step !== "setup" && step !== "setupSlot") return broken(slot, "it wrote a malformed frame about its setup")
    slot.onEvent({ _tag: "SlotSettingUp", slot: slot.id, step })
  } else if (type === FromSlot.revoked) slot.onEvent({ _tag: "SlotRevoked", slot: slot.id })
  else if (!slot.onOther(type, payload)) broken(slot, `it wrote a frame of unknown type ${type}`)
}

/** Tells a slot what it is for, before it is sent anything else. */
export const expect = (slot: SlotChannel, told: SlotFrames.PrepareSlot, claims: Fifos.Fifo | undefined): void => {
  slot.claims = claims
  const isShared = told.executor === "thread" || told.concurrency > 1
  slot.output = SlotOutput.make(told.outputLimitBytes, slot.nonce, told.concurrency, isShared)
}

/** Reads frames from now on. */
export const watch = (slot: SlotChannel, onEnd: () => void): void => {
  const { frames } = slot
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

/** Reads at once all that was written to the FIFO that the frames come from. */
export const drain = ({ frames }: SlotChannel, { descriptor }: Fifos.Fifo): void => {
  // What the stream has read and not passed on, if it was paused.
  while (frames.read() !== null);
  for (;;) {
    const chunk = Buffer.allocUnsafeSlow(64 * 1024)
    try {
      const size = fs.readSync(descriptor, chunk, 0, chunk.length, null)
      if (size === 0) return
      frames.emit("data", chunk.subarray(0, size))
    } catch {
      // EAGAIN: there is nothing left.
      return
    }
  }
}

/** Sends jobs; neighbours in a batch are copied in one go. */
export const sendJobs = (slot: SlotChannel, jobs: ReadonlyArray<PoolJob>): void => {
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

/** Sends a frame whose payload is one number. */
export const sendNumber = (slot: SlotChannel, type: number, value: number): void => {
  const payload = new Uint8Array(4)
  Entries.viewOf(payload).setUint32(0, value, true)
  slot.input.write(SlotFrames.encodeFrame(type, payload))
}

/** Takes back the jobs that the slot has not claimed, and says how many. */
export const takeBack = (slot: SlotChannel): number => {
  const count = slot.claims === undefined ? 0 : Claims.takeBack(slot.claims)
  if (count > 0) sendNumber(slot, SlotFrames.ToSlot.revoke, count)
  return count
}

/** Reads the slot's frames, or leaves them in the pipe: then the slot waits when that is full. */
export const setPaused = ({ frames }: SlotChannel, isPaused: boolean): void => {
  if (isPaused) frames.pause()
  else frames.resume()
}

/** Nothing is read any more: gives up the claims and says how many of the jobs in flight never started. */
export const close = (slot: SlotChannel): number => {
  release(slot, true)
  clearTimeout(slot.markerTimer)
  flush(slot)
  const { claims } = slot
  slot.claims = undefined
  if (claims === undefined) return 0
  const unclaimed = Claims.takeBack(claims)
  Fifos.close(claims)
  return unclaimed
}

/** Fires the job's `dispy.signal`. */
export const abort = (slot: SlotChannel, jobId: number): void => sendNumber(slot, SlotFrames.ToSlot.abort, jobId)

/** Tells a job what became of a file that it sent. */
export const tellFile = (slot: SlotChannel, answer: SlotFrames.FileSent): void =>
  void slot.input.write(SlotFrames.encodeFrame(SlotFrames.ToSlot.fileSent, Buffer.from(JSON.stringify(answer))))
