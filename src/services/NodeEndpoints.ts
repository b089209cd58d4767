/** Where a running node can be reached. */
import { Context } from "effect"
import type { NodeAddress } from "../domain/NodeAddress.ts"

export class NodeEndpoints extends Context.Service<NodeEndpoints, {
  /** The addresses the node listens on, with the ports it really got. */
  readonly addresses: ReadonlyArray<NodeAddress>
}>()("dispy/services/NodeEndpoints") {}
