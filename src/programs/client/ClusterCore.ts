/**
 * What both APIs do with a cluster, in plain synchronous calls: submit, cancel,
 * count, look. One per cluster, over the `Scheduler` in the context.
 */
import { Effect, Result, type Scope } from "effect"
import { ArgumentTooLarge, ClusterClosed, InvalidArgument, type InvalidOption } from "../../domain/ClusterError.ts"
import type { CannotStart, ComputationRefused } from "../../domain/NodeError.ts"
import { maxValueBytes } from "../../domain/NodeInfo.ts"
import { hasEnded } from "../../domain/scheduler/JobRecord.ts"
import { type NodeStatus, Scheduler } from "../../services/Scheduler.ts"
import * as Values from "../../slot/Values.ts"
import { ClusterJob, onOutcome, settle } from "./ClusterJob.ts"
import type { CheckedOptions } from "./ClusterOptions.ts"
import type { Packed } from "./Computation.ts"
import * as Outcomes from "./Outcomes.ts"
import * as ProvisionalResults from "./ProvisionalResults.ts"

/** Why a job was not submitted. */
export type SubmitError = ClusterClosed | InvalidArgument | InvalidOption | ArgumentTooLarge

/** How a job is to run. */
export interface Submission {
  readonly flags: number
  readonly timeoutMillis: number
  readonly id: unknown
  readonly signal: AbortSignal | undefined
}

/** A cluster without an API. */
export interface ClusterCore {
  readonly name: string
  readonly isProgram: boolean
  /** Running time of jobs that have none of their own, in milliseconds; 0 for none. */
  readonly timeoutMillis: number
  readonly submit: (args: ReadonlyArray<unknown>, submission: Submission) => Result.Result<ClusterJob, SubmitError>
  /** Cancels a job; false when it has ended already. */
  readonly cancel: (job: ClusterJob, reason: string) => boolean
  /** Jobs without an outcome, and outcomes whose callback is not done. */
  readonly pending: () => number
  /** Calls the listener once nothing is pending; returns a function that takes it back. */
  readonly whenIdle: (listener: () => void) => () => void
  /** Takes no more jobs from now on. */
  readonly stop: () => void
  readonly isStopped: () => boolean
  readonly nodes: () => ReadonlyArray<NodeStatus>
  readonly cpus: () => number
  readonly addressOf: (job: ClusterJob) => string
}

/**
 * Hears of every provisional result and of every job that has ended; must not throw or reject. A promise keeps the
 * cluster busy until it is done.
 */
export type JobCallback = (job: ClusterJob) => void | Promise<void>

/** Makes a computation run on the scheduler's nodes; the cluster ends with the scope. */
export const make = Effect.fnUntraced(function*(
  packed: Packed,
  options: CheckedOptions,
  callback: JobCallback | undefined
): Effect.fn.Return<ClusterCore, CannotStart | ComputationRefused, Scheduler | Scope.Scope> {
  const name = options.name ?? packed.name
  const isProgram = packed.code._tag === "ProgramCode"
  const idleListeners = new Set<() => void>()
  let pending = 0
  let numbers = 0
  let isStopped = false

  const tellIdle = (): void => {
    if (pending > 0) return
    for (const listener of idleListeners) listener()
    idleListeners.clear()
  }

  const release = (): void => {
    pending--
    tellIdle()
  }

  const ended = (job: ClusterJob): void => {
    const done = callback?.(job)
    if (done instanceof Promise) void done.finally(release)
    else release()
  }

  const provisional = (job: ClusterJob, result: Uint8Array): void => {
    try {
      ProvisionalResults.add(job, Outcomes.valueOf(result))
    } catch {
      // Only a broken or hostile node sends damaged bytes; the job's own result will tell.
      return
    }
    const done = callback?.(job)
    if (!(done instanceof Promise)) return
    pending++
    void done.finally(release)
  }

  const scheduler = yield* Scheduler
  const session = yield* scheduler.open({
    computation: { id: crypto.randomUUID(), name, code: packed.code, limits: options.limits },
    isReentrant: options.isReentrant,
    onReply: (record, reply) => {
      const job = record as ClusterJob
      settle(job, Outcomes.fromReply(job, session.addressOf(job.nodeId), reply))
      ended(job)
    },
    onProvisional: (record, reply) => provisional(record as ClusterJob, reply.result),
    onEnd: (record, reason) => {
      const job = record as ClusterJob
      settle(job, Outcomes.fromEnd(job, session.addressOf(job.nodeId), reason))
      ended(job)
    }
  })

  const encode = (args: ReadonlyArray<unknown>, flags: number): Result.Result<Uint8Array, SubmitError> => {
    if (isProgram && flags === 0) {
      const wrong = args.findIndex((arg) => typeof arg !== "string")
      if (wrong >= 0) {
        const reason = `argument ${wrong + 1} is ${typeof args[wrong]}; the arguments of a program are strings`
        return Result.fail(new InvalidArgument({ computation: name, reason }))
      }
    }
    try {
      const encoded = Values.encodeArgs(args)
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

  const submit: ClusterCore["submit"] = (args, submission) => {
    if (isStopped) return Result.fail(new ClusterClosed({ cluster: name }))
    const encoded = encode(args, submission.flags)
    if (Result.isFailure(encoded)) return Result.fail(encoded.failure)
    const job = new ClusterJob(++numbers, encoded.success, submission.flags, submission.timeoutMillis, submission.id)
    pending++
    session.submit(job)
    if (submission.signal !== undefined) cancelOnAbort(job, submission.signal)
    return Result.succeed(job)
  }

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isStopped = true
    })
  )

  return {
    name,
    isProgram,
    timeoutMillis: options.timeoutMillis,
    submit,
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
    nodes: session.nodes,
    cpus: session.cpus,
    addressOf: (job) => session.addressOf(job.nodeId)
  }
})
