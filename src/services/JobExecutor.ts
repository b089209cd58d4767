/** Runs the jobs of computations on this machine: as many at a time per slot as a computation allows, one by default. */
import { Context, type Effect, type Scope } from "effect"
import type { Computation } from "../domain/Computation.ts"
import type { SessionJobs } from "../domain/node/SessionJobs.ts"
import type { ComputationRefused } from "../domain/NodeError.ts"
import type { SendFileRequest } from "../domain/wire/SlotFrames.ts"

/** The part of an `AbortSignal` that is used here. */
export interface Gone {
  readonly aborted: boolean
  readonly addEventListener: (type: "abort", listener: () => void, options?: { readonly once: boolean }) => void
  readonly removeEventListener: (type: "abort", listener: () => void) => void
}

/** A file that a job sends to its client, as its slot tells it. */
export interface SentFile extends SendFileRequest {
  /** Unique within the session: slots number their own. */
  readonly fileId: number
  /** Aborts when the job is gone: nobody wants the file any more. */
  readonly signal: Gone
}

/** What an executor is asked to open. */
export interface ExecutorRequest {
  readonly computation: Computation
  /** Slots that run its jobs at the same time, at most; 0 for none at first. Default: as many as there are. */
  readonly cpus?: number
  /** Directory that its jobs work in, with the computation's files; absent for one that the executor makes. */
  readonly directory?: string | undefined
  /** Directory of arguments and results that are too large for entries (`domain/wire/LargeValue.ts`); absent for none. */
  readonly valuesDirectory?: string | undefined
  /** Encoded arguments of the computation's `setup`, `setupSlot` and `cleanup`. Default: none. */
  readonly setupArgs?: Uint8Array | undefined
  /**
   * Takes reply entries (`domain/wire/Entries.ts`), one or more per call, as soon as they are there. Called from
   * the executor's own loop: it must be quick and must not throw.
   */
  readonly onReplies: (entries: Uint8Array) => void
  /** A job sends a file and waits for `answerFile`; absent where there is nobody to take it. */
  readonly onFile?: ((file: SentFile) => void) | undefined
}

/** A computation that is ready to run jobs. */
export interface ExecutorSession {
  /**
   * Queues job entries in order. The batch must be well formed (`countJobs`) and stays untouched. Every job gets
   * exactly one reply, whatever happens to it.
   */
  readonly dispatch: (batch: Uint8Array) => void
  /** Cancels jobs, queued or running; unknown ids are ignored. Each known one still gets exactly one reply. */
  readonly cancel: (jobIds: ReadonlyArray<number>) => void
  /**
   * Stops reading what its jobs say, or goes on: for a client that takes replies and provisional results more slowly
   * than jobs make them. Jobs then wait when they say more; they can be cancelled all the same.
   */
  readonly setPaused: (isPaused: boolean) => void
  /** Gives back (outcome `returned`) every job that has not started. */
  readonly returnQueued: () => void
  /** Changes the number of slots that run its jobs at the same time; with 0 what has not started is given back. */
  readonly setCpus: (cpus: number) => void
  /** The jobs without a reply. */
  readonly jobs: () => SessionJobs
  /** Tells a job what became of a file that it sent: "" that the client has it, or why not. */
  readonly answerFile: (fileId: number, problem: string) => void
}

/**
 * The slots of a node. All sessions share `cpus` slots: a computation with work waits for one of another
 * computation for a few milliseconds at most, or for as long as running jobs take.
 */
export class JobExecutor extends Context.Service<JobExecutor, {
  /** Slots in use at most, now. */
  readonly cpus: () => number
  /**
   * Offers this many slots from now on. Slots beyond them end when they have nothing to do; jobs that run go on. With
   * 0 no job is started any more: what has not started, or arrives, is given back.
   */
  readonly setCpus: (cpus: number) => void
  /**
   * Makes a computation ready; the first slot has loaded its code when this succeeds. Fails with
   * `ComputationRefused` (code that does not load, a program that is not there, no disk, a `setup` that fails). `setup`
   * runs before any slot is made ready, `cleanup` when all slots are gone and the files are still there. Closing the scope kills
   * what still runs with everything it started, and removes the computation's files; jobs without a reply get
   * none any more.
   */
  readonly open: (request: ExecutorRequest) => Effect.Effect<ExecutorSession, ComputationRefused, Scope.Scope>
}>()("dispy/services/JobExecutor") {}
