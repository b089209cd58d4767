/** What can go wrong between a cluster and a node, and in the node itself. */
import { Schema } from "effect"

/** Nobody answers at an address of the node list, or the connection broke. */
export class NodeUnreachable extends Schema.TaggedError<NodeUnreachable>()("NodeUnreachable", {
  address: Schema.String,
  reason: Schema.String,
  /** Nobody listens there, so that it is no use to wait for the connection to come back. */
  isGone: Schema.optionalKey(Schema.Boolean)
}) {
  override get message(): string {
    return `node ${this.address} does not answer (${this.reason}); is dispynode running there and the port open?`
  }
}

/** Another client holds the node. */
export class NodeBusy extends Schema.TaggedError<NodeBusy>()("NodeBusy", {
  node: Schema.String,
  /** Who holds it: user, host and process of the other client. */
  holder: Schema.String,
  /** That client is gone, and `holder` says what the node still does for it. */
  isGone: Schema.optionalKey(Schema.Boolean)
}) {
  override get message(): string {
    const leased = `node ${this.node} is leased to ${this.holder}`
    return this.isGone === true ? leased : `${leased}; it is taken when that client closes its cluster`
  }
}

/** The peer speaks another version of the protocol. */
export class VersionMismatch extends Schema.TaggedError<VersionMismatch>()("VersionMismatch", {
  node: Schema.String,
  nodeVersion: Schema.String,
  clientVersion: Schema.String
}) {
  override get message(): string {
    return `node ${this.node} runs dispy ${this.nodeVersion}, this client ${this.clientVersion}: they do not speak the` +
      " same protocol; install the same version of dispy on both"
  }
}

/** The node does not take this computation. */
export class ComputationRefused extends Schema.TaggedError<ComputationRefused>()("ComputationRefused", {
  node: Schema.String,
  computation: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `node ${this.node} cannot run ${this.computation}: ${this.reason}`
  }
}

/** A node keeps nothing under a key, or nothing that may be had. */
export class NothingKept extends Schema.TaggedError<NothingKept>()("NothingKept", {
  node: Schema.String,
  reason: Schema.String,
  /** Its client is there, or may come back: there may be something later. */
  isInUse: Schema.optionalKey(Schema.Boolean)
}) {
  override get message(): string {
    return `node ${this.node} has nothing to recover: ${this.reason}`
  }
}

/** The caller does not hold the lease (any more) that its request names. */
export class NotLeased extends Schema.TaggedError<NotLeased>()("NotLeased", {
  node: Schema.String,
  what: Schema.String
}) {
  override get message(): string {
    return `node ${this.node} refused ${this.what}: the client holds no lease there; acquire one first`
  }
}

/** A client wants to end the node, whose owner does not let clients do that. */
export class ShutdownRefused extends Schema.TaggedError<ShutdownRefused>()("ShutdownRefused", {
  node: Schema.String
}) {
  override get message(): string {
    return `node ${this.node} does not let clients shut it down; its owner can allow that with dispynode` +
      " --client-shutdown"
  }
}

/** A peer sent bytes that are not what the protocol says. */
export class MalformedMessage extends Schema.TaggedError<MalformedMessage>()("MalformedMessage", {
  peer: Schema.String,
  what: Schema.String
}) {
  override get message(): string {
    return `${this.peer} sent a malformed message (${this.what}); the connection was closed`
  }
}

/** A program of the package cannot start as asked. */
export class CannotStart extends Schema.TaggedError<CannotStart>()("CannotStart", {
  program: Schema.String,
  reason: Schema.String,
  /** The port that somebody else has, if that is the reason. */
  takenPort: Schema.optionalKey(Schema.Number),
  /** Exit status of the program, if it is to be another than 1. */
  status: Schema.optionalKey(Schema.Number)
}) {
  override get message(): string {
    return `${this.program} cannot start: ${this.reason}`
  }
}
