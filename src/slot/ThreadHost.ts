/**
 * A job process that runs no jobs itself: its threads are the slots of one
 * computation, and share memory. The node talks to each thread through FIFOs of
 * the thread's own; this only starts and stops them and says how they ended.
 */
import * as v8 from "node:v8"
import { Worker } from "node:worker_threads"
import { FromSlot, type LifecycleRun, type StartThread, type ThreadEnded, ToSlot } from "../domain/wire/SlotFrames.ts"
import * as Channel from "./Channel.ts"
import * as Setup from "./Setup.ts"
import * as Stack from "./Stack.ts"
import type { Given, State } from "./Surroundings.ts"

const isSource = import.meta.url.endsWith(".ts")
const threadFile = new URL(isSource ? "./thread.ts" : "./thread.js", import.meta.url)

/** What a thread is started with. */
export interface ThreadData {
  readonly start: StartThread
  /**
   * What `setup` left in the host. Threads get it by structured clone, or where there are classes whose instances arrive
   * as such, as bytes with the shared memory beside them: a `SharedArrayBuffer` anywhere in it is the same memory in all
   * threads, also in those that are started later.
   */
  readonly state: Given
}

/** Threads have the same limit as their process. */
const limitMb = Math.round(v8.getHeapStatistics().heap_size_limit / 2 ** 20)

const reasonOf = (error: unknown): string =>
  (error as NodeJS.ErrnoException).code === "ERR_WORKER_OUT_OF_MEMORY"
    ? `ran out of heap memory (V8 limit ${limitMb} MB)`
    : Stack.describe(error)

const startThread = (threads: Map<number, Worker>, start: StartThread, state: Given): void => {
  const tellEnd = (exitCode: number, reason: string): void => {
    threads.delete(start.slot)
    const ended: ThreadEnded = { slot: start.slot, exitCode, reason }
    Channel.send(FromSlot.threadEnded, Buffer.from(JSON.stringify(ended)))
  }
  const workerData: ThreadData = { start, state }
  let worker: Worker
  try {
    worker = new Worker(threadFile, { workerData, env: { ...process.env, ...start.environment } })
  } catch (error) {
    return tellEnd(1, `its thread cannot be started: ${Stack.describe(error)}`)
  }
  threads.set(start.slot, worker)
  let reason = ""
  worker.on("error", (error) => {
    reason = reasonOf(error)
  })
  worker.on("exit", (code) => tellEnd(code, reason === "" ? `its thread exited with code ${code}` : reason))
}

const cleanUp = async (
  threads: ReadonlyMap<number, Worker>,
  told: LifecycleRun,
  state: State
): Promise<void> => {
  await Promise.all([...threads.values()].map((worker) => worker.terminate()))
  Channel.send(FromSlot.cleanedUp, Buffer.from(await Setup.cleanUpInHost(told, state)))
}

/** Makes this process a host; the result takes the frames that are for hosts. */
export const make = (state: Setup.HostState): (type: number, payload: Uint8Array) => void => {
  const threads = new Map<number, Worker>()
  const read = (payload: Uint8Array): unknown => JSON.parse(Buffer.from(payload).toString())
  return (type, payload) => {
    if (type === ToSlot.startThread) startThread(threads, read(payload) as StartThread, state.given)
    else if (type === ToSlot.stopThread) void threads.get(Buffer.from(payload).readUInt32LE())?.terminate()
    else if (type === ToSlot.cleanUp) void cleanUp(threads, read(payload) as LifecycleRun, state.own)
  }
}
