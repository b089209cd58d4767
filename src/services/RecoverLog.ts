/** Remembers which nodes a client has, so that another can recover what is left there when it dies. */
import { Context, type Effect, type Result } from "effect"
import type { JobNotWritten } from "../domain/ClusterError.ts"
import type { Computation, LocalFiles } from "../domain/Computation.ts"
import type { JobFields } from "../domain/recovery/JobEntries.ts"
import type { HeldArguments } from "../domain/scheduler/JobRecord.ts"

/** A node that was leased. */
export interface LeasedNode {
  readonly host: string
  readonly port: number
  /** The node's own. */
  readonly name: string
}

/** A computation that was opened. */
export interface OpenedComputation {
  readonly id: string
  readonly name: string
  /** Whether a job may run again after its node was lost. */
  readonly mayRunTwice: boolean
  /** Of one whose jobs are to be remembered too: all that is needed to open it in another process. */
  readonly durable?: DurableComputation | undefined
}

/** All that is needed to open a computation in another process. */
export interface DurableComputation {
  readonly computation: Computation
  readonly sources: LocalFiles["sources"]
  /** Encoded; undefined for none. */
  readonly setupArgs: Uint8Array | undefined
}

/**
 * Remembers the jobs of a computation. All calls are synchronous and short: what they say is written together, before
 * anything is sent to a node and at the latest in the next turn of the event loop.
 */
export interface JobJournal {
  /**
   * A job was submitted. Fails when there is no room for it; then it is not to be run. Succeeds with the file that holds
   * its arguments where they are large: they need not stay in memory.
   */
  readonly accept: (job: JobFields) => Result.Result<HeldArguments | undefined, JobNotWritten>
  /** These jobs are about to be sent to a node. */
  readonly sent: (node: string, numbers: ReadonlyArray<number>) => void
  /** These jobs wait again: no node has them. */
  readonly returned: (numbers: ReadonlyArray<number>) => void
  /** A node replied; it may forget that when this is written. */
  readonly replied: (node: string, batch: Uint8Array) => void
  /** The user has the outcome of a job: in a turn of the event loop from now on, it needs nothing any more. */
  readonly noted: (number: number) => void
}

/** Remembers which nodes a client has. What it remembers goes with an orderly end. */
export class RecoverLog extends Context.Service<RecoverLog, {
  /** What nodes are to be leased with; undefined where nothing is to be recovered. Others can read it from now on. */
  readonly key: Effect.Effect<string | undefined>
  /** Others can ask the node from now on; does nothing without a key. Never fails: what cannot be written is logged. */
  readonly leased: (node: LeasedNode) => Effect.Effect<void>
  /** The same for the name of a computation. Succeeds with what remembers its jobs, if it is durable. */
  readonly opened: (computation: OpenedComputation) => Effect.Effect<JobJournal | undefined>
  /** A job of the computation is tried again: others can find replies of several attempts. Never throws. */
  readonly retried: (computationId: string) => void
  /** Writes what is not written yet of jobs: before something is sent to a node. Never throws. */
  readonly flush: () => void
}>()("dispy/services/RecoverLog") {}
