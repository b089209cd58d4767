/** A node as a cluster sees it, and what happens to it. */
import type { AvailInfo } from "./NodeInfo.ts"

/**
 * What a node is for a cluster.
 *
 * ```
 * connecting ──▶ ready ◀──▶ deallocated      `deallocateNode`, `allocateNode`
 *   │  ▲           ├──▶ leaving              it is ending: no more jobs
 *   │  │           ├──▶ benched             everything failed there at once; tried again now and then
 *   │  │           └──▶ closing ──▶ closed   `closeNode`
 *   │  └── missing, busy                     tried again every second
 *   ├──▶ unused                              the node list gives the cluster nothing of it
 *   └──▶ refused                             it does not take the computation
 * ```
 */
export type NodeState =
  | "connecting"
  | "ready"
  | "missing"
  | "busy"
  | "unused"
  | "refused"
  | "deallocated"
  | "benched"
  | "leaving"
  | "closing"
  | "closed"

/** Files that went to a node for a cluster, and those that were there already. */
export interface Transferred {
  readonly files: number
  readonly bytes: number
  readonly skippedFiles: number
  readonly skippedBytes: number
}

/** Nothing was to be sent. */
export const nothingTransferred: Transferred = { files: 0, bytes: 0, skippedFiles: 0, skippedBytes: 0 }

/** A node as a cluster sees it, at the moment at which it was asked for or told. */
export interface DispyNode {
  /** As it is listed or was found: "local", "host:port". */
  readonly address: string
  /** Address that its connection goes to; empty while it was never reached. */
  readonly ipAddr: string
  /** Name that the node gives itself; empty while it was never reached. */
  readonly name: string
  readonly state: NodeState
  /** Why it is not ready; empty when it is. */
  readonly reason: string
  /** Slots that the cluster uses. */
  readonly cpus: number
  /** Slots that the node has. */
  readonly availCpus: number
  /** Jobs that it has now. */
  readonly busy: number
  /** Jobs that it has answered. */
  readonly jobsDone: number
  /** Time that it spent running jobs, in milliseconds, over all its cpus. */
  readonly cpuTime: number
  /** Bytes of jobs that were sent to it. */
  readonly sentBytes: number
  /** Bytes of results that came from it. */
  readonly receivedBytes: number
  /** When it last told what it has to spare, in milliseconds since 1970; 0 for never. */
  readonly updateTime: number
  /** What it has to spare; absent while it was never reached. */
  readonly availInfo: AvailInfo | undefined
  /** Like "linux-x64 6.1.0 node-24.21.0"; empty while it was never reached. */
  readonly platform: string
  /** Files of `depends`, for this cluster. */
  readonly transferred: Transferred
}

/**
 * What is told of a node: it has loaded the computation; it is used no more; its pulse; it is set aside because
 * everything failed there at once; it is used again.
 */
export type NodeStatus = "Initialized" | "Closed" | "AvailInfo" | "Benched" | "Unbenched"
