/** The slot's end of the two pipes to its node, or of a thread's FIFOs: frames out, written at once and whole. */
import * as fs from "node:fs"
import type { KeptOutput } from "../domain/wire/BoundedOutput.ts"
import * as Entries from "../domain/wire/Entries.ts"
import {
  frameHeaderBytes,
  FromSlot,
  outputHeaderBytes,
  slotOutput,
  writeFrameHeader
} from "../domain/wire/SlotFrames.ts"

// The functions as they are before a job can replace them.
const { writeSync } = fs

let descriptor = slotOutput

/** Writes to this descriptor from now on: a thread has one of its own. */
export const use = (opened: number): void => {
  descriptor = opened
}

const noted = Buffer.allocUnsafeSlow(64 * 1024)

/** Ends this process on the spot: without its node a slot is of no use to anybody. */
export const leave = (): never => {
  process.kill(process.pid, "SIGKILL")
  throw new Error("unreachable")
}

const writeAll = (bytes: Uint8Array): void => {
  try {
    for (let offset = 0; offset < bytes.length;) offset += writeSync(descriptor, bytes, offset)
  } catch {
    leave()
  }
}

/** A frame in the shared memory if it fits. */
const frameOf = (size: number): Buffer => size <= noted.length ? noted.subarray(0, size) : Buffer.allocUnsafeSlow(size)

/** Sends a frame. */
export const send = (type: number, payload: Uint8Array): void => {
  const frame = frameOf(frameHeaderBytes + payload.length)
  writeFrameHeader(frame, type)
  frame.set(payload, frameHeaderBytes)
  writeAll(frame)
}

/** Sends a frame whose payload is one number. */
export const sendNumber = (type: number, value: number): void => {
  const frame = frameOf(frameHeaderBytes + 4)
  writeFrameHeader(frame, type)
  frame.writeUInt32LE(value, frameHeaderBytes)
  writeAll(frame)
}

/** Sends what a running job printed to stdout (1) or stderr (2). */
export const sendOutput = (jobId: number, printedTo: number, { cut, head, tail }: KeptOutput): void => {
  const textAt = frameHeaderBytes + outputHeaderBytes
  const frame = frameOf(textAt + head.length + tail.length)
  writeFrameHeader(frame, FromSlot.output)
  frame[frameHeaderBytes] = printedTo
  frame.writeDoubleLE(cut, frameHeaderBytes + 1)
  frame.writeUInt32LE(head.length, frameHeaderBytes + 9)
  frame.writeUInt32LE(jobId, frameHeaderBytes + 13)
  frame.set(head, textAt)
  frame.set(tail, textAt + head.length)
  writeAll(frame)
}

/** Sends a reply. */
export const sendReply = (type: number, reply: Entries.ReplyFields): void => {
  const frame = frameOf(frameHeaderBytes + Entries.replySize(reply))
  writeFrameHeader(frame, type)
  Entries.writeReply(frame, Entries.viewOf(frame), frameHeaderBytes, reply)
  writeAll(frame)
}
