/**
 * The program that runs in a job process. It starts blank, is told once which
 * computation to load, and then runs one job after another until its node closes
 * the pipe or kills it. Plain JavaScript without Effect: a slot has to be there in
 * milliseconds and to cost microseconds per job.
 *
 * Each job is claimed before it starts and its reply is written before the next
 * one is claimed; so whatever happens to this process, its node knows which job
 * it happened in.
 */
import * as net from "node:net"
import * as v8 from "node:v8"
import { FromSlot, makeFrameReader, type PrepareSlot, slotInput, ToSlot } from "../domain/wire/SlotFrames.ts"
import * as Channel from "./Channel.ts"
import * as Death from "./Death.ts"
import * as JobLoop from "./JobLoop.ts"
import * as Load from "./Load.ts"
import * as Output from "./Output.ts"
import * as SendFile from "./SendFile.ts"
import * as Stack from "./Stack.ts"

/** Frames from the node carry jobs of at most this size, and it sends nothing else that is large. */
const maxFrameBytes = 256 * 1024 * 1024

const output = Output.make()
let loop: JobLoop.JobLoop | undefined

const prepare = async (payload: Uint8Array): Promise<void> => {
  const told = JSON.parse(Buffer.from(payload).toString()) as PrepareSlot
  try {
    const call = await Load.load(told)
    const made = JobLoop.make(told, call, output, (isNeeded) => isNeeded ? input.ref() : input.unref())
    process.on("beforeExit", () => JobLoop.stuck(made))
    loop = made
    Death.watch(loop)
    Channel.sendNumber(FromSlot.ready, Math.round(v8.getHeapStatistics().heap_size_limit / 2 ** 20))
  } catch (error) {
    Channel.send(FromSlot.refused, Buffer.from(Stack.describe(error)))
  }
}

const onFrame = (type: number, payload: Uint8Array): void => {
  if (type === ToSlot.prepare) void prepare(payload)
  else if (loop === undefined) return
  else if (type === ToSlot.jobs) JobLoop.take(loop, payload)
  else if (type === ToSlot.abort) JobLoop.abort(loop, Buffer.from(payload).readUInt32LE())
  else if (type === ToSlot.fileSent) SendFile.answered(payload)
  else if (type === ToSlot.revoke) JobLoop.revoke(loop, Buffer.from(payload).readUInt32LE())
}

const reader = makeFrameReader(maxFrameBytes, onFrame)
const input = new net.Socket({ fd: slotInput, readable: true, writable: false })
Output.install(output)
input.on("data", (chunk) => {
  reader.feed(chunk)
  if (loop !== undefined) JobLoop.pump(loop)
})
// The node is gone. A job that keeps the event loop busy does not see this: the node's guardian kills it.
input.on("close", () => process.exit(0))
input.on("error", () => process.exit(0))
