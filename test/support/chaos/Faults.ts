/** What a test did to nodes and slots, and when: the ledger of executions is held against it. */
import type { Execution } from "./Ledger.ts"

/** Something befell a node, or a slot. */
export interface Fault {
  /** The node's name, or the process of the slot. */
  readonly target: string | number
  /** When it began and when it was over for good, in milliseconds of the machine's monotonic clock. */
  readonly from: number
  until: number
}

/** The machine's monotonic clock, the same for all processes, in milliseconds. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6

/** Faults in the order in which they began. */
export type Faults = Array<Fault>

/** A fault begins; until its end is noted it goes on. */
export const begin = (faults: Faults, target: Fault["target"]): Fault => {
  const fault = { target, from: now(), until: Infinity }
  faults.push(fault)
  return fault
}

/** It is over: what begins from now on is not touched by it. */
export const end = (fault: Fault): void => {
  fault.until = now()
}

/** How many faults touched a job: one of its executions was where they were, before they ended and before its own end. */
export const touching = (faults: Faults, executions: ReadonlyArray<Execution>, endedAt: number): number =>
  faults.filter(({ from, target, until }) =>
    from <= endedAt && executions.some(({ at, node, pid }) => at <= until && (target === node || target === pid))
  ).length
