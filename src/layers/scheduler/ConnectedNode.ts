/** A node as the engine of a scheduler has it: its lease, its connections, what it has done. */
import type { TransferSession } from "../../services/FileTransfer.ts"
import type { NodeConnection } from "../../services/NodeLink.ts"

/** A node with its connection and what it has done for this client. */
export interface ConnectedNode {
  readonly id: string
  readonly leaseId: string
  /** As users write it. */
  readonly address: string
  readonly connection: NodeConnection
  /** Files and large values. */
  readonly transfer: TransferSession
  /** Sequence number of the last batch of replies that was taken. */
  received: number
  /** Sequence number that the node was last told. */
  acknowledged: number
  /** Of the batches since then. */
  unacknowledgedBytes: number
  /** A large result was fetched: the node keeps its file until the reply is acknowledged. */
  hasFetched: boolean
  jobsDone: number
  busyMicros: number
  /** Of jobs that were sent to it, and of replies that came from it. */
  sentBytes: number
  receivedBytes: number
  /** Called when the node must be given up. */
  readonly fail: (reason: string) => void
}
