/** Opens the control connection to a node. */
import { Context, type Effect, type Scope, type Stream } from "effect"
import type { Computation, FileEntry } from "../domain/Computation.ts"
import type { SessionJobs } from "../domain/node/SessionJobs.ts"
import type { NodeAddress } from "../domain/NodeAddress.ts"
import type {
  ComputationRefused,
  MalformedMessage,
  NodeBusy,
  NodeUnreachable,
  NothingKept,
  NotLeased,
  ShutdownRefused,
  VersionMismatch
} from "../domain/NodeError.ts"
import type { NodeInfo } from "../domain/NodeInfo.ts"
import type { KeptEvent, NodeEvent } from "../domain/NodeRpcs.ts"

/** Who wants a node. */
export interface LinkClient {
  /** Unique per client process. */
  readonly clientId: string
  /** User, host and process, for messages to other clients. */
  readonly clientName: string
}

/** What a computation gets of a node. */
export interface SeatTerms {
  /** Jobs at the same time, at most; 0 for none yet. Default: as many as the node has slots. */
  readonly cpus?: number
  /** Encoded arguments of its `setup` there. Default: none. */
  readonly setupArgs?: Uint8Array
}

/** A node that a client has. */
export interface Lease {
  readonly leaseId: string
  /** How often node and client tell each other that they are there; after five times nothing the other is gone. */
  readonly pulseMillis: number
}

/**
 * A connection on which versions are agreed. Every method fails with
 * `NodeUnreachable` once the connection is broken, and may be interrupted at any
 * time without harm.
 */
export interface NodeConnection {
  readonly info: NodeInfo
  /** IP address of the peer; this machine's loopback for a node embedded in the client. */
  readonly ipAddr: string
  /** Takes the node for a session of the client; the same session gets the same lease again. */
  readonly acquire: (
    client: LinkClient,
    sessionId: string,
    /** How often the node tells what it has to spare; its own interval by default. */
    pulseMillis?: number,
    /** Has the node keep what it has for the client when that is gone; nothing is kept by default. */
    recoverKey?: string
  ) => Effect.Effect<Lease, NodeBusy | NodeUnreachable>
  /** Goes on with a lease that was acquired over another connection, which loses it. */
  readonly resume: (leaseId: string, clientId: string) => Effect.Effect<void, NotLeased | NodeUnreachable>
  /** Tells the node that the client is there. */
  readonly pulse: (leaseId: string) => Effect.Effect<void, NotLeased | NodeUnreachable>
  /** Everything the node tells under the lease, of replies those after batch `received` (0 for all); ends only by failing. */
  readonly events: (leaseId: string, received: number) => Stream.Stream<NodeEvent, NotLeased | NodeUnreachable>
  /**
   * Which files of a computation are to be put over the bulk connection before it is opened, or of one of its jobs
   * before that is dispatched: places in the list. An empty list for a job takes an earlier one back.
   */
  readonly offerFiles: (
    leaseId: string,
    computation: Pick<Computation, "id" | "name" | "destPath" | "keepFiles">,
    files: ReadonlyArray<FileEntry>,
    jobId?: number
  ) => Effect.Effect<ReadonlyArray<number>, ComputationRefused | NotLeased | NodeUnreachable>
  /** Tells what became of a file that a job sent: "" that it is here, or why not. */
  readonly answerJobFile: (
    leaseId: string,
    computationId: string,
    fileId: number,
    problem: string
  ) => Effect.Effect<void, NotLeased | NodeUnreachable>
  /** Sends a computation; succeeds when the node is ready for its jobs. */
  readonly openComputation: (
    leaseId: string,
    computation: Computation,
    terms?: SeatTerms
  ) => Effect.Effect<void, ComputationRefused | NotLeased | NodeUnreachable>
  /** Changes how many jobs of a computation run at the same time; with 0 those that did not start come back. */
  readonly setCpus: (
    leaseId: string,
    computationId: string,
    cpus: number
  ) => Effect.Effect<void, NotLeased | NodeUnreachable>
  /** The jobs that the node itself says it has. */
  readonly jobs: (leaseId: string, computationId: string) => Effect.Effect<SessionJobs, NotLeased | NodeUnreachable>
  /** Sends job entries (none to only acknowledge) and acknowledges replies up to a sequence number. */
  readonly dispatch: (
    leaseId: string,
    computationId: string,
    batch: Uint8Array,
    acknowledged: number,
    /** Number of the message within the lease; of a number the node takes one. Default: the next of this connection. */
    sequence?: number
  ) => Effect.Effect<void, NotLeased | MalformedMessage | NodeUnreachable>
  /** Cancels jobs; each still gets its reply. */
  readonly cancelJobs: (
    leaseId: string,
    computationId: string,
    jobIds: ReadonlyArray<number>
  ) => Effect.Effect<void, NotLeased | NodeUnreachable>
  /** Ends a computation; succeeds when everything it started is gone. */
  readonly closeComputation: (
    leaseId: string,
    computationId: string
  ) => Effect.Effect<void, NotLeased | NodeUnreachable>
  /** Has the node end when its last client has gone; its owner may not let clients do that. */
  readonly shutDown: (leaseId: string) => Effect.Effect<void, NotLeased | ShutdownRefused | NodeUnreachable>
  /** What the node kept under a key; ends when no job runs any more. */
  readonly recover: (
    recoverKey: string,
    terminatePending: boolean
  ) => Stream.Stream<KeptEvent, NothingKept | NodeUnreachable>
  /** Has the node remove what it kept under a key. */
  readonly forget: (recoverKey: string) => Effect.Effect<void, NothingKept | NodeUnreachable>
  /** Gives the node back; ends the lease's computations. */
  readonly release: (leaseId: string) => Effect.Effect<void, NodeUnreachable>
}

/** Opens the control connection to a node. */
export class NodeLink extends Context.Service<NodeLink, {
  /**
   * Connects and agrees on the version. Bounded in time: a peer that does not answer fails with `NodeUnreachable`.
   * Closing the scope closes the connection.
   */
  readonly connect: (
    address: NodeAddress
  ) => Effect.Effect<NodeConnection, NodeUnreachable | VersionMismatch, Scope.Scope>
}>()("dispy/services/NodeLink") {}
