/** Finds nodes for entries of a node list that mean many ("192.168.3.*"). */
import { Context, type Stream } from "effect"
import type { NodeAddress } from "../domain/NodeAddress.ts"
import type { NodeTarget } from "../domain/NodeList.ts"

/** Where a node was found. */
export type FoundNode = Extract<NodeAddress, { readonly _tag: "Tcp" }>

/** Finds nodes. Whether one is used is not decided here: it is dialled, and the node list asked about it. */
export class Discovery extends Context.Service<Discovery, {
  /**
   * Nodes that may be meant by these entries, as they are found; the same one may come again. Looks as long as it is
   * read, and may end when there is nothing more to find.
   */
  readonly found: (targets: ReadonlyArray<NodeTarget>) => Stream.Stream<FoundNode>
  /** Where it looks, for a user whose entries found nothing: "this machine's dispynode at port 51348". */
  readonly means: string
}>()("dispy/services/Discovery") {}
