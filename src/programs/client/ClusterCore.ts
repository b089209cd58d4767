/**
 * What both APIs do with a cluster, in plain synchronous calls: submit, cancel,
 * count, look. One per cluster, over the `Scheduler` in the context.
 */
import { Effect, Result, type Scope } from "effect"
import { join } from "node:path"
import {
  ArgumentTooLarge,
  ClusterClosed,
  InvalidArgument,
  InvalidOption,
  type JobNotWritten,
  NotResubmittable
} from "../../domain/ClusterError.ts"
import type { Computation } from "../../domain/Computation.ts"
import type { DispyNode } from "../../domain/DispyNode.ts"
import type { CannotStart, ComputationRefused } from "../../domain/NodeError.ts"
import { maxValueBytes } from "../../domain/NodeInfo.ts"
import type { JobDetails } from "../../domain/recovery/JobEntries.ts"
import {
  type GatherFiles,
  hasEnded,
  type HeldArguments,
  type JobStatus,
  type Terms
} from "../../domain/scheduler/JobRecord.ts"
import * as Trials from "../../domain/scheduler/Trials.ts"
import type { FileTooLarge, TransferFailed } from "../../domain/TransferError.ts"
import { JobFlags, noBytes } from "../../domain/wire/Entries.ts"
import * as JobDepends from "../../domain/wire/JobDepends.ts"
import * as Partials from "../../layers/files/Partials.ts"
import type { JobJournal } from "../../services/RecoverLog.ts"
import { type NodeControl, type NodeFileRequest, Scheduler } from "../../services/Scheduler.ts"
import * as ClassTable from "../../slot/ClassTable.ts"
import * as Values from "../../slot/Values.ts"
import * as ArgumentSpill from "./ArgumentSpill.ts"
import * as ClusterEvents from "./ClusterEvents.ts"
import { ClusterJob, type JobOutcome, nameOf, onOutcome, settle } from "./ClusterJob.ts"
import type { CheckedOptions, ReceivedFile } from "./ClusterOptions.ts"
import type { Packed } from "./Computation.ts"
import * as Depends from "./Depends.ts"
import * as MemoryOptions from "./MemoryOptions.ts"
import * as Outcomes from "./Outcomes.ts"
import * as Poisoned from "./Poisoned.ts"
import * as ProvisionalResults from "./ProvisionalResults.ts"

/** Why a job was not submitted. */
export type SubmitError =
  | ClusterClosed
  | InvalidArgument
  | InvalidOption
  | ArgumentTooLarge
  | JobNotWritten
  | Depends.JobDependError

/** Why a job was not submitted again. */
export type ResubmitError = ClusterClosed | NotResubmittable | JobNotWritten

/** How a job is to run. */
export interface Submission {
  readonly flags: number
  readonly timeoutMillis: number
  readonly memoryKiB: number
  /** Retries and further timeouts; undefined for none. */
  readonly terms: Terms | undefined
  readonly id: unknown
  readonly signal: AbortSignal | undefined
  /** A job that `map` made: no callback and no event is for it. Default false. */
  readonly isItem?: boolean
  readonly depends: PackedJobDepends | undefined
}

/** What single jobs take along, ready to travel. */
export interface PackedJobDepends {
  /** Encoded; undefined for none. */
  readonly definitions: Uint8Array | undefined
  readonly files: GatherFiles | undefined
  /** Classes of the computation and of the job. */
  readonly classes: ClassTable.ClassTable | undefined
  /** Where its files and modules are from, for another process; undefined for none. */
  readonly takes: JobDetails["takes"]
}

/** A cluster without an API. */
export interface ClusterCore {
  readonly name: string
  readonly isProgram: boolean
  /** Jobs at a time per cpu. */
  readonly concurrency: number
  /** Running time of jobs that have none of their own, in milliseconds; 0 for none. */
  readonly timeoutMillis: number
  /** Memory of jobs that have no limit of their own; 0 for any. */
  readonly memoryKiB: number
  /** Whether a job has a process to itself. */
  readonly isAlone: boolean
  /** Retries and further timeouts of jobs that have none of their own; undefined for none. */
  readonly terms: Terms | undefined
  /** Port of nodes that are named without one. */
  readonly nodePort: number
  /** Classes of its `depends`. */
  readonly classes: ClassTable.ClassTable | undefined
  /** Makes what a job takes along ready to travel. */
  readonly packDepends: (entries: ReadonlyArray<unknown>) => Result.Result<PackedJobDepends, Depends.JobDependError>
  /** Queues a job; with the id of a node, for that node and no other. */
  readonly submit: (
    args: ReadonlyArray<unknown>,
    submission: Submission,
    pinnedTo?: string
  ) => Result.Result<ClusterJob, SubmitError>
  /** Queues a job with the arguments of one that ended as `JobPoisoned`. */
  readonly resubmit: (job: ClusterJob) => Result.Result<ClusterJob, ResubmitError>
  /** Cancels a job; false when it has ended already. */
  readonly cancel: (job: ClusterJob, reason: string) => boolean
  /** Jobs without an outcome, and outcomes whose callback is not done. */
  readonly pending: () => number
  /** Calls the listener once nothing is pending; returns a function that takes it back. */
  readonly whenIdle: (listener: () => void) => () => void
  /** Takes no more jobs from now on. */
  readonly stop: () => void
  readonly isStopped: () => boolean
  readonly sendFile: (
    file: string,
    address: string,
    onProgress: NodeFileRequest["onProgress"]
  ) => Effect.Effect<void, TransferFailed | FileTooLarge>
  readonly nodes: () => ReadonlyArray<DispyNode>
  readonly cpus: () => number
  readonly addressOf: (job: ClusterJob) => string
  readonly addressOfNode: (nodeId: string) => string
  /** Jobs that go before this one among those that wait. */
  readonly ahead: (job: ClusterJob) => number
  /** How long the job waits before it is tried again, in milliseconds; undefined when it does not. */
  readonly retryMillis: (job: ClusterJob) => number | undefined
  readonly control: NodeControl
  /** The scheduler that the cluster shares with others. */
  readonly scheduler: object
  readonly events: ClusterEvents.ClusterEvents
  /** What happens from now on; begins with the nodes that are ready. */
  readonly read: <Job>(hold?: () => () => void) => ClusterEvents.EventReader<Job>
  /** Whether a job was submitted by the user, not by `map`. */
  readonly isOwn: (job: ClusterJob) => boolean
}

/** Who hears of what happens in a cluster. */
export interface Listeners {
  readonly callback?: JobCallback | undefined
  /** Hears of every status of jobs and nodes; like `callback`. */
  readonly clusterStatus?:
    | ((
      status: ClusterEvents.ClusterEvent["status"],
      node: DispyNode | undefined,
      job: unknown
    ) => void | Promise<void>)
    | undefined
  /** Hears when something is pending again, and when nothing is; must not throw. */
  readonly onBusy?: ((isBusy: boolean) => void) | undefined
  /** Whether the process may end although the cluster is open. Default false. */
  readonly isBackground?: boolean | undefined
  /** The object that stands for a job in the API that the cluster was made by. */
  readonly viewOf: (core: ClusterCore, job: ClusterJob) => unknown
}

/**
 * Hears of every provisional result and of every job that has ended; must not throw or reject. A promise keeps the
 * cluster busy until it is done.
 */
export type JobCallback = (job: ClusterJob) => void | Promise<void>

const dependsOf = ({ depends: { definitions, modules }, files }: Packed): Pick<Computation, "depends"> => {
  const entries = files?.entries ?? []
  return definitions.length + modules.length + entries.length === 0
    ? {}
    : { depends: { definitions, modules, files: entries } }
}

const computationOf = (packed: Packed, name: string, options: CheckedOptions): Computation => ({
  id: crypto.randomUUID(),
  name,
  code: packed.code,
  limits: options.limits,
  ...(options.memory.slotLimits === undefined ? {} : { slotLimits: options.memory.slotLimits }),
  ...dependsOf(packed),
  ...(packed.lifecycle === undefined ? {} : { lifecycle: packed.lifecycle }),
  ...(options.executor === "process" ? {} : { executor: options.executor }),
  ...(options.concurrency === 1 ? {} : { concurrency: options.concurrency }),
  ...(options.destPath === undefined ? {} : { destPath: options.destPath }),
  ...(options.keepFiles ? { keepFiles: true } : {})
})

/** The user's id, for another process; undefined for one that cannot be encoded. */
const encodedId = (id: unknown): string | undefined => {
  try {
    return id === undefined ? undefined : Buffer.from(Values.encode(id)).toString("base64")
  } catch {
    return undefined
  }
}

/** What another process needs to know of a job beside its arguments. */
const detailsOf = (
  submission: Pick<Submission, "depends" | "id" | "memoryKiB" | "terms">,
  pinnedTo: string
): JobDetails | undefined => {
  const { depends, id, memoryKiB, terms } = submission
  const encoded = encodedId(id)
  const takes = depends?.takes
  const isPlain = encoded === undefined && pinnedTo === "" && takes === undefined
  if (isPlain && memoryKiB === 0 && terms === undefined) return undefined
  return {
    ...(memoryKiB === 0 ? {} : { memoryKiB }),
    ...(terms === undefined ? {} : { terms }),
    ...(encoded === undefined ? {} : { id: encoded }),
    ...(pinnedTo === "" ? {} : { pinnedTo }),
    ...(takes === undefined ? {} : { takes })
  }
}

const tellOfFile = (listener: CheckedOptions["onFile"], file: ReceivedFile): void => {
  try {
    listener?.(file)
  } catch (cause) {
    process.stderr.write(`dispy: onFile of a cluster threw ${cause instanceof Error ? cause.stack : String(cause)}\n`)
  }
}

/** Makes a computation run on the scheduler's nodes; the cluster ends with the scope. */
export const make = Effect.fnUntraced(function*(
  packed: Packed,
  options: CheckedOptions,
  listeners: Listeners
): Effect.fn.Return<ClusterCore, CannotStart | ComputationRefused | InvalidOption, Scheduler | Scope.Scope> {
  const name = options.name ?? packed.name
  const isProgram = packed.code._tag === "ProgramCode"
  const idleListeners = new Set<() => void>()
  const { callback, clusterStatus } = listeners
  const events = ClusterEvents.make()
  const poisoned = Poisoned.make()
  let pending = 0
  let numbers = 0
  let isStopped = false

  const tellIdle = (): void => {
    if (pending > 0) return
    for (const listener of idleListeners) listener()
    idleListeners.clear()
  }

  const { onBusy } = listeners
  const acquire = (): void => {
    if (pending++ === 0) onBusy?.(true)
  }
  const release = (): void => {
    if (--pending === 0) onBusy?.(false)
    tellIdle()
  }

  /** Keeps the cluster busy until the promise is done. */
  const keepBusy = (done: unknown): void => {
    if (!(done instanceof Promise)) return
    acquire()
    void done.finally(release)
  }
  if (clusterStatus !== undefined) {
    ClusterEvents.listen(events, (status, node, job) => keepBusy(clusterStatus(status, node, job)))
  }

  const isOwn = (job: ClusterJob): boolean => job.view !== null

  /** Tells a status of a job, if anybody listens. */
  const tell = (status: JobStatus, job: ClusterJob, node: DispyNode | undefined): void => {
    if (!isOwn(job)) return
    job.view ??= listeners.viewOf(core, job)
    ClusterEvents.emit(events, status, node, job.view)
  }

  const ended = (job: ClusterJob, outcome: JobOutcome): void => {
    // Whoever waits for the outcome may submit the job again at once.
    Poisoned.keep(poisoned, job, { isOwn: isOwn(job), isJournaled: journal !== undefined })
    settle(job, outcome)
    if (events.isWatched) tell(job.status, job, session.nodeOf(job.nodeId))
    const done = callback?.(job)
    if (done instanceof Promise) void done.finally(() => finished(job))
    else finished(job)
  }

  const finished = (job: ClusterJob): void => {
    journal?.noted(job.number)
    release()
  }

  const provisional = (job: ClusterJob, result: Uint8Array): void => {
    try {
      ProvisionalResults.add(job, Outcomes.valueOf(result, job.classes))
    } catch {
      // Only a broken or hostile node sends damaged bytes; the job's own result will tell.
      return
    }
    if (events.isWatched) tell("ProvisionalResult", job, session.nodeOf(job.nodeId))
    keepBusy(callback?.(job))
  }

  /** The job waits again. */
  const again = (job: ClusterJob): void => {
    ProvisionalResults.reset(job)
    if (events.isWatched) tell("Created", job, undefined)
  }

  Partials.removeStale(options.filesDirectory)
  for (const note of options.notes) yield* Effect.logWarning(note)
  const scheduler = yield* Scheduler
  // Before the scheduler's own: nodes are told to be closed while the session ends.
  yield* Effect.addFinalizer(() => Effect.sync(() => ClusterEvents.end(events)))
  const session = yield* scheduler.open({
    computation: computationOf(packed, name, options),
    sources: packed.files?.sources,
    jobFiles: {
      directory: options.filesDirectory,
      maxFileBytes: options.maxFileBytes,
      onFile: (record, file, sizeBytes) => {
        tellOfFile(options.onFile, {
          job: nameOf(record as ClusterJob),
          path: join(options.filesDirectory, file),
          sizeBytes
        })
      }
    },
    setupArgs: packed.setupArgs,
    isReentrant: options.isReentrant,
    isDurable: options.durable !== false,
    onReply: (record, reply) => {
      const job = record as ClusterJob
      ended(job, Outcomes.fromReply(job, session.addressOf(job.nodeId), reply, session.addressOf))
    },
    onProvisional: (record, reply) => provisional(record as ClusterJob, reply.result),
    onEnd: (record, reason) => {
      const job = record as ClusterJob
      ended(job, Outcomes.fromEnd(job, reason, session.addressOf))
    },
    nodes: options.isListed ? options.nodes.map(({ knowing }) => knowing(packed.classes)) : undefined,
    onDispatched: (records, nodeId) => {
      if (!events.isWatched) return
      const node = session.nodeOf(nodeId)
      for (const record of records) tell("Running", record as ClusterJob, node)
    },
    onRequeued: (records) => {
      for (const record of records) {
        const job = record as ClusterJob
        if (job.trials !== undefined) Outcomes.lost(job, session.addressOf)
        again(job)
      }
    },
    onRetried: (record, reply) => {
      const job = record as ClusterJob
      Outcomes.retried(job, session.addressOf(job.nodeId), reply)
      again(job)
    },
    onBench: (nodeId, isBenched) => {
      const node = events.isWatched ? session.nodeOf(nodeId) : undefined
      if (node !== undefined) ClusterEvents.emit(events, isBenched ? "Benched" : "Unbenched", node, undefined)
    },
    onNode: (status, node) => {
      if (events.isWatched) ClusterEvents.emit(events, status, node(), undefined)
    }
  })

  const { journal } = session
  if (options.durable !== false && journal === undefined) {
    const reason = "the scheduler of this cluster keeps no recover file; give its layer one"
    return yield* new InvalidOption({ option: "durable", reason })
  }

  const encode = (
    args: ReadonlyArray<unknown>,
    { depends, flags }: Submission
  ): Result.Result<Uint8Array, SubmitError> => {
    if (isProgram && flags === 0) {
      const wrong = args.findIndex((arg) => typeof arg !== "string")
      if (wrong >= 0) {
        const reason = `argument ${wrong + 1} is ${typeof args[wrong]}; the arguments of a program are strings`
        return Result.fail(new InvalidArgument({ computation: name, reason }))
      }
    }
    try {
      const bare = Values.encodeArgs(args, depends === undefined ? packed.classes : depends.classes)
      const encoded = depends?.definitions === undefined ? bare : JobDepends.join(depends.definitions, bare)
      return encoded.length <= maxValueBytes
        ? Result.succeed(encoded)
        : Result.fail(
          new ArgumentTooLarge({ computation: name, sizeBytes: encoded.length, limitBytes: maxValueBytes })
        )
    } catch (cause) {
      return Result.fail(new InvalidArgument({ computation: name, reason: (cause as Error).message }))
    }
  }

  const cancel = (job: ClusterJob, reason: string): boolean => {
    if (hasEnded(job)) return false
    session.cancel(job, reason)
    return true
  }

  const cancelOnAbort = (job: ClusterJob, signal: AbortSignal): void => {
    const abort = () => cancel(job, "its signal was aborted")
    if (signal.aborted) {
      abort()
    } else {
      signal.addEventListener("abort", abort, { once: true })
      onOutcome(job, () => signal.removeEventListener("abort", abort))
    }
  }

  const enqueue = (job: ClusterJob): void => {
    acquire()
    if (events.isWatched) tell("Created", job, undefined)
    session.submit(job)
  }

  /** Remembers a job that is submitted again. */
  const acceptAgain = (
    to: JobJournal,
    job: ClusterJob
  ): Result.Result<HeldArguments | undefined, JobNotWritten | NotResubmittable> => {
    if (job.files !== undefined) {
      const reason = "it took files or modules along, which a durable cluster remembers with their job; submit it anew"
      return Result.fail(new NotResubmittable({ cluster: name, jobId: nameOf(job), reason }))
    }
    const { args, flags, id, memoryKiB, timeoutMillis, trials } = job
    const details = detailsOf(
      { depends: undefined, id, memoryKiB, terms: trials?.terms },
      session.addressOf(job.pinnedTo)
    )
    return to.accept({ number: numbers + 1, flags, timeoutMillis, details, args })
  }

  const resubmit: ClusterCore["resubmit"] = (job) => {
    if (isStopped) return Result.fail(new ClusterClosed({ cluster: name }))
    const taken = journal === undefined || !poisoned.jobs.has(job)
      ? Result.succeed(undefined)
      : acceptAgain(journal, job)
    return Result.flatMap(taken, (held) =>
      Result.map(Poisoned.take(poisoned, job, name, numbers + 1), (fresh) => {
        numbers++
        if (held !== undefined) {
          fresh.held = held
          fresh.args = noBytes
        }
        enqueue(fresh)
        return fresh
      }))
  }

  const submit: ClusterCore["submit"] = (args, submission, pinnedTo = "") => {
    if (isStopped) return Result.fail(new ClusterClosed({ cluster: name }))
    const { depends, id } = submission
    const encoded = encode(args, submission)
    if (Result.isFailure(encoded)) return Result.fail(encoded.failure)
    const flags = depends?.definitions === undefined ? submission.flags : submission.flags | JobFlags.depends
    const number = numbers + 1
    const taken = journal === undefined
      ? Result.succeed(ArgumentSpill.hold(encoded.success))
      : journal.accept({
        number,
        flags,
        timeoutMillis: submission.timeoutMillis,
        details: detailsOf(submission, session.addressOf(pinnedTo)),
        args: encoded.success
      })
    if (Result.isFailure(taken)) return Result.fail(taken.failure)
    const held = taken.success
    const inMemory = held === undefined || held.path === "" ? encoded.success : noBytes
    numbers = number
    const job = new ClusterJob(number, inMemory, flags, submission, id, pinnedTo)
    job.held = held
    if (depends !== undefined) job.files = depends.files
    job.classes = depends === undefined ? packed.classes : depends.classes
    if (submission.terms !== undefined) job.trials = Trials.make(submission.terms)
    if (submission.isItem === true) job.view = null
    enqueue(job)
    if (submission.signal !== undefined) cancelOnAbort(job, submission.signal)
    return Result.succeed(job)
  }

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isStopped = true
      Poisoned.clear(poisoned)
    })
  )

  const core: ClusterCore = {
    name,
    isProgram,
    nodePort: options.nodePort,
    classes: packed.classes,
    concurrency: options.concurrency,
    timeoutMillis: options.timeoutMillis,
    memoryKiB: options.memory.memoryKiB,
    isAlone: MemoryOptions.isAlone(options),
    terms: options.terms,
    packDepends: (entries) => {
      const packing = Depends.packForJob(entries, packed.depends, { isProgram, maxFileBytes: options.maxFileBytes })
      return Result.map(Effect.runSync(Effect.result(packing)), ({ classes, definitions, files, modules }) => ({
        definitions: isProgram || definitions.length + modules.length === 0
          ? undefined
          : Values.encode({ definitions, modules }),
        files,
        classes: ClassTable.extend(packed.classes, classes),
        takes: options.durable === false ? undefined : Depends.originOf(entries, options.maxFileBytes)
      }))
    },
    submit,
    resubmit,
    cancel,
    pending: () => pending,
    whenIdle: (listener) => {
      idleListeners.add(listener)
      tellIdle()
      return () => idleListeners.delete(listener)
    },
    stop: () => {
      isStopped = true
    },
    isStopped: () => isStopped,
    sendFile: (file, address, onProgress) =>
      session.sendFile({ file, address, onProgress, maxFileBytes: options.maxFileBytes }),
    nodes: session.nodes,
    cpus: session.cpus,
    addressOf: (job) => session.addressOf(job.nodeId),
    addressOfNode: session.addressOf,
    ahead: session.ahead,
    retryMillis: session.retryMillis,
    control: session.control,
    scheduler,
    events,
    read: (hold) =>
      new ClusterEvents.EventReader(events, session.nodes().filter(({ state }) => state === "ready"), hold),
    isOwn
  }
  return core
})
