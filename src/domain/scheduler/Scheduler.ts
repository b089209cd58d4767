/**
 * The scheduler: events in, actions out. Deterministic and without I/O, clock or
 * chance, so that a client, a shared scheduler and a simulation run the same code.
 * `step` mutates the state it is given and its jobs; whoever calls it carries out
 * the actions in order.
 */
import { countReplies, entryAttempt, entryJobId, entrySize, Outcome, readReply, viewOf } from "../wire/Entries.ts"
import * as Credit from "./Credit.ts"
import * as JobQueue from "./JobQueue.ts"
import { hasEnded, type JobRecord } from "./JobRecord.ts"
import type { Action, Event } from "./SchedulerEvent.ts"
import {
  type ComputationState,
  makeComputation,
  makeSeat,
  type NodeState,
  pinnedTo,
  type SchedulerState,
  type Seat,
  usableCpus,
  waitingJobs
} from "./SchedulerState.ts"
import * as SeatHeap from "./SeatHeap.ts"
import * as Seats from "./Seats.ts"

/** Takes one event and returns what to do about it, in order. */
export const step = (state: SchedulerState, event: Event): ReadonlyArray<Action> => {
  const actions: Array<Action> = []
  switch (event._tag) {
    case "ComputationOpened": {
      state.computations.set(
        event.computationId,
        makeComputation(event.computationId, event.isReentrant, event.concurrency)
      )
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
    case "CpusChanged":
    case "NodeLeaving": {
      const node = state.nodes.get(event.nodeId)
      if (node === undefined) break
      if (event._tag === "CpusChanged") node.cpus = event.cpus
      else node.isLeaving = true
      for (const seat of node.seats.values()) Seats.resize(seat, actions)
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
      const seat = seatOf(state, event)
      if (seat === undefined) state.droppedReplies += Math.max(countReplies(event.batch), 0)
      else takeReplies(state, seat, event.batch, actions)
      break
    }
    default:
      seated(state, event, actions)
  }
  return actions
}

interface Place {
  readonly nodeId: string
  readonly computationId: string
}

const seatOf = (state: SchedulerState, { computationId, nodeId }: Place): Seat | undefined =>
  state.nodes.get(nodeId)?.seats.get(computationId)

type SeatEvent = Extract<
  Event,
  { readonly _tag: "NodeReady" | "NodeRefused" | "SeatLimited" | "SeatAllocated" | "SeatClosing" }
>

const drained = ({ computationId, nodeId }: Place): Action => ({ _tag: "Drained", nodeId, computationId })

/** What happens between one computation and one node. */
const seated = (state: SchedulerState, event: SeatEvent, actions: Array<Action>): void => {
  const computation = state.computations.get(event.computationId)
  const node = state.nodes.get(event.nodeId)
  if (computation === undefined || node === undefined) {
    if (event._tag === "SeatClosing") actions.push(drained(event))
    return
  }
  const seat = node.seats.get(computation.id)
  if (event._tag === "NodeReady") {
    if (seat === undefined) takeSeat(makeSeat(node, computation, event), actions)
    return
  }
  if (event._tag === "NodeRefused") return Seats.endPinned(computation, node.id, "Abandoned", event.reason, actions)
  if (event._tag === "SeatClosing") {
    if (!event.keepsPinned) Seats.endPinned(computation, node.id, "Cancelled", event.reason, actions)
    if (seat === undefined) actions.push(drained(event))
    else closeSeat(seat, event, actions)
    return
  }
  if (seat === undefined) return
  if (event._tag === "SeatLimited") seat.limit = event.cpus
  else seat.isAllocated = event.isAllocated
  Seats.resize(seat, actions)
}

/** The node was told its cpus when it was given the computation. */
const takeSeat = (seat: Seat, actions: Array<Action>): void => {
  seat.node.seats.set(seat.computation.id, seat)
  seat.cpus = usableCpus(seat)
  Seats.fill(seat, actions)
}

const closeSeat = (
  seat: Seat,
  event: Extract<Event, { readonly _tag: "SeatClosing" }>,
  actions: Array<Action>
): void => {
  const { computation, node } = seat
  if (seat.closing === "") seat.closing = event.reason
  seat.keepsPinned = event.keepsPinned
  Seats.resize(seat, actions)
  if (event.isTerminating && seat.outstanding > 0) {
    seat.isTerminating = true
    const jobNumbers: Array<number> = []
    for (const job of computation.running.values()) if (job.nodeId === node.id) jobNumbers.push(job.number)
    actions.push({ _tag: "CancelOnNode", nodeId: node.id, computationId: computation.id, jobNumbers })
  }
  Seats.closeIfDrained(seat, actions)
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
    if (computation === undefined) Seats.end(computationId, job, "Cancelled", "its cluster is closed", actions)
    else if (job.pinnedTo === "") JobQueue.push(computation.waiting, job)
    else pin(state, computation, job, actions)
  }
  if (computation !== undefined) Seats.dispatch(computation, actions)
}

const pin = (
  state: SchedulerState,
  computation: ComputationState,
  job: JobRecord,
  actions: Array<Action>
): void => {
  const node = state.nodes.get(job.pinnedTo)
  const seat = node?.seats.get(computation.id)
  if (node === undefined) {
    job.nodeId = job.pinnedTo
    return Seats.end(computation.id, job, "Abandoned", "it is not there any more", actions)
  }
  if (seat !== undefined && seat.closing !== "" && !seat.keepsPinned) {
    return Seats.end(computation.id, job, "Cancelled", seat.closing, actions)
  }
  JobQueue.push(pinnedTo(computation, node.id), job)
  if (seat !== undefined) Seats.fill(seat, actions)
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
      JobQueue.forget(job.pinnedTo === "" ? computation.waiting : pinnedTo(computation, job.pinnedTo))
      Seats.end(computation.id, job, "Cancelled", reason, actions)
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
    const isUnstarted = reply.outcome === Outcome.cancelled && reply.startMillis === 0
    // Of what a node is made to leave, jobs that had not started there run elsewhere.
    if (reply.outcome === Outcome.returned || (isUnstarted && seat.isTerminating)) {
      returned.push(job)
      continue
    }
    Credit.observe(seat.credit, reply.durationMicros)
    job.status = reply.outcome === Outcome.succeeded ? "Finished" : "Terminated"
    if (reply.outcome === Outcome.cancelled) {
      if (isUnstarted) job.status = "Cancelled"
      if (job.cancelReason === "") job.cancelReason = seat.closing
    }
    actions.push({ _tag: "Replied", computationId: computation.id, job, reply })
  }
  if (returned.length > 0) Seats.requeue(computation, seat, returned, actions)
  Credit.adapt(seat.credit)
  if (Seats.closeIfDrained(seat, actions)) Seats.dispatch(computation, actions)
  else Seats.fill(seat, actions)
}

const loseNode = (state: SchedulerState, node: NodeState, reason: string, actions: Array<Action>): void => {
  state.nodes.delete(node.id)
  for (const seat of node.seats.values()) {
    const { computation } = seat
    SeatHeap.remove(computation.open, seat)
    const lost = [...computation.running.values()].filter((job) => job.nodeId === node.id)
    const again: Array<JobRecord> = []
    for (const job of lost) {
      computation.running.delete(job.number)
      if (job.cancelReason !== "") Seats.end(computation.id, job, "Terminated", job.cancelReason, actions)
      else if (computation.isReentrant && job.pinnedTo === "") again.push(job)
      else Seats.end(computation.id, job, "Abandoned", reason, actions)
    }
    if (again.length > 0) Seats.requeue(computation, seat, again, actions)
    if (seat.closing !== "") actions.push({ _tag: "Drained", nodeId: node.id, computationId: computation.id })
    Seats.dispatch(computation, actions)
  }
  for (const computation of state.computations.values()) {
    Seats.endPinned(computation, node.id, "Abandoned", reason, actions)
    computation.pinned.delete(node.id)
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
  for (const node of state.nodes.values()) {
    const seat = node.seats.get(computationId)
    if (seat === undefined) continue
    node.seats.delete(computationId)
    if (seat.closing !== "") actions.push({ _tag: "Drained", nodeId: node.id, computationId })
  }
  for (const job of waitingJobs(computation)) Seats.end(computationId, job, "Cancelled", reason, actions)
  for (const job of computation.running.values()) Seats.end(computationId, job, "Terminated", reason, actions)
}
