/** Where a running node can be reached. */
import { Context, type Effect } from "effect"
import type { NodeAddress } from "../domain/NodeAddress.ts"
import type { ByteStream } from "./BulkDoor.ts"

export class NodeEndpoints extends Context.Service<NodeEndpoints, {
  /** The addresses the node listens on, with the ports it really got. */
  readonly addresses: ReadonlyArray<NodeAddress>
  /** Serves a connection that the node itself has made as if it had been accepted there; ends with it. */
  readonly serve: (stream: ByteStream) => Effect.Effect<void>
}>()("dispy/services/NodeEndpoints") {}
