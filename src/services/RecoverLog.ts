/** Remembers which nodes a client has, so that another can recover what is left there when it dies. */
import { Context, type Effect } from "effect"

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
}

/** Remembers which nodes a client has. What it remembers goes with an orderly end. */
export class RecoverLog extends Context.Service<RecoverLog, {
  /** What nodes are to be leased with; undefined where nothing is to be recovered. Others can read it from now on. */
  readonly key: Effect.Effect<string | undefined>
  /** Others can ask the node from now on; does nothing without a key. Never fails: what cannot be written is logged. */
  readonly leased: (node: LeasedNode) => Effect.Effect<void>
  /** The same for the name of a computation. */
  readonly opened: (computation: OpenedComputation) => Effect.Effect<void>
}>()("dispy/services/RecoverLog") {}
