/**
 * The control protocol between a client (or scheduler) and a node. One
 * connection per client and node, opened by the client; work goes out in
 * `Dispatch` batches and comes back in the `Events` stream of the same
 * connection. A lease belongs to a client, not to a connection: a client that
 * reconnects in time resumes it, gets the replies that it has not received, and
 * sends again what was not answered, of which the node takes nothing twice.
 *
 * ```
 * client                                    node
 *   Hello {protocol, version}        ──▶      NodeInfo | VersionMismatch
 *   AcquireLease {clientId, …}       ──▶      Lease | NodeBusy
 *     or ResumeLease {leaseId, …}    ──▶      (the connection takes the place of one that broke) | NotLeased
 *   Events {leaseId, received}       ══▶      stream of NodeEvent
 *   Pulse                            ──▶      (every pulse)
 *   OfferFiles {files}               ──▶      those missing, which then go over a bulk connection
 *   OpenComputation {computation}    ──▶      cpus | ComputationRefused
 *   SetCpus {cpus}                   ──▶      (at most so many jobs of it at a time)
 *   Dispatch {sequence, batch, …}    ──▶      (slots run the jobs)
 *                                    ◀══      Replies {sequence, batch}
 *   CancelJobs {jobIds}              ──▶
 *   NodeJobs                         ──▶      ids of the jobs that it has
 *   CloseComputation                 ──▶
 *   ShutDown                         ──▶      (ends when its last client has gone) | ShutdownRefused
 *   ReleaseLease                     ──▶
 *
 *   Recover {recoverKey}             ══▶      stream of what is left of a client that is gone
 *   Forget {recoverKey}              ──▶
 * ```
 */
import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { Computation, FileEntry } from "./Computation.ts"
import {
  ComputationRefused,
  MalformedMessage,
  NodeBusy,
  NothingKept,
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
    pulseMillis: Schema.optionalKey(Schema.Number),
    /** With it the node keeps what it has for this client when that is gone, for whoever knows the key. */
    recoverKey: Schema.optionalKey(Schema.String)
  },
  success: Schema.Struct({
    leaseId: Schema.String,
    /** How often the node will tell what it has to spare, and wants to hear of the client. */
    pulseMillis: Schema.Number
  }),
  error: NodeBusy
}) {}

/** Goes on with a lease over a new connection; whoever used it before has it no more. */
export class ResumeLease extends Rpc.make("ResumeLease", {
  payload: {
    leaseId: Schema.String,
    /** That acquired it. */
    clientId: Schema.String
  },
  error: NotLeased
}) {}

/** The client is there. After five pulses without a message its connection counts as broken. */
export class Pulse extends Rpc.make("Pulse", {
  payload: { leaseId: Schema.String },
  error: NotLeased
}) {}

/** Everything the node has to tell under this lease, from the batch of replies after `received` on. */
export class Events extends Rpc.make("Events", {
  payload: {
    leaseId: Schema.String,
    /** Sequence number of the last batch that the client has; 0 for none. */
    received: Schema.Number
  },
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
    /** Counts from 1 within a lease; a number that came before is not taken again. */
    sequence: Schema.Number,
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

/** What a node kept for a client that is gone. */
export const KeptEvent = Schema.Union([
  /** A lease of the client; what follows with its id is of it. First jobs whose reply it did not have. */
  Schema.TaggedStruct("KeptLease", {
    leaseId: Schema.String,
    computations: Schema.Array(Schema.Struct({
      computationId: Schema.String,
      name: Schema.String,
      unreplied: Schema.Array(Schema.Number)
    }))
  }),
  /** Replies of a computation, in the layout of `wire/Entries.ts`. */
  Schema.TaggedStruct("KeptReplies", {
    leaseId: Schema.String,
    computationId: Schema.String,
    batch: Schema.Uint8Array
  }),
  /** A file that a job sent, to be fetched over a bulk connection with the lease. */
  Schema.TaggedStruct("KeptFile", {
    leaseId: Schema.String,
    computationId: Schema.String,
    fileId: Schema.Number,
    jobId: Schema.Number,
    path: Schema.String,
    sizeBytes: Schema.Number,
    mode: Schema.Number,
    modifiedMillis: Schema.Number
  }),
  /** Jobs that ended without a reply: the node, or a zombie interval, ended while they ran. */
  Schema.TaggedStruct("KeptLost", {
    leaseId: Schema.String,
    computationId: Schema.String,
    jobIds: Schema.Array(Schema.Number),
    reason: Schema.String
  })
])

/** What a node kept for a client that is gone. */
export type KeptEvent = typeof KeptEvent.Type

/** Everything that is kept under a key, and what comes until no job runs any more: then the stream ends. */
export class Recover extends Rpc.make("Recover", {
  payload: {
    recoverKey: Schema.String,
    /** Cancel the jobs that still run. */
    terminatePending: Schema.Boolean
  },
  success: KeptEvent,
  error: NothingKept,
  stream: true
}) {}

/** The client has what was kept under a key: it is removed. */
export class Forget extends Rpc.make("Forget", {
  payload: { recoverKey: Schema.String },
  error: NothingKept
}) {}

/** All messages of the control protocol. */
export class NodeRpcs extends RpcGroup.make(
  Hello,
  AcquireLease,
  ResumeLease,
  Pulse,
  Events,
  OfferFiles,
  AnswerJobFile,
  OpenComputation,
  SetCpus,
  Dispatch,
  CancelJobs,
  NodeJobs,
  CloseComputation,
  Recover,
  Forget,
  ReleaseLease,
  ShutDown
) {}
