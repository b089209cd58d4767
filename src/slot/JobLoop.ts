/**
 * Runs the jobs of a slot: claim, decode, call, encode, reply. Jobs that return a
 * value run one after another without a turn of the event loop between them, for a
 * few milliseconds at most, so that frames of the node are read in time.
 */
import * as fs from "node:fs"
import * as BoundedOutput from "../domain/wire/BoundedOutput.ts"
import * as Entries from "../domain/wire/Entries.ts"
import { FromSlot, outputMarker, type PrepareSlot } from "../domain/wire/SlotFrames.ts"
import * as Channel from "./Channel.ts"
import * as Chunk from "./Chunk.ts"
import * as JobGlobal from "./JobGlobal.ts"
import * as LargeValues from "./LargeValues.ts"
import type { Call } from "./Load.ts"
import * as Output from "./Output.ts"
import * as SendFile from "./SendFile.ts"
import * as Stack from "./Stack.ts"
import * as Values from "./Values.ts"

// As they are before a job can replace them.
const { readSync } = fs
const { setImmediate } = globalThis
const now = performance.now.bind(performance)

/** The event loop gets its turn after so many milliseconds. */
const sliceMillis = 4

/** A job passes on so many prints at once, and then what it has printed every `passMillis`. */
const promptPrints = 1000
const passMillis = 10

/** A job that was sent. */
interface QueuedJob {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly offset: number
}

/** The job that runs. */
interface RunningJob {
  readonly jobId: number
  readonly attempt: number
  readonly startMillis: number
  readonly startedAt: number
  controller: AbortController | null
  /** Files that it sends and that were not answered; null when it has sent none. */
  files: Set<number> | null
  /** How often and when it last passed on what it printed. */
  passes: number
  passedAt: number
}

/** All that a slot knows of its jobs. */
export interface JobLoop {
  readonly call: Call
  readonly output: Output.Output
  readonly told: PrepareSlot
  /** Descriptor of the claims, or -1. */
  readonly claims: number
  /** Working directory of every job, whatever the one before made of it. */
  readonly directory: string
  queue: Array<QueuedJob>
  head: number
  current: RunningJob | null
  /** Says whether the process has to stay, though nothing but its node could give it anything to do. */
  readonly stay: (isNeeded: boolean) => void
  /** Sends a provisional result of the running job. */
  readonly emit: (value: unknown) => void
  /** A later turn of the event loop will go on with the queue. */
  isScheduled: boolean
  sliceEnd: number
  jobsRun: number
}

/** The loop for a computation that is loaded. */
export const make = (
  told: PrepareSlot,
  call: Call,
  output: Output.Output,
  stay: (isNeeded: boolean) => void
): JobLoop => {
  const claims = told.claimsPath === ""
    ? -1
    : fs.openSync(told.claimsPath, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  output.stdout = BoundedOutput.make(told.outputLimitBytes)
  output.stderr = BoundedOutput.make(told.outputLimitBytes)
  const loop: JobLoop = {
    call,
    output,
    told,
    claims,
    directory: process.cwd(),
    queue: [],
    head: 0,
    current: null,
    stay,
    emit: (value) => emit(loop, value),
    isScheduled: false,
    sliceEnd: 0,
    jobsRun: 0
  }
  output.shouldPass = () => shouldPass(loop)
  JobGlobal.install(loop, told)
  return loop
}

/** Queues the entries of a batch. */
export const take = (loop: JobLoop, bytes: Uint8Array): void => {
  const view = Entries.viewOf(bytes)
  for (let offset = 0; offset < bytes.length; offset += Entries.entrySize(view, offset)) {
    loop.queue.push({ bytes, view, offset })
  }
}

/** Forgets the last `count` jobs: they run elsewhere. */
export const revoke = (loop: JobLoop, count: number): void => {
  loop.queue.length = Math.max(loop.head, loop.queue.length - count)
  Channel.send(FromSlot.revoked, Entries.noBytes)
}

/** Tells the job that it should end. */
export const abort = (loop: JobLoop, jobId: number): void => {
  const { current } = loop
  if (current === null || current.jobId !== jobId) return
  current.controller ??= new AbortController()
  current.controller.abort(new DOMException("the job is to end: it was cancelled or ran out of time", "AbortError"))
}

const claimed = new Uint8Array(1)

/** Whether the next job is this slot's. If not, the node has taken it back and says so in a frame to come. */
const claim = (loop: JobLoop): boolean => {
  if (loop.claims < 0) return true
  try {
    if (readSync(loop.claims, claimed, 0, 1, null) === 1) return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return false
  }
  // No writer: the node is gone.
  return Channel.leave()
}

/** Runs what is queued. */
export const pump = (loop: JobLoop): void => {
  loop.sliceEnd = now() + sliceMillis
  advance(loop)
}

const later = (loop: JobLoop): void => {
  if (loop.isScheduled) return
  loop.isScheduled = true
  setImmediate(() => {
    loop.isScheduled = false
    pump(loop)
  })
}

const advance = (loop: JobLoop): void => {
  while (loop.current === null && loop.head < loop.queue.length) {
    if (now() > loop.sliceEnd) return later(loop)
    if (!claim(loop)) return
    const job = loop.queue[loop.head++]!
    if (loop.head === loop.queue.length) {
      loop.queue = []
      loop.head = 0
    }
    start(loop, job)
  }
}

const start = (loop: JobLoop, job: QueuedJob): void => {
  const { bytes, offset, view } = job
  const startedAt = now()
  loop.current = {
    jobId: Entries.entryJobId(view, offset),
    attempt: Entries.entryAttempt(view, offset),
    startMillis: performance.timeOrigin + startedAt,
    startedAt,
    controller: null,
    files: null,
    passes: 0,
    passedAt: 0
  }
  loop.output.isOpen = true
  try {
    if (process.cwd() !== loop.directory) process.chdir(loop.directory)
    const flags = Entries.jobFlags(view, offset)
    const isLarge = (flags & Entries.JobFlags.largeArgs) !== 0
    const encoded = isLarge ? LargeValues.readArguments(loop.told, loop.current) : Entries.jobArgs(bytes, view, offset)
    const args = Values.decodeArgs(encoded)
    const isChunk = (flags & Entries.JobFlags.chunk) !== 0
    const value = isChunk ? Chunk.run(loop.call, args) : loop.call(args, loop.emit)
    if (Chunk.isThenable(value)) settle(loop, value)
    else succeed(loop, value)
  } catch (error) {
    fail(loop, error)
  }
}

const settle = (loop: JobLoop, value: PromiseLike<unknown>): void => {
  const job = loop.current
  // A job that listens, or sends a file, may rightly wait for nothing but its node.
  if (job?.controller === null && !(job.files !== null && job.files.size > 0)) loop.stay(false)
  const after = (end: (result: unknown) => void) => (result: unknown): void => {
    // A job that was answered already (by `Death` or `stuck`) is answered once.
    if (loop.current !== job) return
    loop.stay(true)
    end(result)
    advance(loop)
  }
  Promise.resolve(value).then(after((result) => succeed(loop, result)), after((error) => fail(loop, error)))
}

/** Larger provisional results would hold up everything else that a node has to say. */
const provisionalLimitBytes = 16 * 1024 * 1024

/** Sends a provisional result at once: a job that never gives up the event loop sends it while it runs. */
const emit = (loop: JobLoop, value: unknown): void => {
  const { current: job } = loop
  if (job === null) throw new Error("no job is running that could have a provisional result")
  const result = value === undefined ? Entries.noBytes : Values.encode(value, "provisional result")
  if (result.length > provisionalLimitBytes) {
    throw new RangeError(
      `the provisional result has ${result.length} bytes, more than the ${provisionalLimitBytes} that can be sent; ` +
        "write it to a file and send that with dispy.sendFile"
    )
  }
  Channel.sendReply(FromSlot.provisional, {
    jobId: job.jobId,
    attempt: job.attempt,
    outcome: Entries.Outcome.provisional,
    flags: 0,
    startMillis: job.startMillis,
    durationMicros: (now() - job.startedAt) * 1000,
    result,
    stdout: Entries.noBytes,
    stderr: Entries.noBytes
  })
}

const succeed = (loop: JobLoop, value: unknown): void => {
  let result: Uint8Array
  try {
    result = value === undefined ? Entries.noBytes : Values.encode(value, "result")
  } catch (error) {
    return reply(loop, Entries.Outcome.notCloneable, Values.encodeError(error))
  }
  const limit = loop.told.resultLimitBytes
  if (LargeValues.isLarge(loop.told, result) && result.length <= limit) return succeedLargely(loop, result)
  if (result.length <= limit) return reply(loop, Entries.Outcome.succeeded, result)
  const large = new RangeError(`the result has ${result.length} bytes, more than the ${limit} that can be sent`)
  reply(loop, Entries.Outcome.notCloneable, Values.encodeError(large))
}

const succeedLargely = (loop: JobLoop, result: Uint8Array): void => {
  let size: Uint8Array
  try {
    size = LargeValues.writeResult(loop.told, loop.current!, result)
  } catch (error) {
    return reply(loop, Entries.Outcome.notTransferred, Values.encodeError(error))
  }
  reply(loop, Entries.Outcome.succeeded, size, Entries.ReplyFlags.largeResult)
}

/** Replies when the files that the job sends have been answered. */
const reply = (loop: JobLoop, outcome: Entries.Outcome, result: Uint8Array, flags = 0): void => {
  const job = loop.current
  const isLater = SendFile.later(job?.files ?? null, () => {
    if (loop.current !== job) return
    finish(loop, outcome, result, flags)
    advance(loop)
  })
  if (!isLater) finish(loop, outcome, result, flags)
}

const fail = (loop: JobLoop, error: unknown): void => {
  if (error instanceof LargeValues.LargeValueError) {
    return reply(loop, Entries.Outcome.notTransferred, Values.encodeError(error))
  }
  Stack.trim(error)
  reply(loop, Entries.Outcome.failed, Values.encodeError(error))
}

/** Nothing is left in this process that could ever settle what the job awaits. */
export const stuck = (loop: JobLoop): void => {
  if (loop.current === null) return
  loop.stay(true)
  fail(loop, new Error("the job awaits a promise that can never settle: nothing is pending in its process"))
  advance(loop)
}

const shouldPass = (loop: JobLoop): boolean => {
  const { current } = loop
  if (current === null) return false
  if (current.passes >= promptPrints) {
    const time = now()
    if (time - current.passedAt < passMillis) return false
    current.passedAt = time
  }
  current.passes++
  return true
}

/** Replies to the running job; it is over then. */
export const finish = (loop: JobLoop, outcome: Entries.Outcome, result: Uint8Array, flags = 0): void => {
  const { current: job, output } = loop
  if (job === null) return
  const millis = now() - job.startedAt
  loop.jobsRun++
  const isMarked = loop.told.kind !== "program" && Output.mayBeNative(output)
  Output.passOn(output)
  if (isMarked) {
    const marker = Buffer.from(outputMarker(loop.told.nonce, job.jobId))
    Output.writeAll(1, marker)
    Output.writeAll(2, marker)
  }
  Channel.sendReply(isMarked ? FromSlot.replyMarked : FromSlot.reply, {
    jobId: job.jobId,
    attempt: job.attempt,
    outcome,
    flags,
    startMillis: job.startMillis,
    durationMicros: millis * 1000,
    result,
    stdout: Entries.noBytes,
    stderr: Entries.noBytes
  })
  loop.current = null
  output.isOpen = false
}
