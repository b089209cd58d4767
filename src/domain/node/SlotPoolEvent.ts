/** What a slot pool is told and what it asks for: the seam between `SlotPool.step` and the layer that carries it out. */
import type { ExecutorKind } from "../Computation.ts"
import type { SlotDeath } from "../wire/SlotDeath.ts"
import type { SetupStep } from "../wire/SlotFrames.ts"
import type { PoolJob } from "./SlotPoolState.ts"

/** What a job had printed when its slot ended. */
export interface PrintedOutput {
  /** 0 where only one job can have printed it. */
  readonly jobId: number
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
}

/** What is known of a slot that is gone once everything that it wrote was read. */
export interface SlotEnd {
  readonly slot: number
  /** So many of its jobs in flight, the last ones, never started. */
  readonly unclaimed: number
  readonly printed: ReadonlyArray<PrintedOutput>
}

/** What happened. */
export type PoolEvent =
  | {
    readonly _tag: "SessionOpened"
    readonly session: number
    readonly graceMillis: number
    readonly cpus: number
    readonly kind: ExecutorKind
    /** Jobs at a time per slot. */
    readonly concurrency: number
    /** How long `setup` in its host, and `setupSlot` in each slot, may take once the code is loaded. Default 0. */
    readonly setupMillis?: number
  }
  /** The session may use so many cpus from now on; what runs goes on, with 0 the rest is given back. */
  | { readonly _tag: "SessionLimited"; readonly session: number; readonly cpus: number }
  /** The session ends now: nobody waits for its jobs any more. */
  | { readonly _tag: "SessionClosed"; readonly session: number }
  /** A well-formed batch of job entries. */
  | { readonly _tag: "JobsArrived"; readonly session: number; readonly batch: Uint8Array }
  | { readonly _tag: "JobsCancelled"; readonly session: number; readonly jobIds: ReadonlyArray<number> }
  /** Jobs that have not started are wanted back. */
  | { readonly _tag: "QueueReturned"; readonly session: number }
  /** The slot process runs. */
  | { readonly _tag: "SlotStarted"; readonly slot: number }
  /** The slot has loaded the code and runs this before it is ready: its time begins. */
  | { readonly _tag: "SlotSettingUp"; readonly slot: number; readonly step: SetupStep }
  /** The slot has loaded its computation, or as a host is ready for threads. */
  | { readonly _tag: "SlotReady"; readonly slot: number }
  | { readonly _tag: "SlotRefused"; readonly slot: number; readonly reason: string }
  | { readonly _tag: "SlotListening"; readonly slot: number; readonly jobId: number }
  /** Well-formed reply entries; the pool may change them and passes them on. */
  | { readonly _tag: "Replied"; readonly slot: number; readonly entries: Uint8Array }
  /** Answer to `TakeBack`: the last `count` jobs in flight were not claimed and never will be. */
  | { readonly _tag: "TookBack"; readonly slot: number; readonly count: number }
  /** The slot has forgotten the jobs that were taken back. */
  | { readonly _tag: "SlotRevoked"; readonly slot: number }
  /** The slot does what no slot does. */
  | { readonly _tag: "SlotBroken"; readonly slot: number; readonly reason: string }
  /** The process or thread is gone; of a host all threads are gone with it. */
  | ({ readonly _tag: "SlotDied"; readonly death: SlotDeath; readonly threads: ReadonlyArray<SlotEnd> } & SlotEnd)
  /** The node offers another number of cpus from now on; jobs that run go on, and with 0 the others are given back. */
  | { readonly _tag: "CpusSet"; readonly cpus: number }
  | { readonly _tag: "Timer" }

/** What is to be done, in order. */
export type PoolAction =
  | { readonly _tag: "StartSlot"; readonly slot: number }
  | { readonly _tag: "PrepareSlot"; readonly slot: number; readonly session: number }
  /** Start a thread in a process that is a host. */
  | { readonly _tag: "StartThread"; readonly slot: number; readonly host: number; readonly session: number }
  | { readonly _tag: "SendJobs"; readonly slot: number; readonly jobs: ReadonlyArray<PoolJob> }
  /** Read the slot's claims, tell it what it lost, and answer with `TookBack` before any other event. */
  | { readonly _tag: "TakeBack"; readonly slot: number }
  | { readonly _tag: "Abort"; readonly slot: number; readonly jobId: number }
  /** SIGTERM to everything that the slot started; a thread is stopped. */
  | { readonly _tag: "Terminate"; readonly slot: number }
  /** SIGKILL to the process and everything that it started. */
  | { readonly _tag: "Kill"; readonly slot: number; readonly reason: string }
  /** The slot is gone: SIGKILL to what it left behind, after this time. */
  | { readonly _tag: "Sweep"; readonly slot: number; readonly afterMillis: number }
  | { readonly _tag: "Emit"; readonly session: number; readonly entries: Uint8Array }
  | { readonly _tag: "SessionReady"; readonly session: number }
  | { readonly _tag: "SessionRefused"; readonly session: number; readonly reason: string }
  /** Send a `Timer` at this time; replaces the one before. */
  | { readonly _tag: "SetTimer"; readonly at: number }
