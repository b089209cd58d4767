/** How a cluster finds and treats its nodes. Durations have their defaults here. */
import { Context, Duration, Layer } from "effect"
import type { NodeRule } from "../domain/NodeList.ts"
import type { LinkClient } from "./NodeLink.ts"

/** How a cluster finds and treats its nodes. */
export class ClusterConfig extends Context.Service<ClusterConfig, {
  /** Who this client is, to nodes and to other clients. */
  readonly client: LinkClient
  /** The node list, in the user's order. Default: this machine. */
  readonly nodes: ReadonlyArray<NodeRule>
  /** How often nodes tell what they have to spare, in milliseconds. Default: each node's own interval, 10 s. */
  readonly pulseMillis: number | undefined
  /** How long to wait before a node that did not answer, or is leased to another client, is tried again. Default 1 s. */
  readonly retryInterval: Duration.Duration
  /** How long a cluster that has a node waits for the answers of the others before it starts without them. Default 0.5 s. */
  readonly settleTime: Duration.Duration
  /** How often a cluster whose jobs make no progress says why. Default 5 s. */
  readonly stallInterval: Duration.Duration
}>()("dispy/services/ClusterConfig") {}

/** The defaults. */
export const defaults: Omit<ClusterConfig["Service"], "client"> = {
  nodes: [{ target: { _tag: "Local" }, allocate: ({ cpus }) => ({ cpus, reason: "" }) }],
  pulseMillis: undefined,
  retryInterval: Duration.seconds(1),
  settleTime: Duration.millis(500),
  stallInterval: Duration.seconds(5)
}

/** The defaults with some settings changed. */
export const layer = (
  settings: Partial<ClusterConfig["Service"]> & { readonly client: LinkClient }
): Layer.Layer<ClusterConfig> => Layer.succeed(ClusterConfig, ClusterConfig.of({ ...defaults, ...settings }))
