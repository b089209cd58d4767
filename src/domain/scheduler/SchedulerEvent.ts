/** What the scheduler is told and what it asks for: the seam between `Scheduler.step` and whoever carries it out. */
import type { ReplyFields } from "../wire/Entries.ts"
import type { JobRecord } from "./JobRecord.ts"

/** What happened. */
export type Event =
  | {
    readonly _tag: "ComputationOpened"
    readonly computationId: string
    readonly isReentrant: boolean
    /** Jobs at a time per cpu. Default 1. */
    readonly concurrency?: number
  }
  /** Its waiting and running jobs end as cancelled; the caller closes it on its nodes. */
  | { readonly _tag: "ComputationClosed"; readonly computationId: string; readonly reason: string }
  | { readonly _tag: "NodeJoined"; readonly nodeId: string; readonly cpus: number }
  /** The node has loaded the computation and takes its jobs. */
  | {
    readonly _tag: "NodeReady"
    readonly nodeId: string
    readonly computationId: string
    /** Cpus of the node that the computation may use; absent for all. */
    readonly cpus?: number
    /** False when the computation gives the node nothing for now. */
    readonly isAllocated?: boolean
  }
  /** The node does not take the computation: jobs pinned to it have nowhere to run. */
  | {
    readonly _tag: "NodeRefused"
    readonly nodeId: string
    readonly computationId: string
    readonly reason: string
  }
  /** The computation may use so many cpus of the node from now on. */
  | {
    readonly _tag: "SeatLimited"
    readonly nodeId: string
    readonly computationId: string
    readonly cpus: number
  }
  /** The computation gives the node nothing new, or does so again. */
  | {
    readonly _tag: "SeatAllocated"
    readonly nodeId: string
    readonly computationId: string
    /** True also puts back a node that was set aside because everything failed there. */
    readonly isAllocated: boolean
  }
  /**
   * The computation leaves the node: it gets no more jobs, and is `Drained` when it has answered those it has. Jobs
   * pinned to it end, unless the seat is to be taken again (`keepsPinned`).
   */
  | {
    readonly _tag: "SeatClosing"
    readonly nodeId: string
    readonly computationId: string
    readonly reason: string
    /** What runs there is ended; what has not started runs elsewhere. */
    readonly isTerminating: boolean
    readonly keepsPinned: boolean
  }
  | { readonly _tag: "CpusChanged"; readonly nodeId: string; readonly cpus: number }
  /** The node gets no more jobs; those it has go on. */
  | { readonly _tag: "NodeLeaving"; readonly nodeId: string }
  | { readonly _tag: "NodeLost"; readonly nodeId: string; readonly reason: string }
  | { readonly _tag: "Submitted"; readonly computationId: string; readonly jobs: ReadonlyArray<JobRecord> }
  | {
    readonly _tag: "Cancelled"
    readonly computationId: string
    readonly jobs: ReadonlyArray<JobRecord>
    readonly reason: string
  }
  /** Reply entries of a node; the caller has checked that they are well formed. */
  | {
    readonly _tag: "Replied"
    readonly nodeId: string
    readonly computationId: string
    readonly batch: Uint8Array
  }
  /** It is as late as `WakeAt` asked for, or later. */
  | { readonly _tag: "TimePassed" }

/** What to do. */
export type Action =
  | {
    readonly _tag: "Dispatch"
    readonly nodeId: string
    readonly computationId: string
    readonly jobs: ReadonlyArray<JobRecord>
  }
  | {
    readonly _tag: "CancelOnNode"
    readonly nodeId: string
    readonly computationId: string
    readonly jobNumbers: ReadonlyArray<number>
  }
  /** The computation may use so many of the node's cpus at a time; 0 also gives back what has not started. */
  | {
    readonly _tag: "SetCpus"
    readonly nodeId: string
    readonly computationId: string
    readonly cpus: number
  }
  /** The node has answered all jobs of a computation that leaves it: it can be closed there. */
  | { readonly _tag: "Drained"; readonly nodeId: string; readonly computationId: string }
  /** These jobs wait again: they did not start, or may start once more because their node was lost. */
  | { readonly _tag: "Requeued"; readonly computationId: string; readonly jobs: ReadonlyArray<JobRecord> }
  /** An attempt ended without a result, and the job waits for another one; the attempt is the last of its history. */
  | {
    readonly _tag: "Retried"
    readonly computationId: string
    readonly job: JobRecord
    readonly reply: ReplyFields
  }
  /** Everything failed at the node at once: it gets nothing but a job now and then, the first in so many milliseconds. */
  | {
    readonly _tag: "Benched"
    readonly nodeId: string
    readonly computationId: string
    readonly reason: string
    readonly probeMillis: number
  }
  /** The node is used again. */
  | { readonly _tag: "Unbenched"; readonly nodeId: string; readonly computationId: string }
  /** Post `TimePassed` at this time, and no earlier one that was asked for before. */
  | { readonly _tag: "WakeAt"; readonly millis: number }
  /** The job has its outcome; `status` of the job is set. */
  | {
    readonly _tag: "Replied"
    readonly computationId: string
    readonly job: JobRecord
    readonly reply: ReplyFields
  }
  /** The job sent a provisional result and goes on. */
  | {
    readonly _tag: "Provisional"
    readonly computationId: string
    readonly job: JobRecord
    readonly reply: ReplyFields
  }
  /** The job ended without a reply of a node; `status` of the job is set. */
  | {
    readonly _tag: "Ended"
    readonly computationId: string
    readonly job: JobRecord
    readonly reason: string
  }
