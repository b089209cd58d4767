/**
 * What a job process and a thread have in common: frames from the node come in on
 * one descriptor, the first says which computation to load, and then one job after
 * another runs until the node closes the descriptor or ends the slot.
 */
import * as net from "node:net"
import * as v8 from "node:v8"
import { FromSlot, makeFrameReader, type PrepareSlot, type SetupStep, ToSlot } from "../domain/wire/SlotFrames.ts"
import * as Channel from "./Channel.ts"
import * as Death from "./Death.ts"
import * as JobLoop from "./JobLoop.ts"
import * as Load from "./Load.ts"
import * as Output from "./Output.ts"
import * as SendFile from "./SendFile.ts"
import * as Stack from "./Stack.ts"
import type { Given } from "./Surroundings.ts"

/** Frames from the node carry jobs of at most this size, and it sends nothing else that is large. */
const maxFrameBytes = 256 * 1024 * 1024

/** A slot. */
export interface Slot {
  readonly output: Output.Output
  readonly input: net.Socket
  /** Once it has loaded its computation. */
  loop: JobLoop.JobLoop | undefined
}

/** Reads frames from this descriptor, of a process or a thread; those that are not about jobs go to `onOther`. */
export const listen = (
  descriptor: number,
  isThread: boolean,
  onOther: (slot: Slot, type: number, payload: Uint8Array) => void
): Slot => {
  const input = new net.Socket({ fd: descriptor, readable: true, writable: false })
  const slot: Slot = { output: Output.make(), input, loop: undefined }
  Output.install(slot.output, isThread)
  const onFrame = (type: number, payload: Uint8Array): void => {
    const { loop } = slot
    if (loop === undefined) onOther(slot, type, payload)
    else if (type === ToSlot.jobs) JobLoop.take(loop, payload)
    else if (type === ToSlot.abort) JobLoop.abort(loop, Buffer.from(payload).readUInt32LE())
    else if (type === ToSlot.revoke) JobLoop.revoke(loop, Buffer.from(payload).readUInt32LE())
    else if (type === ToSlot.fileSent) {
      SendFile.answered(payload)
      JobLoop.lookWhetherNeeded(loop)
    } else onOther(slot, type, payload)
  }
  const reader = makeFrameReader(maxFrameBytes, onFrame)
  input.on("data", (chunk) => {
    reader.feed(chunk)
    if (slot.loop !== undefined) JobLoop.pump(slot.loop)
  })
  // The node is gone. A job that keeps the event loop busy does not see this: the node's guardian kills it.
  input.on("close", () => process.exit(0))
  input.on("error", () => process.exit(0))
  return slot
}

/** Tells the node that this is ready. */
export const announce = (): void =>
  Channel.sendNumber(FromSlot.ready, Math.round(v8.getHeapStatistics().heap_size_limit / 2 ** 20))

/** Tells the node that it is not, and why. */
export const refuse = ({ output }: Slot, error: unknown): void =>
  Channel.send(FromSlot.refused, Buffer.from(`${Stack.describe(error)}${Output.takeEarly(output)}`))

/** Tells the node what of the computation runs now, before this is ready. */
export const settingUp = (step: SetupStep): void => Channel.send(FromSlot.settingUp, Buffer.from(step))

/** Loads the computation and takes its jobs from then on; `state` is what `setup` left, where that is in memory. */
export const serve = async (slot: Slot, told: PrepareSlot, state?: Given): Promise<void> => {
  try {
    const loaded = await Load.load(told, () => settingUp("setupSlot"), state)
    const { input } = slot
    slot.output.early = null
    const loop = JobLoop.make(told, loaded, slot.output, (isNeeded) => isNeeded ? input.ref() : input.unref())
    process.on("beforeExit", () => JobLoop.stuck(loop))
    slot.loop = loop
    Death.watch(loop)
    announce()
  } catch (error) {
    refuse(slot, error)
  }
}
