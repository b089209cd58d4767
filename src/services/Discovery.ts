/** Finds nodes for entries of a node list that mean many ("192.168.3.*", a name that has several addresses). */
import { Context, type Effect, type Stream } from "effect"
import type { NodeAddress } from "../domain/NodeAddress.ts"
import type { NodeTarget } from "../domain/NodeList.ts"

/** Where a node was found. */
export type FoundNode = Extract<NodeAddress, { readonly _tag: "Tcp" | "Parked" }> & {
  /** Host that it was found for, when it is not the address's: a name of several addresses, say. */
  readonly listedAs?: string
}

/** An entry of a node list whose host has answered as a relay: nobody misses a node there. */
export interface FoundRelay {
  readonly _tag: "Relay"
  /** As it is listed. */
  readonly host: string
  readonly port: number
}

/** Finds nodes. Whether one is used is not decided here: it is dialled, and the node list asked about it. */
export class Discovery extends Context.Service<Discovery, {
  /**
   * Nodes that may be meant by these entries, as they are found; the same one may come again. And the entries that are
   * relays, once each. Looks as long as it is read, and may end when there is nothing more to find.
   */
  readonly found: (targets: ReadonlyArray<NodeTarget>) => Stream.Stream<FoundNode | FoundRelay>
  /** Where it looked and how to check that, for a user whose entries found nothing: "this machine's dispynode". */
  readonly means: Effect.Effect<string>
}>()("dispy/services/Discovery") {}
