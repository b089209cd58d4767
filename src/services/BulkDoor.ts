/** Where bulk connections of clients enter a node. */
import { Context } from "effect"

/** A stream of bytes both ways; layers know it as Node's `Duplex`. */
export interface ByteStream {
  readonly destroyed: boolean
  readonly destroy: () => unknown
}

/** Where bulk connections of clients enter a node. */
export class BulkDoor extends Context.Service<BulkDoor, {
  /**
   * Serves a connection that greeted with this lease; `rest` are the bytes behind the greeting. It ends with the
   * stream or the lease. Says why when it does not serve it, which the peer is told as well.
   */
  readonly serve: (stream: ByteStream, leaseId: string, rest: Uint8Array) => string | undefined
}>()("dispy/services/BulkDoor") {}
