/** Runs the jobs of clusters on nodes: the one contract behind `JobCluster` and `SharedJobCluster`. */
import { Context, type Effect, type Scope } from "effect"
import type { Computation, LocalFiles } from "../domain/Computation.ts"
import type { DispyNode, NodeStatus } from "../domain/DispyNode.ts"
import type { SessionJobs } from "../domain/node/SessionJobs.ts"
import type { CannotStart, ComputationRefused, NodeUnreachable, ShutdownRefused } from "../domain/NodeError.ts"
import type { NodeRule, NodeTarget } from "../domain/NodeList.ts"
import type { JobRecord } from "../domain/scheduler/JobRecord.ts"
import type { FileTooLarge, TransferFailed } from "../domain/TransferError.ts"
import type { ReplyFields } from "../domain/wire/Entries.ts"
import type { JobJournal } from "./RecoverLog.ts"

/** Where files go that jobs send. */
export interface JobFilesRequest {
  /** Absolute. */
  readonly directory: string
  /** Largest file that is taken; 0 for any. */
  readonly maxFileBytes: number
  /** A file has arrived, at `path` below the directory. Must not throw. */
  readonly onFile: (job: JobRecord, path: string, sizeBytes: number) => void
}

/** A computation and who hears of its jobs. The callbacks come from the scheduler's own loop and must not throw. */
export interface SchedulerRequest {
  readonly computation: Computation
  /** Files of this machine with the contents of `computation.depends.files`, or their bytes, in their order. */
  readonly sources?: LocalFiles["sources"] | undefined
  /** Where files go that jobs send; absent where they are not wanted. */
  readonly jobFiles?: JobFilesRequest | undefined
  /** Encoded arguments of its `setup`, for nodes that have none of their own. Default: none. */
  readonly setupArgs?: Uint8Array | undefined
  /** Whether a job whose node was lost may run again elsewhere. */
  readonly isReentrant: boolean
  /** Whether its jobs are to be remembered beyond this process. Default false. */
  readonly isDurable?: boolean
  /** Nodes that it uses, and how much of each. Default: the scheduler's own list. */
  readonly nodes: ReadonlyArray<NodeRule> | undefined
  /** A node has the job's outcome. */
  readonly onReply: (job: JobRecord, reply: ReplyFields) => void
  /** The job sent a provisional result and goes on; all of them come before its outcome. */
  readonly onProvisional: (job: JobRecord, reply: ReplyFields) => void
  /** The job ended without an outcome from a node: cancelled, or its node was lost. */
  readonly onEnd: (job: JobRecord, reason: string) => void
  /** These jobs were sent to a node. */
  readonly onDispatched: (jobs: ReadonlyArray<JobRecord>, nodeId: string) => void
  /** An attempt of the job ended without a result, and it waits for another one. */
  readonly onRetried: (job: JobRecord, reply: ReplyFields) => void
  /** The node was set aside because everything failed there at once, or is used again. */
  readonly onBench: (nodeId: string, isBenched: boolean) => void
  /** These jobs wait again. */
  readonly onRequeued: (jobs: ReadonlyArray<JobRecord>) => void
  /** Something is to be told of a node; called after the scheduler knows of it. */
  readonly onNode: (status: NodeStatus, node: () => DispyNode) => void
}

/** How users steer single nodes of a computation; nodes are called by their address as `nodes` tells it. */
export interface NodeControl {
  /** Asks these entries too, before those that there are; hosts that they name are dialled. */
  readonly allocate: (rules: ReadonlyArray<NodeRule>) => Effect.Effect<void>
  /** Dials hosts, and looks for nodes that entries with patterns mean; what is found is used if the node list says so. */
  readonly discover: (targets: ReadonlyArray<NodeTarget>) => Effect.Effect<void>
  /** Gives the node no more jobs of the computation, until `allocate` names it again. */
  readonly deallocate: (address: string) => Effect.Effect<void>
  /** Ends the computation on the node; succeeds when nothing of it is left there. */
  readonly close: (address: string, isTerminating: boolean) => Effect.Effect<void>
  /** Ends the computation on the node and opens it there again; succeeds when the node is ready. */
  readonly resetup: (address: string, isTerminating: boolean) => Effect.Effect<void, ComputationRefused>
  /** Changes the slots that the computation may use; succeeds with their number, `undefined` for a node never reached. */
  readonly setCpus: (address: string, cpus: number) => Effect.Effect<number | undefined>
  /** Jobs that the node has, as far as the scheduler knows. */
  readonly jobs: (address: string) => ReadonlyArray<JobRecord>
  /** The numbers of the jobs that the node itself says it has. */
  readonly askJobs: (address: string) => Effect.Effect<SessionJobs, NodeUnreachable>
  /** Has the node end when its last client has gone. */
  readonly shutDown: (address: string) => Effect.Effect<void, NodeUnreachable | ShutdownRefused>
  /** Id of a node that may get pinned jobs; undefined for one that is not connected or not used. */
  readonly idOf: (address: string) => string | undefined
}

/** A file for a node. */
export interface NodeFileRequest {
  /** On this machine. */
  readonly file: string
  /** Address of the node. */
  readonly address: string
  /** Largest file that is sent; 0 for any. */
  readonly maxFileBytes: number
  /** Told how far it is; must not throw. */
  readonly onProgress: ((sentBytes: number, sizeBytes: number) => void) | undefined
}

/** A computation that is open for jobs. */
export interface SchedulerSession {
  /**
   * What remembers its jobs beyond this process: to be told of a job before it is submitted, and when its user has its
   * outcome. Undefined for a session that is not durable, or a scheduler that remembers nothing.
   */
  readonly journal: JobJournal | undefined
  /** Queues a job; it has exactly one outcome, which comes by `onReply` or `onEnd`. */
  readonly submit: (job: JobRecord) => void
  /** Cancels a job; its outcome still comes. A job that has ended is left alone. */
  readonly cancel: (job: JobRecord, reason: string) => void
  /** Sends a file to the working directory that its jobs have on a node, under its last name. */
  readonly sendFile: (request: NodeFileRequest) => Effect.Effect<void, TransferFailed | FileTooLarge>
  /** The nodes of the cluster, reached or not, in the order of the node list. */
  readonly nodes: () => ReadonlyArray<DispyNode>
  /** The node with an id; undefined for none. */
  readonly nodeOf: (nodeId: string) => DispyNode | undefined
  /** Address, as in the node list, of a node that has or had a job; empty for an unknown id. */
  readonly addressOf: (nodeId: string) => string
  /** Slots of the nodes that take the computation's jobs now. */
  readonly cpus: () => number
  /** How long the job waits before it is tried again, in milliseconds; undefined when it does not. */
  readonly retryMillis: (job: JobRecord) => number | undefined
  /** Jobs that go before this one among those that wait. */
  readonly ahead: (job: JobRecord) => number
  readonly control: NodeControl
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
