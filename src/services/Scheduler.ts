/** Runs the jobs of clusters on nodes: the one contract behind `JobCluster` and `SharedJobCluster`. */
import { Context, type Effect, type Scope } from "effect"
import type { Computation } from "../domain/Computation.ts"
import type { CannotStart, ComputationRefused } from "../domain/NodeError.ts"
import type { AvailInfo } from "../domain/NodeInfo.ts"
import type { JobRecord } from "../domain/scheduler/JobRecord.ts"
import type { ReplyFields } from "../domain/wire/Entries.ts"

/** A computation and who hears of its jobs. The callbacks come from the scheduler's own loop and must not throw. */
export interface SchedulerRequest {
  readonly computation: Computation
  /** Whether a job whose node was lost may run again elsewhere. */
  readonly isReentrant: boolean
  /** A node has the job's outcome. */
  readonly onReply: (job: JobRecord, reply: ReplyFields) => void
  /** The job sent a provisional result and goes on; all of them come before its outcome. */
  readonly onProvisional: (job: JobRecord, reply: ReplyFields) => void
  /** The job ended without an outcome from a node: cancelled, or its node was lost. */
  readonly onEnd: (job: JobRecord, reason: string) => void
}

/** A node as a cluster sees it. */
export interface NodeStatus {
  /** As in the node list, or "local". */
  readonly address: string
  /** Name that the node gives itself; empty while it was never reached. */
  readonly name: string
  /**
   * `ready`: takes jobs. `missing`: not reached. `busy`: leased to another client. `refused`: does not take the
   * computation. `leaving`: ends after its running jobs. `connecting`: not known yet.
   */
  readonly state: "connecting" | "ready" | "missing" | "busy" | "refused" | "leaving"
  /** Why it is not ready; empty when it is. */
  readonly reason: string
  readonly cpus: number
  /** Jobs that it has now. */
  readonly busy: number
  /** Jobs that it has answered. */
  readonly jobsDone: number
  /** Time that it spent running jobs, in milliseconds, over all its cpus. */
  readonly cpuTime: number
  /** Last known availability; absent while it was never reached. */
  readonly availInfo: AvailInfo | undefined
}

/** A computation that is open for jobs. */
export interface SchedulerSession {
  /** Queues a job; it has exactly one outcome, which comes by `onReply` or `onEnd`. */
  readonly submit: (job: JobRecord) => void
  /** Cancels a job; its outcome still comes. A job that has ended is left alone. */
  readonly cancel: (job: JobRecord, reason: string) => void
  /** The nodes of the cluster, reached or not, in the order of the node list. */
  readonly nodes: () => ReadonlyArray<NodeStatus>
  /** Address, as in the node list, of a node that has or had a job; empty for an unknown id. */
  readonly addressOf: (nodeId: string) => string
  /** Slots of the nodes that take the computation's jobs now. */
  readonly cpus: () => number
}

/** Runs the jobs of clusters on nodes. */
export class Scheduler extends Context.Service<Scheduler, {
  /**
   * Offers the computation to all nodes, now and whenever one appears. Succeeds when the nodes that answer have it
   * and the others have had their chance (bounded in time), also when no node answers: jobs then wait for one. Fails
   * with `ComputationRefused` when every node that answered refused it, with `CannotStart` when the only node is to be
   * started on this machine and does not start. Closing the scope ends the computation's
   * jobs (`onEnd`), kills those that run and removes its files on the nodes.
   */
  readonly open: (
    request: SchedulerRequest
  ) => Effect.Effect<SchedulerSession, CannotStart | ComputationRefused, Scope.Scope>
}>()("dispy/services/Scheduler") {}
