/**
 * What a node keeps for the client that holds it: the computations it opened and
 * the outbox of what it is still to be told. The executor pushes replies in from
 * its own loop, the client's `Events` stream pulls messages out; per job there is
 * no fiber and no Effect.
 */
import { Cause, Deferred, type Duration, Effect, Exit, Fiber, type Pull, Scope } from "effect"
import type { Computation } from "../../domain/Computation.ts"
import * as LargeReplies from "../../domain/node/LargeReplies.ts"
import * as Numbered from "../../domain/node/Numbered.ts"
import * as Outbox from "../../domain/node/Outbox.ts"
import * as SessionJobs from "../../domain/node/SessionJobs.ts"
import type { ComputationRefused } from "../../domain/NodeError.ts"
import type { NodeEvent } from "../../domain/NodeRpcs.ts"
import { tallyEnded } from "../../domain/wire/Entries.ts"
import type { ExecutorRequest, ExecutorSession, SentFile } from "../../services/JobExecutor.ts"
import type { SeatTerms } from "../../services/NodeLink.ts"

/** A computation that is being opened, open, or being closed. */
interface OpenComputation {
  readonly name: string
  readonly scope: Scope.Closeable
  readonly opened: Deferred.Deferred<ExecutorSession, ComputationRefused>
  /** There once the executor is ready. */
  executor: ExecutorSession | undefined
  opening: Fiber.Fiber<unknown, unknown> | undefined
  /** There once closing began. */
  closed: Deferred.Deferred<void> | undefined
  /** Jobs that got no reply yet. */
  outstanding: number
}

/** What a node counts over all its clients. */
export interface Tally {
  jobsDone: number
  /** Time that jobs took, over all slots. */
  jobMicros: number
  /** How often the number of its cpus changed. */
  cpuChanges: number
}

/** Takes what the client of a lease is to have when that is gone. */
export interface Keeper {
  readonly replies: (computationId: string, entries: Uint8Array) => void
  readonly file: (computationId: string, file: Outbox.JobFile) => void
  /** Bytes that it could not write down yet. */
  readonly backlogBytes: () => number
}

/** What a node keeps for a lease. */
export interface LeaseSession {
  readonly leaseId: string
  readonly clientName: string
  /** What is kept when the client is gone is found by it; undefined where nothing is kept. */
  readonly keyHash: string | undefined
  /** Nobody needs the file of a large result any more. */
  readonly discardResult: (execution: LargeReplies.Execution) => void
  /** How often client and node tell each other that they are there. */
  readonly pulse: Duration.Duration
  readonly scope: Scope.Closeable
  readonly outbox: Outbox.Outbox
  /** Dispatches that were taken. */
  readonly taken: Numbered.Numbered
  /** Empty where nothing is kept. */
  readonly large: LargeReplies.LargeReplies
  readonly tally: Tally
  readonly computations: Map<string, OpenComputation>
  /** Number of the `Events` stream that is served; older ones end. */
  stream: number
  /** Pulses since the client was heard. */
  missedPulses: number
  isClosed: boolean
  /** There while the client is gone and what comes in is kept for it. */
  keeper: Keeper | undefined
  /** More came in for a client that was gone than is held for its return. */
  isOverfull: boolean
  /** The client is behind: jobs may not say more for now. */
  isPaused: boolean
  /** Resumes the stream that waits for something to tell. */
  waiter: (() => void) | undefined
  /** Told whenever the session may have become idle. */
  onQuiet: (() => void) | undefined
}

/** What a node keeps for a new lease; closing `parent` ends it too. */
export const make = (
  options: Pick<LeaseSession, "leaseId" | "clientName" | "keyHash" | "discardResult" | "pulse" | "tally">,
  parent: Scope.Scope
): LeaseSession => ({
  ...options,
  scope: Scope.forkUnsafe(parent, "parallel"),
  outbox: Outbox.make(),
  taken: Numbered.make(),
  large: LargeReplies.make(),
  computations: new Map(),
  stream: 0,
  missedPulses: 0,
  isClosed: false,
  keeper: undefined,
  isOverfull: false,
  isPaused: false,
  waiter: undefined,
  onQuiet: undefined
})

/** Has the stream look into the outbox. */
export const wake = (session: LeaseSession): void => {
  const waiter = session.waiter
  session.waiter = undefined
  waiter?.()
}

/** Bytes that a client may be behind with, acknowledging included, before jobs have to wait; and before they go on. */
const pauseBytes = 64 * 1024 * 1024
const resumeBytes = pauseBytes / 2

/** Lets the jobs go on or wait, by how far the client is behind, or the disk while it is gone. */
export const throttle = (session: LeaseSession): void => {
  const bytes = session.keeper?.backlogBytes() ?? Outbox.sizeBytes(session.outbox)
  const isPaused = bytes > (session.isPaused ? resumeBytes : pauseBytes)
  if (isPaused === session.isPaused) return
  session.isPaused = isPaused
  for (const computation of session.computations.values()) computation.executor?.setPaused(isPaused)
}

/** The client has taken replies up to and including a sequence number. */
export const acknowledge = (session: LeaseSession, sequence: number): void => {
  for (const { batch, computationId } of session.large.size === 0 ? [] : Outbox.before(session.outbox, sequence)) {
    LargeReplies.acknowledged(session.large, computationId, batch).forEach(session.discardResult)
  }
  Outbox.acknowledge(session.outbox, sequence)
  throttle(session)
}

/** Jobs that got no reply yet. */
export const outstanding = (session: LeaseSession): number => {
  let count = 0
  for (const computation of session.computations.values()) count += computation.outstanding
  return count
}

/** Whether every job is done and every reply with the client, or kept for it, or there is no client any more. */
export const isIdle = (session: LeaseSession): boolean =>
  session.isClosed || (
    outstanding(session) === 0 && (
      session.keeper !== undefined ||
      (Outbox.isDelivered(session.outbox) && (session.stream === 0 || session.waiter !== undefined))
    )
  )

/** Whether there is something that a client would miss which does not come back. */
export const isWorthKeeping = (session: LeaseSession): boolean =>
  session.keyHash !== undefined && !session.isClosed &&
  (outstanding(session) > 0 || Outbox.sizeBytes(session.outbox) > 0 || LargeReplies.unfetched(session.large).length > 0)

/** Starts a new `Events` stream, which ends the one before and begins with what the client has not received. */
export const subscribe = (
  session: LeaseSession,
  received: number
): Pull.Pull<[NodeEvent, ...Array<NodeEvent>]> => {
  const stream = ++session.stream
  acknowledge(session, received)
  Outbox.rewind(session.outbox, received)
  wake(session)
  const pull: Pull.Pull<[NodeEvent, ...Array<NodeEvent>]> = Effect.suspend(() => {
    if (session.stream !== stream) return Cause.done()
    const events = Outbox.take(session.outbox)
    if (events !== undefined) return Effect.succeed(events)
    return Effect.callback<[NodeEvent, ...Array<NodeEvent>], Cause.Done>((resume) => {
      // Not at once: what other slots reply in this turn of the loop then travels in the same message.
      const waiter = () => resume(Effect.andThen(Effect.yieldNow, pull))
      session.waiter = waiter
      session.onQuiet?.()
      return Effect.sync(() => {
        if (session.waiter === waiter) session.waiter = undefined
      })
    })
  })
  return pull
}

/** Makes a computation ready with all it needs on this node. */
export type Opener = (
  request: ExecutorRequest
) => Effect.Effect<ExecutorSession, ComputationRefused, Scope.Scope>

/** Opens a computation, or waits for it where that was asked before (a client that reconnected asks again). */
export const open = (
  session: LeaseSession,
  opener: Opener,
  computation: Computation,
  onFile: (file: SentFile) => void,
  terms: SeatTerms = {}
): Effect.Effect<ExecutorSession, ComputationRefused> =>
  Effect.suspend(() => {
    const known = session.computations.get(computation.id)
    if (known !== undefined) return Deferred.await(known.opened)
    const opening: OpenComputation = {
      name: computation.name,
      scope: Scope.forkUnsafe(session.scope),
      opened: Deferred.makeUnsafe(),
      executor: undefined,
      opening: undefined,
      closed: undefined,
      outstanding: 0
    }
    session.computations.set(computation.id, opening)
    // Forked into the session: the client's connection may break while the computation is made ready.
    return opener({ ...terms, computation, onReplies: receive(session, computation.id, opening), onFile }).pipe(
      Scope.provide(opening.scope),
      Effect.onExit((exit) => {
        if (Exit.isSuccess(exit)) {
          opening.executor = exit.value
          if (session.isPaused) exit.value.setPaused(true)
          return Effect.void
        }
        if (session.computations.get(computation.id) === opening && opening.closed === undefined) {
          session.computations.delete(computation.id)
        }
        return Scope.close(opening.scope, exit)
      }),
      Deferred.into(opening.opened),
      Effect.forkIn(session.scope),
      Effect.tap((fiber) => Effect.sync(() => opening.opening = fiber)),
      Effect.andThen(Deferred.await(opening.opened))
    )
  })

/**
 * Queues jobs of a well-formed batch. False when the computation is not open; jobs
 * for one that is being closed are dropped.
 */
export const dispatch = (session: LeaseSession, computationId: string, batch: Uint8Array, count: number): boolean => {
  const computation = session.computations.get(computationId)
  if (computation === undefined || computation.executor === undefined) return false
  if (computation.closed !== undefined) return true
  computation.outstanding += count
  computation.executor.dispatch(batch)
  return true
}

/** Tells a job what became of a file that it sent. */
export const answerFile = (session: LeaseSession, computationId: string, fileId: number, problem: string): void => {
  Outbox.answerFile(session.outbox, computationId, fileId)
  session.computations.get(computationId)?.executor?.answerFile(fileId, problem)
}

/** Tells the client of a file that a job sends. */
export const tellFile = (session: LeaseSession, computationId: string, file: SentFile): void => {
  const { fileId, jobId, mode, modifiedMillis, path, sizeBytes } = file
  const told = { _tag: "JobFile", computationId, fileId, jobId, path, sizeBytes, mode, modifiedMillis } as const
  session.outbox.jobFiles.push(told)
  session.keeper?.file(computationId, told)
  wake(session)
}

/** Cancels jobs; a computation that is not open has none. */
export const cancel = (session: LeaseSession, computationId: string, jobIds: ReadonlyArray<number>): void =>
  session.computations.get(computationId)?.executor?.cancel(jobIds)

/** Changes how many jobs of a computation run at the same time; one that is not open has none. */
export const setCpus = (session: LeaseSession, computationId: string, cpus: number): void =>
  session.computations.get(computationId)?.executor?.setCpus(cpus)

/** The jobs of a computation without a reply. */
export const jobs = (session: LeaseSession, computationId: string): SessionJobs.SessionJobs =>
  session.computations.get(computationId)?.executor?.jobs() ?? SessionJobs.none

/** Gives back every job that has not started. */
export const returnQueued = (session: LeaseSession): void => {
  for (const computation of session.computations.values()) computation.executor?.returnQueued()
}

/** Puts in replies that the node itself makes. */
export const reply = (session: LeaseSession, computationId: string, entries: Uint8Array): void => {
  Outbox.push(session.outbox, computationId, entries)
  wake(session)
}

/** Ends a computation; succeeds when everything of it is gone, also for the second who asks. */
export const closeComputation = (session: LeaseSession, computationId: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    const computation = session.computations.get(computationId)
    if (computation === undefined) return Effect.void
    if (computation.closed !== undefined) return Deferred.await(computation.closed)
    const closed = computation.closed = Deferred.makeUnsafe<void>()
    Outbox.drop(session.outbox, computationId)
    return Effect.gen(function*() {
      if (computation.opening !== undefined) yield* Fiber.interrupt(computation.opening)
      yield* Scope.close(computation.scope, Exit.void)
      session.computations.delete(computationId)
      Outbox.drop(session.outbox, computationId)
      LargeReplies.drop(session.large, computationId)
      throttle(session)
      session.onQuiet?.()
      yield* Deferred.succeed(closed, undefined)
    })
  }).pipe(Effect.uninterruptible)

/** Ends everything under the lease. */
export const close = (session: LeaseSession): Effect.Effect<void> =>
  Effect.suspend(() => {
    session.stream++
    wake(session)
    return Scope.close(session.scope, Exit.void)
  }).pipe(
    Effect.andThen(Effect.sync(() => {
      session.computations.clear()
      session.isClosed = true
      session.onQuiet?.()
    })),
    Effect.uninterruptible
  )

/** Takes what comes in from the jobs of a computation. */
export const receive =
  (session: LeaseSession, computationId: string, computation: OpenComputation) => (entries: Uint8Array): void => {
    if (computation.closed !== undefined) return
    const ended = tallyEnded(entries)
    computation.outstanding -= ended.jobs
    session.tally.jobsDone += ended.jobs
    session.tally.jobMicros += ended.micros
    if (session.keyHash !== undefined) LargeReplies.add(session.large, computationId, entries)
    if (!session.isOverfull) Outbox.push(session.outbox, computationId, entries)
    if (session.keeper !== undefined) {
      session.keeper.replies(computationId, entries)
      if (Outbox.sizeBytes(session.outbox) > pauseBytes) {
        session.isOverfull = true
        Outbox.clear(session.outbox)
      }
      session.onQuiet?.()
    }
    throttle(session)
    wake(session)
  }
