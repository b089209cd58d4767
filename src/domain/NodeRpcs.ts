/**
 * The control protocol between a client (or scheduler) and a node. One
 * connection per client and node, opened by the client; work goes out in
 * `Dispatch` batches and comes back in the `Events` stream of the same
 * connection. A lease belongs to a client, not to a connection: a client that
 * reconnects in time finds its replies from the last acknowledged one on.
 *
 * ```
 * client                                    node
 *   Hello {protocol, version}        ──▶      NodeInfo | VersionMismatch
 *   AcquireLease {clientId, …}       ──▶      Lease | NodeBusy
 *   Events {leaseId}                 ══▶      stream of NodeEvent
 *   OfferFiles {files}               ──▶      those missing, which then go over a bulk connection
 *   OpenComputation {computation}    ──▶      cpus | ComputationRefused
 *   SetCpus {cpus}                   ──▶      (at most so many jobs of it at a time)
 *   Dispatch {batch, acknowledged}   ──▶      (slots run the jobs)
 *                                    ◀══      Replies {sequence, batch}
 *   CancelJobs {jobIds}              ──▶
 *   NodeJobs                         ──▶      ids of the jobs that it has
 *   CloseComputation                 ──▶
 *   ShutDown                         ──▶      (ends when its last client has gone) | ShutdownRefused
 *   ReleaseLease                     ──▶
 * ```
 */
import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { Computation, FileEntry } from "./Computation.ts"
import {
  ComputationRefused,
  MalformedMessage,
  NodeBusy,
  NotLeased,
  ShutdownRefused,
  VersionMismatch
} from "./NodeError.ts"
import { AvailInfo, Cpus, NodeInfo } from "./NodeInfo.ts"

const Whole = Schema.Number.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

/** What a node tells its client without being asked. */
export const NodeEvent = Schema.Union([
  /** Replies of a computation, in the layout of `wire/Entries.ts`. Sequence numbers count from 1 within a lease. */
  Schema.TaggedStruct("Replies", {
    computationId: Schema.String,
    sequence: Whole,
    batch: Schema.Uint8Array
  }),
  /** The node's number of slots changed. */
  Schema.TaggedStruct("CpusChanged", { cpus: Cpus }),
  /** The node's availability, every pulse. */
  Schema.TaggedStruct("Pulse", { availInfo: AvailInfo }),
  /** A job sends a file, which the client fetches over a bulk connection and then answers. */
  Schema.TaggedStruct("JobFile", {
    computationId: Schema.String,
    fileId: Whole,
    jobId: Whole,
    /** Relative to the jobs' working directory, or the base name. */
    path: Schema.String,
    sizeBytes: Whole,
    /** Permission bits. */
    mode: Whole,
    modifiedMillis: Schema.Number
  }),
  /** The node is ending: it takes no more jobs and gives back those that did not start. */
  Schema.TaggedStruct("Leaving", { reason: Schema.String })
])

/** What a node tells its client without being asked. */
export type NodeEvent = typeof NodeEvent.Type

/** First message on every connection. */
export class Hello extends Rpc.make("Hello", {
  payload: { protocol: Schema.Number, version: Schema.String },
  success: NodeInfo,
  error: VersionMismatch
}) {}

/**
 * Takes the node for a client. The node belongs to one client at a time, which may hold several leases there, one per
 * session (its clusters do not know of each other); the same session gets the same lease again.
 */
export class AcquireLease extends Rpc.make("AcquireLease", {
  payload: {
    /** Unique per client process. */
    clientId: Schema.String,
    /** User, host and process, for messages to others. */
    clientName: Schema.String,
    /** Unique per scheduler of the client and per life of its connection. */
    sessionId: Schema.String,
    /** How often the client wants to know what the node has to spare; absent for the node's own interval. */
    pulseMillis: Schema.optionalKey(Schema.Number)
  },
  success: Schema.Struct({ leaseId: Schema.String }),
  error: NodeBusy
}) {}

/** Everything the node has to tell under this lease, from the first reply that was not acknowledged on. */
export class Events extends Rpc.make("Events", {
  payload: { leaseId: Schema.String },
  success: NodeEvent,
  error: NotLeased,
  stream: true
}) {}

/**
 * Offers the files of a computation before it is opened, or those of one of its jobs before that is dispatched; answers
 * with the places in the list of those that the client is to put over a bulk connection. The others are there already,
 * by their content. Files of a job go when it has been replied to, or when an empty list is offered for it.
 */
export class OfferFiles extends Rpc.make("OfferFiles", {
  payload: {
    leaseId: Schema.String,
    computationId: Schema.String,
    computationName: Schema.String,
    destPath: Schema.optionalKey(Schema.String),
    keepFiles: Schema.optionalKey(Schema.Boolean),
    files: Schema.Array(FileEntry),
    /** The job that takes the files along; absent for the computation. */
    jobId: Schema.optionalKey(Schema.Number)
  },
  success: Schema.Struct({ missing: Schema.Array(Schema.Number) }),
  error: Schema.Union([NotLeased, ComputationRefused])
}) {}

/** The client has the file that a job sent, or says why it has not. */
export class AnswerJobFile extends Rpc.make("AnswerJobFile", {
  payload: {
    leaseId: Schema.String,
    computationId: Schema.String,
    fileId: Schema.Number,
    /** Empty when the file is there. */
    problem: Schema.String
  },
  error: NotLeased
}) {}

/** Sends a computation; answers when the node is ready for its jobs. */
export class OpenComputation extends Rpc.make("OpenComputation", {
  payload: {
    leaseId: Schema.String,
    computation: Computation,
    /** Jobs of it at the same time, at most; 0 for none yet. Absent for as many as the node has slots. */
    cpus: Schema.optionalKey(Schema.Number),
    /** Encoded arguments of its `setup`; absent for none. */
    setupArgs: Schema.optionalKey(Schema.Uint8Array)
  },
  success: Schema.Struct({ cpus: Schema.Number }),
  error: Schema.Union([NotLeased, ComputationRefused])
}) {}

/** Changes how many jobs of a computation run at the same time. With 0 those that did not start are given back. */
export class SetCpus extends Rpc.make("SetCpus", {
  payload: { leaseId: Schema.String, computationId: Schema.String, cpus: Schema.Number },
  error: NotLeased
}) {}

/** The jobs of a computation that got no reply yet: a computation that is not open has none. */
export class NodeJobs extends Rpc.make("NodeJobs", {
  payload: { leaseId: Schema.String, computationId: Schema.String },
  success: Schema.Struct({ running: Schema.Array(Schema.Number), waiting: Schema.Array(Schema.Number) }),
  error: NotLeased
}) {}

/** Sends jobs (none to acknowledge only), and acknowledges replies up to and including a sequence number. */
export class Dispatch extends Rpc.make("Dispatch", {
  payload: {
    leaseId: Schema.String,
    computationId: Schema.String,
    batch: Schema.Uint8Array,
    acknowledged: Schema.Number
  },
  error: Schema.Union([NotLeased, MalformedMessage])
}) {}

/** Cancels jobs, queued on the node or running; each still gets exactly one reply. */
export class CancelJobs extends Rpc.make("CancelJobs", {
  payload: {
    leaseId: Schema.String,
    computationId: Schema.String,
    jobIds: Schema.Array(Schema.Number)
  },
  error: NotLeased
}) {}

/** Ends a computation: kills what still runs, removes its files, answers when all is gone. */
export class CloseComputation extends Rpc.make("CloseComputation", {
  payload: { leaseId: Schema.String, computationId: Schema.String },
  error: NotLeased
}) {}

/** Gives the node back; ends the lease's computations. */
export class ReleaseLease extends Rpc.make("ReleaseLease", {
  payload: { leaseId: Schema.String }
}) {}

/** Ends the node when its last client has gone; it takes no new ones from now on. */
export class ShutDown extends Rpc.make("ShutDown", {
  payload: { leaseId: Schema.String },
  error: Schema.Union([NotLeased, ShutdownRefused])
}) {}

/** All messages of the control protocol. */
export class NodeRpcs extends RpcGroup.make(
  Hello,
  AcquireLease,
  Events,
  OfferFiles,
  AnswerJobFile,
  OpenComputation,
  SetCpus,
  Dispatch,
  CancelJobs,
  NodeJobs,
  CloseComputation,
  ReleaseLease,
  ShutDown
) {}
