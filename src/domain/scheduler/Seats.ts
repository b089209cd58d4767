/**
 * What happens at a seat: how many cpus it may use, which jobs it gets, and how
 * it is emptied. Pinned jobs go first, so a seat is open for other jobs only
 * while nothing is pinned to it; every change here costs O(log n) per job.
 */
import * as JobQueue from "./JobQueue.ts"
import type { JobRecord } from "./JobRecord.ts"
import type { Action } from "./SchedulerEvent.ts"
import { canTake, type ComputationState, type NodeState, pinnedTo, type Seat, usableCpus } from "./SchedulerState.ts"
import * as SeatHeap from "./SeatHeap.ts"
import * as Trials from "./Trials.ts"

/** Ends a job without a reply of a node. One that was tried was not cancelled before it started. */
export const end = (
  computationId: string,
  job: JobRecord,
  status: "Cancelled" | "Terminated" | "Abandoned",
  reason: string,
  actions: Array<Action>
): void => {
  job.status = status === "Cancelled" && Trials.isTried(job) ? "Terminated" : status
  if (job.trials !== undefined) Trials.arm(computationId, job)
  actions.push({ _tag: "Ended", computationId, job, reason })
}

/** Ends all jobs that wait for a node and no other, those included that wait for another attempt there. */
export const endPinned = (
  computation: ComputationState,
  nodeId: string,
  status: "Cancelled" | "Abandoned",
  reason: string,
  actions: Array<Action>
): void => {
  for (const job of computation.delayed.values()) {
    if (job.pinnedTo !== nodeId) continue
    undelay(computation, job)
    end(computation.id, job, status, reason, actions)
  }
  const queue = computation.pinned.get(nodeId)
  if (queue === undefined || queue.size === 0) return
  for (const job of JobQueue.clear(queue)) {
    job.nodeId = nodeId
    end(computation.id, job, status, reason, actions)
  }
}

const undelay = (computation: ComputationState, job: JobRecord): boolean => {
  if (!computation.delayed.delete(job.number)) return false
  job.trials!.retryAt = Infinity
  return true
}

/** Takes a job out of where it waits, because it ends. */
export const unqueue = (computation: ComputationState, job: JobRecord): void => {
  if (undelay(computation, job)) return
  JobQueue.forget(job.pinnedTo === "" ? computation.waiting : pinnedTo(computation, job.pinnedTo))
}

/** Puts a job that was tried back where it waits for a node: before those that were not. */
const enqueue = (computation: ComputationState, job: JobRecord): void => {
  job.status = "Created"
  JobQueue.unshift(job.pinnedTo === "" ? computation.waiting : pinnedTo(computation, job.pinnedTo), job)
  if (job.trials !== undefined) Trials.arm(computation.id, job)
}

/** Has a job wait for another attempt, for some time or not. */
export const retry = (computation: ComputationState, job: JobRecord, millis: number, now: number): void => {
  if (millis <= 0) return enqueue(computation, job)
  job.status = "Created"
  computation.delayed.set(job.number, job)
  job.trials!.retryAt = now + millis
  Trials.arm(computation.id, job)
}

/** The job has waited for its time: it waits for a node again. */
export const release = (computation: ComputationState, job: JobRecord): void => {
  if (undelay(computation, job)) enqueue(computation, job)
}

const assign = (seat: Seat, job: JobRecord): void => {
  job.status = "Running"
  job.nodeId = seat.node.id
  job.attempt = (job.attempt + 1) & 0xffff
  seat.computation.running.set(job.number, job)
  seat.outstanding++
  if (job.trials !== undefined) Trials.arm(seat.computation.id, job)
}

/** Puts the seat into its computation's heap, or takes it out, as its load and credit say. */
const settle = (seat: Seat): void => {
  seat.load = seat.outstanding / Math.max(seat.cpus, 1)
  if (canTake(seat)) SeatHeap.update(seat.computation.open, seat)
  else SeatHeap.remove(seat.computation.open, seat)
}

/** Gives a seat the jobs that are pinned to its node, then offers what room is left to all others. */
const refresh = (seat: Seat, actions: Array<Action>): void => {
  if (seat.pinned.size > 0 && canTake(seat)) {
    const jobs: Array<JobRecord> = []
    while (canTake(seat)) {
      const job = JobQueue.shift(seat.pinned)
      if (job === undefined) break
      assign(seat, job)
      jobs.push(job)
    }
    actions.push({ _tag: "Dispatch", nodeId: seat.node.id, computationId: seat.computation.id, jobs })
  }
  settle(seat)
}

/** Where a job goes: to the least loaded node, and if it has failed there, rather to another one that has room. */
const choose = ({ open }: ComputationState, { trials }: JobRecord): Seat => {
  const first = open[0]!
  if (trials?.history.at(-1)?.nodeId !== first.node.id) return first
  return SeatHeap.second(open) ?? first
}

/** Gives waiting jobs to the least loaded nodes until there are no more jobs or no more credit. */
export const dispatch = (computation: ComputationState, actions: Array<Action>): void => {
  if (computation.waiting.size === 0 || computation.open.length === 0) return
  const batches = new Map<NodeState, Array<JobRecord>>()
  while (computation.open.length > 0) {
    const job = JobQueue.shift(computation.waiting)
    if (job === undefined) break
    const seat = choose(computation, job)
    assign(seat, job)
    settle(seat)
    const batch = batches.get(seat.node)
    if (batch === undefined) batches.set(seat.node, [job])
    else batch.push(job)
  }
  for (const [node, jobs] of batches) {
    actions.push({ _tag: "Dispatch", nodeId: node.id, computationId: computation.id, jobs })
  }
}

/** The seat has answered jobs or has new ones pinned to it: fills it up again. */
export const fill = (seat: Seat, actions: Array<Action>): void => {
  refresh(seat, actions)
  dispatch(seat.computation, actions)
}

/** What the seat may use has changed, or may have: tells the node, and fills the seat. */
export const resize = (seat: Seat, actions: Array<Action>): void => {
  const cpus = usableCpus(seat)
  if (cpus !== seat.cpus) {
    seat.cpus = cpus
    // A node that is leaving gives its jobs back by itself.
    if (!seat.node.isLeaving) {
      actions.push({ _tag: "SetCpus", nodeId: seat.node.id, computationId: seat.computation.id, cpus })
    }
  }
  fill(seat, actions)
}

/**
 * Jobs that may run again go back to the head of their queue in their order, except those that were cancelled
 * meanwhile, and those that are pinned to a node that is being closed.
 */
export const requeue = (
  computation: ComputationState,
  seat: Seat,
  jobs: ReadonlyArray<JobRecord>,
  actions: Array<Action>
): void => {
  const waiting: Array<JobRecord> = []
  for (const job of jobs.toReversed()) {
    if (job.cancelReason !== "") {
      end(computation.id, job, "Cancelled", job.cancelReason, actions)
    } else if (job.pinnedTo !== "" && seat.closing !== "" && !seat.keepsPinned) {
      end(computation.id, job, "Cancelled", seat.closing, actions)
    } else {
      enqueue(computation, job)
      waiting.push(job)
    }
  }
  if (waiting.length > 0) {
    actions.push({ _tag: "Requeued", computationId: computation.id, jobs: waiting.reverse() })
  }
}

/** Removes a seat that is being closed once its node has answered everything. */
export const closeIfDrained = (seat: Seat, actions: Array<Action>): boolean => {
  if (seat.closing === "" || seat.outstanding > 0) return false
  const { computation, node } = seat
  SeatHeap.remove(computation.open, seat)
  node.seats.delete(computation.id)
  if (seat.pinned.size === 0) computation.pinned.delete(node.id)
  actions.push({ _tag: "Drained", nodeId: node.id, computationId: computation.id })
  return true
}
