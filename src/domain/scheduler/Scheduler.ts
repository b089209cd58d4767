/**
 * The scheduler: events in, actions out. Deterministic and without I/O, clock or
 * chance, so that a client, a shared scheduler and a simulation run the same code.
 * `step` mutates the state it is given and its jobs; whoever calls it carries out
 * the actions in order.
 */
import {
  countReplies,
  entryAttempt,
  entryJobId,
  entrySize,
  Outcome,
  readReply,
  type ReplyFields,
  viewOf
} from "../wire/Entries.ts"
import * as Credit from "./Credit.ts"
import * as JobQueue from "./JobQueue.ts"
import { hasEnded, type JobRecord } from "./JobRecord.ts"
import {
  canTake,
  type ComputationState,
  makeComputation,
  makeSeat,
  type NodeState,
  type SchedulerState,
  type Seat
} from "./SchedulerState.ts"
import * as SeatHeap from "./SeatHeap.ts"

/** What happened. */
export type Event =
  | { readonly _tag: "ComputationOpened"; readonly computationId: string; readonly isReentrant: boolean }
  /** Its waiting and running jobs end as cancelled; the caller closes it on its nodes. */
  | { readonly _tag: "ComputationClosed"; readonly computationId: string; readonly reason: string }
  | { readonly _tag: "NodeJoined"; readonly nodeId: string; readonly cpus: number }
  /** The node has loaded the computation and takes its jobs. */
  | { readonly _tag: "NodeReady"; readonly nodeId: string; readonly computationId: string }
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

/** Takes one event and returns what to do about it, in order. */
export const step = (state: SchedulerState, event: Event): ReadonlyArray<Action> => {
  const actions: Array<Action> = []
  switch (event._tag) {
    case "ComputationOpened": {
      state.computations.set(event.computationId, makeComputation(event.computationId, event.isReentrant))
      break
    }
    case "ComputationClosed": {
      closeComputation(state, event.computationId, event.reason, actions)
      break
    }
    case "NodeJoined": {
      state.nodes.set(event.nodeId, {
        id: event.nodeId,
        sequence: state.nextSequence++,
        cpus: event.cpus,
        isLeaving: false,
        seats: new Map()
      })
      break
    }
    case "NodeReady": {
      const node = state.nodes.get(event.nodeId)
      const computation = state.computations.get(event.computationId)
      if (node === undefined || computation === undefined || node.seats.has(computation.id)) break
      const seat = makeSeat(node, computation)
      node.seats.set(computation.id, seat)
      settle(seat)
      dispatch(computation, actions)
      break
    }
    case "CpusChanged": {
      const node = state.nodes.get(event.nodeId)
      if (node === undefined) break
      node.cpus = event.cpus
      settleAll(node, actions)
      break
    }
    case "NodeLeaving": {
      const node = state.nodes.get(event.nodeId)
      if (node === undefined) break
      node.isLeaving = true
      settleAll(node, actions)
      break
    }
    case "NodeLost": {
      const node = state.nodes.get(event.nodeId)
      if (node !== undefined) loseNode(state, node, event.reason, actions)
      break
    }
    case "Submitted": {
      submit(state, event.computationId, event.jobs, actions)
      break
    }
    case "Cancelled": {
      const computation = state.computations.get(event.computationId)
      if (computation !== undefined) cancel(computation, event.jobs, event.reason, actions)
      break
    }
    case "Replied": {
      const seat = state.nodes.get(event.nodeId)?.seats.get(event.computationId)
      if (seat === undefined) state.droppedReplies += Math.max(countReplies(event.batch), 0)
      else takeReplies(state, seat, event.batch, actions)
      break
    }
  }
  return actions
}

/** Puts the seat into its computation's heap, or takes it out, as its load and credit say. */
const settle = (seat: Seat): void => {
  seat.load = seat.outstanding / Math.max(seat.node.cpus, 1)
  if (canTake(seat)) SeatHeap.update(seat.computation.open, seat)
  else SeatHeap.remove(seat.computation.open, seat)
}

const settleAll = (node: NodeState, actions: Array<Action>): void => {
  for (const seat of node.seats.values()) {
    settle(seat)
    dispatch(seat.computation, actions)
  }
}

/** Gives waiting jobs to the least loaded nodes until there are no more jobs or no more credit. */
const dispatch = (computation: ComputationState, actions: Array<Action>): void => {
  if (computation.waiting.size === 0 || computation.open.length === 0) return
  const batches = new Map<NodeState, Array<JobRecord>>()
  while (computation.open.length > 0) {
    const job = JobQueue.shift(computation.waiting)
    if (job === undefined) break
    const seat = computation.open[0]!
    job.status = "Running"
    job.nodeId = seat.node.id
    job.attempt = (job.attempt + 1) & 0xffff
    computation.running.set(job.number, job)
    seat.outstanding++
    settle(seat)
    const batch = batches.get(seat.node)
    if (batch === undefined) batches.set(seat.node, [job])
    else batch.push(job)
  }
  for (const [node, jobs] of batches) {
    actions.push({ _tag: "Dispatch", nodeId: node.id, computationId: computation.id, jobs })
  }
}

const submit = (
  state: SchedulerState,
  computationId: string,
  jobs: ReadonlyArray<JobRecord>,
  actions: Array<Action>
): void => {
  const computation = state.computations.get(computationId)
  for (const job of jobs) {
    if (hasEnded(job)) continue
    if (computation === undefined) end(computationId, job, "Cancelled", "its cluster is closed", actions)
    else JobQueue.push(computation.waiting, job)
  }
  if (computation !== undefined) dispatch(computation, actions)
}

const end = (
  computationId: string,
  job: JobRecord,
  status: "Cancelled" | "Terminated" | "Abandoned",
  reason: string,
  actions: Array<Action>
): void => {
  job.status = status
  actions.push({ _tag: "Ended", computationId, job, reason })
}

const cancel = (
  computation: ComputationState,
  jobs: ReadonlyArray<JobRecord>,
  reason: string,
  actions: Array<Action>
): void => {
  const onNodes = new Map<string, Array<number>>()
  for (const job of jobs) {
    if (hasEnded(job) || job.cancelReason !== "") continue
    job.cancelReason = reason
    if (job.status === "Created") {
      JobQueue.forget(computation.waiting)
      end(computation.id, job, "Cancelled", reason, actions)
    } else {
      const numbers = onNodes.get(job.nodeId)
      if (numbers === undefined) onNodes.set(job.nodeId, [job.number])
      else numbers.push(job.number)
    }
  }
  for (const [nodeId, jobNumbers] of onNodes) {
    actions.push({ _tag: "CancelOnNode", nodeId, computationId: computation.id, jobNumbers })
  }
}

const takeReplies = (state: SchedulerState, seat: Seat, batch: Uint8Array, actions: Array<Action>): void => {
  const { computation } = seat
  const view = viewOf(batch)
  const returned: Array<JobRecord> = []
  for (let offset = 0; offset < batch.length; offset += entrySize(view, offset)) {
    const job = computation.running.get(entryJobId(view, offset))
    if (job === undefined || job.nodeId !== seat.node.id || job.attempt !== entryAttempt(view, offset)) {
      state.droppedReplies++
      continue
    }
    const reply = readReply(batch, view, offset)
    if (reply.outcome === Outcome.provisional) {
      job.status = "ProvisionalResult"
      actions.push({ _tag: "Provisional", computationId: computation.id, job, reply })
      continue
    }
    computation.running.delete(job.number)
    seat.outstanding--
    if (reply.outcome === Outcome.returned) {
      returned.push(job)
      continue
    }
    Credit.observe(seat.credit, reply.durationMicros)
    job.status = reply.outcome === Outcome.succeeded ? "Finished" : "Terminated"
    if (reply.outcome === Outcome.cancelled && reply.startMillis === 0) job.status = "Cancelled"
    actions.push({ _tag: "Replied", computationId: computation.id, job, reply })
  }
  requeue(computation, returned, actions)
  Credit.adapt(seat.credit)
  settle(seat)
  dispatch(computation, actions)
}

/** Jobs that may run again go back to the head of the queue in their order, except those cancelled meanwhile. */
const requeue = (
  computation: ComputationState,
  jobs: ReadonlyArray<JobRecord>,
  actions: Array<Action>
): void => {
  for (const job of jobs.toReversed()) {
    if (job.cancelReason !== "") {
      end(computation.id, job, "Cancelled", job.cancelReason, actions)
    } else {
      job.status = "Created"
      JobQueue.unshift(computation.waiting, job)
    }
  }
}

const loseNode = (state: SchedulerState, node: NodeState, reason: string, actions: Array<Action>): void => {
  state.nodes.delete(node.id)
  for (const seat of node.seats.values()) {
    const { computation } = seat
    SeatHeap.remove(computation.open, seat)
    const lost = [...computation.running.values()].filter((job) => job.nodeId === node.id)
    for (const job of lost) computation.running.delete(job.number)
    if (computation.isReentrant) {
      requeue(computation, lost, actions)
    } else {
      for (const job of lost) {
        if (job.cancelReason === "") end(computation.id, job, "Abandoned", reason, actions)
        else end(computation.id, job, "Terminated", job.cancelReason, actions)
      }
    }
    dispatch(computation, actions)
  }
}

const closeComputation = (
  state: SchedulerState,
  computationId: string,
  reason: string,
  actions: Array<Action>
): void => {
  const computation = state.computations.get(computationId)
  if (computation === undefined) return
  state.computations.delete(computationId)
  for (const node of state.nodes.values()) node.seats.delete(computationId)
  for (const job of JobQueue.toArray(computation.waiting)) end(computationId, job, "Cancelled", reason, actions)
  for (const job of computation.running.values()) end(computationId, job, "Terminated", reason, actions)
}
