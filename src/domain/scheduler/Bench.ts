/**
 * Nodes on which everything fails at once while it succeeds elsewhere: a full disk,
 * a missing library. Such a node answers fastest of all and would drain the queue,
 * so it is set aside and tried again with single jobs, at growing intervals.
 *
 * ```
 * in use ──10 failures in a row──▶ benched ──5 s, 10 s … 5 min──▶ probed (one job at a time)
 *   ▲                                ▲  │                          │  │
 *   │                                └──┼────────── failed ────────┘  │
 *   └─ allocateNode; no other node is left; a job succeeded ──────────┘
 * ```
 */
import type { ReplyFields } from "../wire/Entries.ts"
import * as Credit from "./Credit.ts"
import * as Retry from "./Retry.ts"
import type { Action } from "./SchedulerEvent.ts"
import type { ComputationState, SchedulerState, Seat, SeatTimer } from "./SchedulerState.ts"
import * as Seats from "./Seats.ts"
import * as Timers from "./Timers.ts"

/** Failures in a row, without a success between them, after which a node is set aside. */
export const failureLimit = 10

/** Failures in a row from which on nothing is sent ahead to a node, if other nodes do better. */
const cautionLimit = 5

/** An attempt that took longer did not fail at once, and says nothing about its node. */
const atOnceMicros = 1_000_000

/** Until the first try, and the longest time between two. */
const firstMillis = 5000
const longestMillis = 300_000

/** A success: the node is fine. */
export const succeeded = (state: SchedulerState, seat: Seat, actions: Array<Action>): void => {
  seat.computation.successes++
  if (seat.failures > 0) seat.failures = 0
  if (seat.benched !== "") lift(state, seat, actions)
}

/** An attempt at the seat ended without a result. */
export const failed = (
  seat: Seat,
  { durationMicros, outcome }: Pick<ReplyFields, "durationMicros" | "outcome">
): void => {
  const failure = Retry.failureOf(outcome)
  const isOwnFault = failure === "JobTimedOut" || failure === "JobOutOfMemory"
  if (failure === undefined || isOwnFault || durationMicros > atOnceMicros) return
  if (seat.failures++ === 0) seat.successesBefore = seat.computation.successes
  seat.lastFailure = failure
}

const isUsable = (seat: Seat): boolean => seat.benched === "" && seat.cpus > 0

const seatsOf = function*(state: SchedulerState, { id }: ComputationState): Generator<Seat> {
  for (const node of state.nodes.values()) {
    const seat = node.seats.get(id)
    if (seat !== undefined) yield seat
  }
}

const hasUsable = (state: SchedulerState, computation: ComputationState): boolean => {
  for (const seat of seatsOf(state, computation)) if (isUsable(seat)) return true
  return false
}

/**
 * Whether another node does better than one with failures: it has not failed since its last success, and has had one
 * meanwhile or is busy with jobs that have not failed so far. The latter counts because jobs may take hours.
 */
const hasBetter = (state: SchedulerState, seat: Seat): boolean => {
  const { computation } = seat
  // Its own success would have ended the run: these are others'.
  const hasSuccesses = computation.successes !== seat.successesBefore
  for (const other of seatsOf(state, computation)) {
    if (other !== seat && isUsable(other) && other.failures === 0 && (hasSuccesses || other.outstanding > 0)) {
      return true
    }
  }
  return false
}

/** Looks at a seat after its replies: adapts what it is sent ahead, sets it aside, or goes on to do so. */
export const judge = (state: SchedulerState, seat: Seat, now: number, actions: Array<Action>): void => {
  const { computation } = seat
  if (seat.failures === 0 || seat.closing !== "") return Credit.adapt(seat.credit)
  if (seat.benched !== "") {
    if (seat.isProbed) wait(state, seat, Math.min(longestMillis, seat.benchMillis * 2), now, actions)
    return
  }
  if (!hasBetter(state, seat)) {
    Credit.adapt(seat.credit)
    if (seat.failures >= failureLimit && computation.benched > 0) acquit(state, computation, actions)
    return
  }
  if (seat.failures >= cautionLimit) seat.credit.ahead = 0
  if (seat.failures < failureLimit) return
  computation.benched++
  wait(state, seat, firstMillis, now, actions)
}

/**
 * Everything fails everywhere since before these nodes were set aside: they are used again. Their failures still count,
 * so that they are no measure for others.
 */
const acquit = (state: SchedulerState, computation: ComputationState, actions: Array<Action>): void => {
  for (const seat of seatsOf(state, computation)) {
    if (seat.benched === "" || seat.successesBefore !== computation.successes) continue
    lift(state, seat, actions, failureLimit)
  }
}

const wait = (state: SchedulerState, seat: Seat, millis: number, now: number, actions: Array<Action>): void => {
  seat.benched = `${seat.failures} job${seat.failures === 1 ? "" : "s"} in a row failed there at once (the last with ` +
    `${seat.lastFailure}) while other nodes do better`
  seat.benchMillis = millis
  seat.isProbed = false
  seat.timer ??= { _tag: "Seat", seat, at: Infinity, order: 0, heapIndex: -1 } satisfies SeatTimer
  Timers.set(state.timers, seat.timer, now + millis)
  actions.push({
    _tag: "Benched",
    nodeId: seat.node.id,
    computationId: seat.computation.id,
    reason: seat.benched,
    probeMillis: millis
  })
  Seats.resize(seat, actions)
}

/** The time of a seat that is set aside is over: it gets one job. */
export const probe = (seat: Seat, actions: Array<Action>): void => {
  if (seat.benched === "" || seat.node.seats.get(seat.computation.id) !== seat) return
  seat.isProbed = true
  seat.failures = 0
  Seats.resize(seat, actions)
}

/** Forgets that a seat is set aside; it is up to the caller to use it. */
export const forget = (state: SchedulerState, seat: Seat, failures = 0): void => {
  if (seat.benched === "") return
  seat.benched = ""
  seat.isProbed = false
  seat.failures = failures
  seat.computation.benched--
  if (seat.timer !== undefined) Timers.set(state.timers, seat.timer, Infinity)
}

/** Uses a seat again that was set aside. */
export const lift = (state: SchedulerState, seat: Seat, actions: Array<Action>, failures = 0): void => {
  if (seat.benched === "") return
  forget(state, seat, failures)
  actions.push({ _tag: "Unbenched", nodeId: seat.node.id, computationId: seat.computation.id })
  Seats.resize(seat, actions)
}

/** Uses all nodes again when no other is left, for they are better than none. */
export const reconsider = (state: SchedulerState, computation: ComputationState, actions: Array<Action>): void => {
  if (computation.benched === 0 || hasUsable(state, computation)) return
  for (const seat of seatsOf(state, computation)) lift(state, seat, actions)
}
