/**
 * The scheduler: events in, actions out. Deterministic and without I/O, clock or
 * chance, so that a client, a shared scheduler and a simulation run the same code.
 * `step` mutates the state it is given and its jobs; whoever calls it carries out
 * the actions in order. Time is told with each event, in monotonic milliseconds;
 * what is due later it asks to be woken for (`WakeAt`).
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
import { decodeSlotDeath } from "../wire/SlotDeath.ts"
import * as Bench from "./Bench.ts"
import * as Credit from "./Credit.ts"
import * as JobQueue from "./JobQueue.ts"
import { hasEnded, type JobRecord } from "./JobRecord.ts"
import * as Retry from "./Retry.ts"
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
import * as Timers from "./Timers.ts"
import * as Trials from "./Trials.ts"

/** Takes one event and returns what to do about it, in order. `now` is in monotonic milliseconds. */
export const step = (state: SchedulerState, event: Event, now: number): ReadonlyArray<Action> => {
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
      for (const seat of node.seats.values()) {
        Seats.resize(seat, actions)
        Bench.reconsider(state, seat.computation, actions)
      }
      break
    }
    case "NodeLost": {
      const node = state.nodes.get(event.nodeId)
      if (node !== undefined) loseNode(state, node, event.reason, now, actions)
      break
    }
    case "Submitted": {
      submit(state, event.computationId, event.jobs, now, actions)
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
      else takeReplies(state, seat, event.batch, now, actions)
      break
    }
    case "TimePassed": {
      state.timers.wakeAt = Infinity
      passTime(state, now, actions)
      break
    }
    default:
      seated(state, event, actions)
  }
  const millis = Timers.wake(state.timers)
  if (millis !== undefined) actions.push({ _tag: "WakeAt", millis })
  return actions
}

/** Does what is due. */
const passTime = (state: SchedulerState, now: number, actions: Array<Action>): void => {
  const released: Array<{ readonly computation: ComputationState; readonly job: JobRecord }> = []
  for (let timer = Timers.take(state.timers, now); timer !== undefined; timer = Timers.take(state.timers, now)) {
    if (timer._tag === "Seat") {
      Bench.probe(timer.seat, actions)
      continue
    }
    const { computationId, job } = timer
    const computation = state.computations.get(computationId)
    if (computation === undefined || job.trials === undefined) continue
    const kind = Trials.overdue(job, job.trials, now)
    if (kind === undefined) released.push({ computation, job })
    else endOverdue(computation, job, kind, actions)
  }
  // The last one that is put at the head of a queue is its first.
  for (const { computation, job } of released.toReversed()) Seats.release(computation, job)
  for (const { computation, job } of released) {
    const seat = job.pinnedTo === "" ? undefined : state.nodes.get(job.pinnedTo)?.seats.get(computation.id)
    if (seat === undefined) Seats.dispatch(computation, actions)
    else Seats.fill(seat, actions)
  }
}

/** A timeout of the job is over, other than that of its running time. */
const endOverdue = (
  computation: ComputationState,
  job: JobRecord,
  kind: "queue" | "total",
  actions: Array<Action>
): void => {
  const { trials } = job
  if (trials === undefined) return
  trials.overdue = kind
  cancel(computation, [job], Trials.overdueReason(trials.terms, kind), actions)
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
    else closeSeat(state, seat, event, actions)
    return
  }
  if (seat === undefined) return
  if (event._tag === "SeatLimited") seat.limit = event.cpus
  else {
    seat.isAllocated = event.isAllocated
    if (event.isAllocated) Bench.lift(state, seat, actions)
  }
  Seats.resize(seat, actions)
  Bench.reconsider(state, computation, actions)
}

/** The node was told its cpus when it was given the computation. */
const takeSeat = (seat: Seat, actions: Array<Action>): void => {
  seat.node.seats.set(seat.computation.id, seat)
  seat.cpus = usableCpus(seat)
  Seats.fill(seat, actions)
}

const closeSeat = (
  state: SchedulerState,
  seat: Seat,
  event: Extract<Event, { readonly _tag: "SeatClosing" }>,
  actions: Array<Action>
): void => {
  const { computation, node } = seat
  Bench.forget(state, seat)
  if (seat.closing === "") seat.closing = event.reason
  seat.keepsPinned = event.keepsPinned
  Seats.resize(seat, actions)
  Bench.reconsider(state, computation, actions)
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
  now: number,
  actions: Array<Action>
): void => {
  const computation = state.computations.get(computationId)
  for (const job of jobs) {
    if (hasEnded(job)) continue
    if (computation !== undefined && job.trials !== undefined) Trials.begin(state.timers, computationId, job, now)
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
      Seats.unqueue(computation, job)
      Seats.end(computation.id, job, "Cancelled", reason, actions)
    } else {
      if (job.trials !== undefined) Trials.arm(computation.id, job)
      const numbers = onNodes.get(job.nodeId)
      if (numbers === undefined) onNodes.set(job.nodeId, [job.number])
      else numbers.push(job.number)
    }
  }
  for (const [nodeId, jobNumbers] of onNodes) {
    actions.push({ _tag: "CancelOnNode", nodeId, computationId: computation.id, jobNumbers })
  }
}

const takeReplies = (
  state: SchedulerState,
  seat: Seat,
  batch: Uint8Array,
  now: number,
  actions: Array<Action>
): void => {
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
    if (reply.outcome === Outcome.succeeded) Bench.succeeded(state, seat, actions)
    else {
      Bench.failed(seat, reply)
      const delay = job.trials === undefined ? undefined : delayAfter(seat, job, reply, now)
      if (delay !== undefined) {
        Seats.retry(computation, job, delay, now)
        actions.push({ _tag: "Retried", computationId: computation.id, job, reply })
        continue
      }
    }
    job.status = reply.outcome === Outcome.succeeded ? "Finished" : "Terminated"
    if (reply.outcome === Outcome.cancelled) {
      if (isUnstarted && !Trials.isTried(job)) job.status = "Cancelled"
      if (job.cancelReason === "") job.cancelReason = seat.closing
    }
    if (job.trials !== undefined) Trials.arm(computation.id, job)
    actions.push({ _tag: "Replied", computationId: computation.id, job, reply })
  }
  if (returned.length > 0) Seats.requeue(computation, seat, returned, actions)
  Bench.judge(state, seat, now, actions)
  if (Seats.closeIfDrained(seat, actions)) Seats.dispatch(computation, actions)
  else Seats.fill(seat, actions)
}

/** How long a job waits for its next attempt after this reply; undefined when there is none. */
const delayAfter = (seat: Seat, job: JobRecord, reply: ReplyFields, now: number): number | undefined => {
  const failure = Retry.failureOf(reply.outcome)
  if (failure === undefined) return undefined
  const endMillis = reply.startMillis + reply.durationMicros / 1000
  const isEvidence = failure === "JobCrashed" && (decodeSlotDeath(reply.result).suspects ?? 1) === 1
  const ending = { failure, reason: "", isEvidence, startMillis: reply.startMillis, endMillis }
  const delay = Trials.failed(job, ending, now)
  // Where it is pinned to there is no next time.
  return job.pinnedTo !== "" && seat.closing !== "" && !seat.keepsPinned ? undefined : delay
}

/** Ends a job whose node was lost, unless it runs again: then says how long it waits before. */
const loseJob = (
  state: SchedulerState,
  seat: Seat,
  job: JobRecord,
  lost: { readonly reason: string; readonly isAlone: boolean },
  now: number,
  actions: Array<Action>
): number | undefined => {
  const { computation } = seat
  const { isReentrant } = computation
  if (job.cancelReason !== "") {
    Seats.end(computation.id, job, "Terminated", job.cancelReason, actions)
    return undefined
  }
  if (job.trials === undefined && Trials.maySurvive(job, isReentrant)) {
    job.trials = Trials.make(Trials.noTerms)
    Trials.begin(state.timers, computation.id, job, now)
  }
  const ending = {
    failure: "NodeLost",
    reason: lost.reason,
    isEvidence: lost.isAlone,
    startMillis: 0,
    endMillis: 0
  } as const
  const delay = Trials.failed(job, ending, now, isReentrant)
  if (delay !== undefined && job.pinnedTo === "") return delay
  Seats.end(computation.id, job, job.trials?.isPoisoned === true ? "Terminated" : "Abandoned", lost.reason, actions)
  return undefined
}

const loseNode = (
  state: SchedulerState,
  node: NodeState,
  reason: string,
  now: number,
  actions: Array<Action>
): void => {
  state.nodes.delete(node.id)
  for (const seat of node.seats.values()) {
    const { computation } = seat
    SeatHeap.remove(computation.open, seat)
    Bench.forget(state, seat)
    const jobs = [...computation.running.values()].filter((job) => job.nodeId === node.id)
    const lost = { reason, isAlone: jobs.length === 1 && node.seats.size === 1 }
    const again: Array<{ readonly job: JobRecord; readonly delay: number }> = []
    for (const job of jobs) {
      computation.running.delete(job.number)
      const delay = loseJob(state, seat, job, lost, now, actions)
      if (delay !== undefined) again.push({ job, delay })
    }
    // The last one that is put at the head of the queue is its first.
    for (const { delay, job } of again.toReversed()) Seats.retry(computation, job, delay, now)
    if (again.length > 0) {
      actions.push({ _tag: "Requeued", computationId: computation.id, jobs: again.map(({ job }) => job) })
    }
    Bench.reconsider(state, computation, actions)
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
    Bench.forget(state, seat)
    node.seats.delete(computationId)
    if (seat.closing !== "") actions.push({ _tag: "Drained", nodeId: node.id, computationId })
  }
  for (const job of waitingJobs(computation)) Seats.end(computationId, job, "Cancelled", reason, actions)
  for (const job of computation.running.values()) Seats.end(computationId, job, "Terminated", reason, actions)
}
