/**
 * Runs the jobs of a slot: claim, decode, call, encode, reply. Jobs that return a
 * value run one after another without a turn of the event loop between them, for a
 * few milliseconds at most, so that frames of the node are read in time. Where a
 * computation has several jobs at a time, an `AsyncLocalStorage` tells which of
 * them it is that prints, asks for its signal, or takes the slot down.
 */
import type { AsyncLocalStorage } from "node:async_hooks"
import * as fs from "node:fs"
import * as Entries from "../domain/wire/Entries.ts"
import { FromSlot, outputMarker, type PrepareSlot } from "../domain/wire/SlotFrames.ts"
import * as Channel from "./Channel.ts"
import * as Chunk from "./Chunk.ts"
import type { ClassTable } from "./ClassTable.ts"
import * as JobDepends from "./JobDepends.ts"
import * as JobGlobal from "./JobGlobal.ts"
import * as LargeValues from "./LargeValues.ts"
import type { Call, Emit, Loaded } from "./Load.ts"
import * as MemoryRoom from "./MemoryRoom.ts"
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

/** A job that runs. */
export interface RunningJob extends Output.Printer {
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
  /** Classes whose instances arrive as such: of the computation, or also its own. */
  classes: ClassTable | undefined
  /** Takes away what it took along. */
  leave: (() => void) | undefined
  /** It was replied to. */
  isDone: boolean
}

/** All that a slot knows of its jobs. */
export interface JobLoop {
  readonly call: Call
  readonly around: Loaded["around"]
  readonly output: Output.Output
  readonly told: PrepareSlot
  /** Descriptor of the claims, or -1. */
  readonly claims: number
  /** Working directory of every job, whatever the one before made of it. */
  readonly directory: string
  queue: Array<QueuedJob>
  head: number
  /** Jobs at a time. */
  readonly concurrency: number
  /** Jobs that run, and of these the ones that listen. */
  active: number
  listening: number
  /** The job that runs, where it is one at a time. */
  current: RunningJob | null
  /** The jobs that run, and whose code it is that runs, where there are several; else null. */
  readonly several: Several | null
  /** What every job prints into where it is one at a time. */
  readonly prints: Output.Prints
  /** Says whether the slot has to stay, though nothing but its node could give it anything to do. */
  readonly stay: (isNeeded: boolean) => void
  /** What it was told last. */
  isNeeded: boolean
  /** Whether what children and native code print is told apart by job. */
  readonly isMarking: boolean
  /** Sends a provisional result of the job whose code runs. */
  readonly emit: (value: unknown) => void
  /** A later turn of the event loop will go on with the queue. */
  isScheduled: boolean
  sliceEnd: number
  jobsRun: number
  readonly memory: MemoryRoom.MemoryRoom
  /** It is of no use for the next job, and says so; nothing is claimed any more. */
  isFull: boolean
}

/** Several jobs at a time. */
interface Several {
  readonly jobs: Map<number, RunningJob>
  readonly storage: AsyncLocalStorage<RunningJob>
}

/** Loaded only where it is needed: it costs start-up time. */
const makeSeveral = (): Several => {
  const { AsyncLocalStorage: Storage } = process.getBuiltinModule("node:async_hooks")
  return { jobs: new Map(), storage: new Storage() }
}

/** The job whose code runs, if that is known. */
export const currentOf = (loop: JobLoop): RunningJob | null => {
  if (loop.several === null) return loop.current
  const job = loop.several.storage.getStore()
  return job === undefined || job.isDone ? null : job
}

/** All jobs that run. */
export const runningJobs = (loop: JobLoop): ReadonlyArray<RunningJob> =>
  loop.several !== null ? [...loop.several.jobs.values()] : loop.current === null ? [] : [loop.current]

/** The loop for a computation that is loaded. */
export const make = (
  told: PrepareSlot,
  { around, call }: Loaded,
  output: Output.Output,
  stay: (isNeeded: boolean) => void
): JobLoop => {
  const claims = told.claimsPath === ""
    ? -1
    : fs.openSync(told.claimsPath, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  const loop: JobLoop = {
    call,
    around,
    output,
    told,
    claims,
    directory: process.cwd(),
    queue: [],
    head: 0,
    concurrency: told.concurrency,
    active: 0,
    listening: 0,
    current: null,
    several: told.concurrency > 1 ? makeSeveral() : null,
    prints: Output.makePrints(told.outputLimitBytes),
    stay,
    isNeeded: true,
    isMarking: mayMark(told),
    emit: (value) => emit(currentOf(loop), value),
    isScheduled: false,
    sliceEnd: 0,
    jobsRun: 0,
    memory: MemoryRoom.make(),
    isFull: false
  }
  output.limitBytes = told.outputLimitBytes
  output.printer = () => currentOf(loop)
  output.shouldPass = (printer) => shouldPass(printer as RunningJob)
  const source: JobGlobal.JobSource = {
    current: () => currentOf(loop),
    listens: () => {
      loop.listening++
      lookWhetherNeeded(loop)
    },
    emit: loop.emit,
    directory: loop.directory,
    waits: () => lookWhetherNeeded(loop)
  }
  JobGlobal.install(source, told, around.shared)
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
  const job = loop.several === null ? loop.current : loop.several.jobs.get(jobId)
  if (job === null || job === undefined || job.jobId !== jobId) return
  if (job.controller === null) {
    job.controller = new AbortController()
    loop.listening++
    lookWhetherNeeded(loop)
  }
  job.controller.abort(new DOMException("the job is to end: it was cancelled or ran out of time", "AbortError"))
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

/** Whether what earlier jobs left is enough for the next one. Only a job that is not claimed can go elsewhere. */
const hasRoom = (loop: JobLoop): boolean => {
  const { offset, view } = loop.queue[loop.head]!
  const limitKiB = Entries.jobMemoryKiB(view, offset)
  if (limitKiB === 0 || loop.jobsRun === 0 || loop.claims < 0 || loop.several !== null) return true
  if (MemoryRoom.suffices(loop.memory, limitKiB * 1024)) return true
  loop.isFull = true
  Channel.send(FromSlot.full, Entries.noBytes)
  return false
}

const advance = (loop: JobLoop): void => {
  while (loop.active < loop.concurrency && loop.head < loop.queue.length) {
    if (now() > loop.sliceEnd) return later(loop)
    if (loop.isFull || !hasRoom(loop) || !claim(loop)) return
    const job = loop.queue[loop.head++]!
    if (loop.head === loop.queue.length) {
      loop.queue = []
      loop.head = 0
    }
    start(loop, job)
  }
}

const start = (loop: JobLoop, queued: QueuedJob): void => {
  const { offset, view } = queued
  const startedAt = now()
  const job: RunningJob = {
    jobId: Entries.entryJobId(view, offset),
    attempt: Entries.entryAttempt(view, offset),
    startMillis: performance.timeOrigin + startedAt,
    startedAt,
    controller: null,
    files: null,
    prints: loop.several === null ? loop.prints : null,
    passes: 0,
    passedAt: 0,
    classes: loop.around.classes,
    leave: undefined,
    isDone: false
  }
  loop.active++
  if (loop.several === null) {
    loop.current = job
    execute(loop, job, queued, loop.emit)
  } else {
    loop.several.jobs.set(job.jobId, job)
    loop.several.storage.run(job, execute, loop, job, queued, (value) => emit(job, value))
  }
}

const execute = (loop: JobLoop, job: RunningJob, { bytes, offset, view }: QueuedJob, emitTo: Emit): void => {
  try {
    if (process.cwd() !== loop.directory) process.chdir(loop.directory)
    const flags = Entries.jobFlags(view, offset)
    const isLarge = (flags & Entries.JobFlags.largeArgs) !== 0
    const encoded = isLarge ? LargeValues.readArguments(loop.told, job) : Entries.jobArgs(bytes, view, offset)
    const isChunk = (flags & Entries.JobFlags.chunk) !== 0
    const call = (rest: Uint8Array): unknown => {
      const args = Values.decodeArgs(rest, job.classes)
      return isChunk ? Chunk.run(loop.call, args, job.classes) : loop.call(args, emitTo)
    }
    const value = (flags & Entries.JobFlags.depends) !== 0 ? enter(loop, job, encoded, call) : call(encoded)
    if (Chunk.isThenable(value)) settle(loop, job, value)
    else succeed(loop, job, value)
  } catch (error) {
    fail(loop, job, error)
  }
}

/** Calls with the encoded arguments when what the job takes along is there. */
const enter = (loop: JobLoop, job: RunningJob, bytes: Uint8Array, call: (args: Uint8Array) => unknown): unknown => {
  const callEntered = ({ args, classes, leave }: JobDepends.Entered): unknown => {
    // Its time may have run out while its modules were loaded.
    if (job.isDone) return leave()
    job.classes = classes
    job.leave = leave
    return call(args)
  }
  const entered = JobDepends.enter(bytes, loop.around, loop.directory)
  return entered instanceof Promise ? entered.then(callEntered) : callEntered(entered)
}

const settle = (loop: JobLoop, job: RunningJob, value: PromiseLike<unknown>): void => {
  // A job that listens, or sends a file, may rightly wait for nothing but its node.
  lookWhetherNeeded(loop)
  const after = (end: (result: unknown) => void) => (result: unknown): void => {
    // A job that was answered already (by `Death` or `stuck`) is answered once.
    if (job.isDone) return
    end(result)
    advance(loop)
  }
  Promise.resolve(value).then(
    after((result) => succeed(loop, job, result)),
    after((error) => fail(loop, job, error))
  )
}

/** Larger provisional results would hold up everything else that a node has to say. */
const provisionalLimitBytes = 16 * 1024 * 1024

/** Sends a provisional result at once: a job that never gives up the event loop sends it while it runs. */
const emit = (job: RunningJob | null, value: unknown): void => {
  if (job === null || job.isDone) throw new Error("no job is running that could have a provisional result")
  const result = value === undefined ? Entries.noBytes : Values.encode(value, "provisional result", job.classes)
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

const succeed = (loop: JobLoop, job: RunningJob, value: unknown): void => {
  let result: Uint8Array
  try {
    result = value === undefined ? Entries.noBytes : Values.encode(value, "result", job.classes)
  } catch (error) {
    return reply(loop, job, Entries.Outcome.notCloneable, Values.encodeError(error))
  }
  const limit = loop.told.resultLimitBytes
  if (LargeValues.isLarge(loop.told, result) && result.length <= limit) return succeedLargely(loop, job, result)
  if (result.length <= limit) return reply(loop, job, Entries.Outcome.succeeded, result)
  const large = new RangeError(`the result has ${result.length} bytes, more than the ${limit} that can be sent`)
  reply(loop, job, Entries.Outcome.notCloneable, Values.encodeError(large))
}

const succeedLargely = (loop: JobLoop, job: RunningJob, result: Uint8Array): void => {
  let size: Uint8Array
  try {
    size = LargeValues.writeResult(loop.told, job, result)
  } catch (error) {
    return reply(loop, job, Entries.Outcome.notTransferred, Values.encodeError(error))
  }
  reply(loop, job, Entries.Outcome.succeeded, size, Entries.ReplyFlags.largeResult)
}

/** Replies when the files that the job sends have been answered. */
const reply = (
  loop: JobLoop,
  job: RunningJob,
  outcome: Entries.Outcome,
  result: Uint8Array,
  flags = 0
): void => {
  const isLater = SendFile.later(job.files, () => {
    if (job.isDone) return
    finish(loop, job, outcome, result, flags)
    advance(loop)
  })
  if (!isLater) finish(loop, job, outcome, result, flags)
}

const fail = (loop: JobLoop, job: RunningJob, error: unknown): void => {
  if (error instanceof LargeValues.LargeValueError) {
    return reply(loop, job, Entries.Outcome.notTransferred, Values.encodeError(error))
  }
  Stack.trim(error)
  reply(loop, job, Entries.Outcome.failed, Values.encodeError(error, job.classes))
}

/** Nothing is left in this process that could ever settle what its jobs await. */
export const stuck = (loop: JobLoop): void => {
  const jobs = runningJobs(loop)
  if (jobs.length === 0 || loop.isNeeded) return
  for (const job of jobs) {
    fail(loop, job, new Error("the job awaits a promise that can never settle: nothing is pending in its process"))
  }
  advance(loop)
}

const shouldPass = (job: RunningJob): boolean => {
  if (job.passes >= promptPrints) {
    const time = now()
    if (time - job.passedAt < passMillis) return false
    job.passedAt = time
  }
  job.passes++
  return true
}

/** Where several jobs run in one process, nobody knows whose children and native code it was that printed. */
const mayMark = ({ concurrency, executor, kind }: PrepareSlot): boolean =>
  concurrency === 1 && executor === "process" && kind !== "program"

/** Replies to a running job; it is over then. */
export const finish = (
  loop: JobLoop,
  job: RunningJob,
  outcome: Entries.Outcome,
  result: Uint8Array,
  flags = 0
): void => {
  if (job.isDone) return
  const millis = now() - job.startedAt
  loop.jobsRun++
  const isMarked = loop.isMarking && Output.mayBeNative(loop.output)
  Output.passOn(job)
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
  job.isDone = true
  loop.active--
  loop.current = null
  if (loop.several !== null) loop.several.jobs.delete(job.jobId)
  if (job.controller !== null) loop.listening--
  job.leave?.()
  lookWhetherNeeded(loop)
}

/**
 * With as many jobs as there can be, and none that listens to the node, the end of the event loop means that they await
 * in vain. In a thread it does not: another thread may wake one that waits for shared memory.
 */
export const lookWhetherNeeded = (loop: JobLoop): void => {
  const isNeeded = loop.active < loop.concurrency || loop.listening > 0 || SendFile.isWaiting() ||
    loop.told.executor === "thread"
  if (isNeeded === loop.isNeeded) return
  loop.isNeeded = isNeeded
  loop.stay(isNeeded)
}
