/**
 * Runs jobs inside this process, for tests of everything above an executor: the
 * contract of `JobExecutorProcess` without its processes. Functions only; they run
 * on the event loop and in the directory of this process, so a cancelled job is given
 * up at once and may go on unseen, nothing is known of what it prints, and one that
 * loops for ever hangs the test. Files of the computation are transferred and
 * verified, but jobs do not see them in their directory.
 */
import { Clock, Effect, FiberMap, FiberSet, Layer, Result, Semaphore } from "effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import * as Entries from "../../domain/wire/Entries.ts"
import { argumentsName } from "../../domain/wire/LargeValue.ts"
import { ExecutorConfig } from "../../services/ExecutorConfig.ts"
import { type ExecutorRequest, type ExecutorSession, JobExecutor } from "../../services/JobExecutor.ts"
import * as Chunk from "../../slot/Chunk.ts"
import type { ClassTable } from "../../slot/ClassTable.ts"
import * as JobDepends from "../../slot/JobDepends.ts"
import type * as Load from "../../slot/Load.ts"
import * as Stack from "../../slot/Stack.ts"
import * as Values from "../../slot/Values.ts"
import * as MemoryCode from "./MemoryCode.ts"

/** A job in the hands of the executor. */
interface MemoryJob {
  readonly id: number
  readonly attempt: number
  readonly flags: number
  readonly timeoutMillis: number
  readonly args: Uint8Array
  hasStarted: boolean
  startMillis: number
}

/** Who says when jobs start, and that no more is to happen. */
export interface Watch {
  /** Done when the function may be called. */
  readonly start: (computationId: string, jobId: number) => Effect.Effect<void>
  /** Whether the machine that this stands for has died: no `cleanup` runs there any more. */
  readonly isDead: () => boolean
}

interface Answer {
  readonly outcome: Entries.Outcome
  readonly result: Uint8Array
}

const jobsIn = (batch: Uint8Array): ReadonlyArray<MemoryJob> => {
  const view = Entries.viewOf(batch)
  const jobs: Array<MemoryJob> = []
  for (let offset = 0; offset < batch.length; offset += Entries.entrySize(view, offset)) {
    jobs.push({
      id: Entries.entryJobId(view, offset),
      attempt: Entries.entryAttempt(view, offset),
      flags: Entries.jobFlags(view, offset),
      timeoutMillis: Entries.jobTimeoutMillis(view, offset),
      args: Entries.jobArgs(batch, view, offset),
      hasStarted: false,
      startMillis: 0
    })
  }
  return jobs
}

const failure = (outcome: Entries.Outcome, classes: ClassTable | undefined) => (error: unknown): Answer => {
  Stack.trim(error)
  return { outcome, result: Values.encodeError(error, classes) }
}

const encoded = (value: unknown, classes: ClassTable | undefined): Answer =>
  Result.getOrElse(
    Result.try({
      try: (): Answer => ({
        outcome: Entries.Outcome.succeeded,
        result: value === undefined ? Entries.noBytes : Values.encode(value, "result", classes)
      }),
      catch: failure(Entries.Outcome.notCloneable, classes)
    }),
    (answer) => answer
  )

/** Arguments that came in a file, which goes. */
const takeArguments = async (directory: string, job: MemoryJob): Promise<Uint8Array> => {
  const file = path.join(directory, argumentsName({ jobId: job.id, attempt: job.attempt }))
  const bytes = await fs.readFile(file)
  await fs.rm(file)
  return bytes
}

/** What a call of the computation comes to; never fails. */
const answer = (
  { around, call }: Load.Loaded,
  job: MemoryJob,
  emit: Load.Emit,
  { directory = "", valuesDirectory = "" }: Pick<ExecutorRequest, "directory" | "valuesDirectory">
): Effect.Effect<Answer> =>
  Effect.suspend(() => {
    const isChunk = (job.flags & Entries.JobFlags.chunk) !== 0
    const isLarge = (job.flags & Entries.JobFlags.largeArgs) !== 0
    const takesAlong = (job.flags & Entries.JobFlags.depends) !== 0
    const entered = Effect.tryPromise({
      try: async () => {
        const args = isLarge ? await takeArguments(valuesDirectory, job) : job.args
        return takesAlong
          ? await JobDepends.enter(args, around, directory)
          : { args, classes: around.classes, leave: () => {} }
      },
      catch: failure(Entries.Outcome.failed, around.classes)
    })
    const answered = Effect.flatMap(entered, ({ args: bytes, classes, leave }) =>
      Effect.tryPromise({
        try: async (signal) =>
          MemoryCode.currentJob.run({ id: job.id, signal, emit }, () => {
            const args = Values.decodeArgs(bytes, classes)
            return isChunk ? Chunk.run(call, args, classes) : call(args, emit)
          }),
        catch: failure(Entries.Outcome.failed, classes)
      }).pipe(
        Effect.map((value) => encoded(value, classes)),
        Effect.ensuring(Effect.sync(leave))
      )).pipe(Effect.catch(Effect.succeed))
    if (job.timeoutMillis === 0) return answered
    return Effect.timeoutOrElse(answered, {
      duration: job.timeoutMillis,
      orElse: () => Effect.succeed<Answer>({ outcome: Entries.Outcome.timedOut, result: Entries.noBytes })
    })
  })

const reply = (request: ExecutorRequest, job: MemoryJob, endMillis: number, { outcome, result }: Answer): void =>
  request.onReplies(Entries.encodeReply({
    jobId: job.id,
    attempt: job.attempt,
    outcome,
    flags: 0,
    startMillis: job.startMillis,
    durationMicros: job.hasStarted ? (endMillis - job.startMillis) * 1000 : 0,
    result,
    stdout: Entries.noBytes,
    stderr: Entries.noBytes
  }))

/** A cpu in parts, so that each of several jobs at a time can have one; every small number divides it. */
const cpuParts = 5040

interface Turns {
  cpus: number
  /** Of all computations. */
  readonly all: Semaphore.Semaphore
  /** Give back what each computation has not started. */
  readonly returns: Set<() => void>
}

/** A computation that was not told otherwise has as many cpus as there are. */
const unlimited = 1_000_000

const open = Effect.fnUntraced(function*(
  node: string,
  ipAddr: string,
  turns: Turns,
  watch: Watch | undefined,
  request: ExecutorRequest
) {
  let cpus = request.cpus ?? unlimited
  const own = yield* Semaphore.make(cpus * cpuParts)
  const parts = Math.max(1, Math.floor(cpuParts / Math.max(1, request.computation.concurrency ?? 1)))
  const loaded = yield* MemoryCode.load(node, ipAddr, request, watch?.isDead)
  const clock = yield* Clock.Clock
  const jobs = new Map<number, MemoryJob>()
  const fibers = yield* FiberMap.make<number>()
  const fork = yield* FiberMap.runtime(fibers)()
  const finish = (job: MemoryJob, given: Answer): void => {
    if (jobs.get(job.id) !== job) return
    jobs.delete(job.id)
    reply(request, job, clock.currentTimeMillisUnsafe(), given)
  }
  const emitOf = (job: MemoryJob): Load.Emit => (value) => {
    if (jobs.get(job.id) !== job) return
    const result = value === undefined
      ? Entries.noBytes
      : Values.encode(value, "provisional result", loaded.around.classes)
    reply(request, job, clock.currentTimeMillisUnsafe(), { outcome: Entries.Outcome.provisional, result })
  }
  const run = (job: MemoryJob): Effect.Effect<void> => {
    const started = Effect.suspend(() => {
      job.hasStarted = true
      job.startMillis = clock.currentTimeMillisUnsafe()
      const answered = answer(loaded, job, emitOf(job), request)
      return Effect.map(answered, (given) => finish(job, given))
    })
    const watched = watch === undefined
      ? started
      : Effect.andThen(Effect.suspend(() => watch.start(request.computation.id, job.id)), started)
    return own.withPermits(parts)(turns.all.withPermits(parts)(watched))
  }
  const stop = (job: MemoryJob, outcome: Entries.Outcome): void => {
    finish(job, { outcome, result: Entries.noBytes })
    // The map interrupts the fiber whose place is taken.
    fork(job.id, Effect.void)
  }
  const returnQueued = (): void => {
    for (const job of jobs.values()) if (!job.hasStarted) stop(job, Entries.Outcome.returned)
  }
  const session: ExecutorSession = {
    dispatch: (batch) => {
      for (const job of jobsIn(batch)) {
        jobs.set(job.id, job)
        fork(job.id, run(job))
      }
      if (cpus === 0 || turns.cpus === 0) returnQueued()
    },
    cancel: (jobIds) => {
      for (const id of jobIds) {
        const job = jobs.get(id)
        if (job !== undefined) stop(job, Entries.Outcome.cancelled)
      }
    },
    // Its jobs run on the event loop that would have to wait.
    setPaused: () => {},
    returnQueued,
    setCpus: (wanted) => {
      cpus = wanted
      // Job ids are positive.
      fork(-1, own.resize(cpus * cpuParts))
      if (cpus === 0) returnQueued()
    },
    jobs: () => {
      const all = [...jobs.values()]
      const idsOf = (hasStarted: boolean) => all.filter((job) => job.hasStarted === hasStarted).map((job) => job.id)
      return { running: idsOf(true), waiting: idsOf(false) }
    },
    answerFile: () => {}
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => turns.returns.add(returnQueued)),
    () =>
      Effect.sync(() => {
        turns.returns.delete(returnQueued)
        jobs.clear()
      })
  )
  return session
})

const make = Effect.fnUntraced(function*(watch: Watch | undefined) {
  const settings = yield* ExecutorConfig
  const turns: Turns = { cpus: settings.cpus, all: yield* Semaphore.make(settings.cpus * cpuParts), returns: new Set() }
  const fork = yield* FiberSet.makeRuntime()
  return JobExecutor.of({
    cpus: () => turns.cpus,
    setCpus: (cpus) => {
      turns.cpus = cpus
      fork(turns.all.resize(cpus * cpuParts))
      if (cpus === 0) { for (const giveBack of turns.returns) giveBack() }
    },
    open: (request) => open(settings.nodeName, settings.ipAddr, turns, watch, request)
  })
})

/** Jobs run on this process's event loop. */
export const layer: Layer.Layer<JobExecutor, never, ExecutorConfig> = Layer.effect(JobExecutor, make(undefined))

/** The same, for somebody who says when jobs start. */
export const layerWatched = (watch: Watch): Layer.Layer<JobExecutor, never, ExecutorConfig> =>
  Layer.effect(JobExecutor, make(watch))
