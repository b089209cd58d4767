/** Starts a node on this machine for this client alone: the "local" entry of a node list. */
import { Context, type Effect, type Scope } from "effect"
import type { NodeAddress } from "../domain/NodeAddress.ts"
import type { CannotStart } from "../domain/NodeError.ts"

/** Starts a node on this machine for this client alone. */
export class NodeLauncher extends Context.Service<NodeLauncher, {
  /**
   * Starts a node that only this client can reach and that ends with the scope, or with this process however that
   * ends. Succeeds when the node is ready.
   */
  readonly launch: Effect.Effect<NodeAddress, CannotStart, Scope.Scope>
}>()("dispy/services/NodeLauncher") {}
