/** Connections that nodes which cannot be dialled have parked with this client, for it to use. */
import { Context, Effect, type Scope, Stream } from "effect"
import type { NodeBeacon } from "../domain/discovery/Datagram.ts"
import type { ParkedAddress } from "../domain/NodeAddress.ts"
import { format } from "../domain/NodeAddress.ts"
import { NodeUnreachable } from "../domain/NodeError.ts"
import type { ByteStream } from "./BulkDoor.ts"

/** A node that parks connections here. */
export interface ParkedNode {
  readonly address: ParkedAddress
  /** What it tells of itself, which nobody has checked. */
  readonly node: NodeBeacon
}

/** A connection that was parked, on which nothing was said yet. */
export interface ParkedConnection {
  readonly stream: ByteStream
  /** Hosts one of which a certificate of the node has to be for. */
  readonly hosts: ReadonlyArray<string>
}

/** Connections that nodes have parked with this client; none unless something is provided. */
export const Parking = Context.Reference<{
  /** The nodes that have a connection parked, and those that come. Nobody can park any before this is read. */
  readonly nodes: Stream.Stream<ParkedNode>
  /** Whether the node with this incarnation has a connection parked now. */
  readonly has: (incarnation: string) => boolean
  /** Takes a connection of the node; waits for the next one, but not for long. It is closed with the scope. */
  readonly take: (address: ParkedAddress) => Effect.Effect<ParkedConnection, NodeUnreachable, Scope.Scope>
  /** Where it listens, and what was wrong there, for a user who misses a node. */
  readonly means: Effect.Effect<ReadonlyArray<string>>
}>("dispy/services/Parking", {
  defaultValue: () => ({
    nodes: Stream.empty,
    has: () => false,
    take: (address) =>
      Effect.fail(new NodeUnreachable({ address: format(address), reason: "nothing can be parked here" })),
    means: Effect.succeed([])
  })
})
