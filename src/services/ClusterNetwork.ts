/**
 * Machines that clusters are made on in place of the real ones: programs that make their clusters themselves then run on
 * the nodes of a test, unchanged. Absent by default, and in all programs.
 */
import { Context } from "effect"
import type { NodeRule } from "../domain/NodeList.ts"
import type { Discovery } from "./Discovery.ts"
import type { FileTransfer } from "./FileTransfer.ts"
import type { NodeLauncher } from "./NodeLauncher.ts"
import type { NodeLink } from "./NodeLink.ts"

/** Machines, and what connects them. */
export interface Network {
  /** Connections of `NodeLink` are lasting. */
  readonly services: Context.Context<NodeLink | FileTransfer | Discovery>
  /** What "local" in a node list means, with the slots that the cluster asks for; 0 or less for its own number. */
  readonly launcher: (cpus: number) => NodeLauncher["Service"]
  /** The nodes of a cluster without a node list. */
  readonly nodes: () => ReadonlyArray<NodeRule>
}

/** The network that clusters are made on; undefined for the real one. */
export const ClusterNetwork = Context.Reference<Network | undefined>("dispy/services/ClusterNetwork", {
  defaultValue: () => undefined
})
