/**
 * The scheduler's state: nodes, computations, and for every computation that is
 * open on a node a seat, which holds what that node is doing for it. One mutable
 * value behind `Scheduler.step`; `invariants` says what must hold after every step.
 */
import * as Credit from "./Credit.ts"
import * as JobQueue from "./JobQueue.ts"
import { hasEnded, type JobRecord, type JobTimer } from "./JobRecord.ts"
import type { FailureTag } from "./Retry.ts"
import type { SeatHeap } from "./SeatHeap.ts"
import * as Timers from "./Timers.ts"
import * as Trials from "./Trials.ts"

/** A node that the scheduler may use. */
export interface NodeState {
  readonly id: string
  /** Order of arrival; breaks ties between equally loaded nodes. */
  readonly sequence: number
  cpus: number
  /** A node that is leaving keeps its running jobs and gets no more. */
  isLeaving: boolean
  /** Its seats by computation. */
  readonly seats: Map<string, Seat>
}

/** A timer of a seat that is set aside: when it is tried again. */
export interface SeatTimer extends Timers.Timer {
  readonly _tag: "Seat"
  readonly seat: Seat
}

/**
 * A computation that is open on a node.
 *
 * ```
 * open ◀──▶ deallocated   gets no jobs; what it has goes on, what is pinned to it waits
 *   │ ▲        │
 *   │ └─▶ benched           everything failed there at once: gets single jobs now and then (`Bench.ts`)
 *   └──┬───────┘
 *      ▼
 *   closing ──▶ (drained: gone)
 * ```
 */
export interface Seat {
  readonly node: NodeState
  readonly computation: ComputationState
  /** Cpus of the node that the computation may use, as it was allocated them; the node may have fewer. */
  limit: number
  /** False while the computation gives the node nothing new. */
  isAllocated: boolean
  /** Why it is being closed; empty while it is not. */
  closing: string
  /** What runs at a seat that is being closed was told to end: jobs that had not started may run elsewhere. */
  isTerminating: boolean
  /** Jobs pinned to a seat that is being closed wait for it to be taken again. */
  keepsPinned: boolean
  /** Cpus that new jobs may use now: 0 when the seat takes none. */
  cpus: number
  /** Jobs that run here and nowhere else, before all others. */
  readonly pinned: JobQueue.JobQueue
  /** Jobs of the computation that the node has and has not answered. */
  outstanding: number
  /** `outstanding` per cpu. */
  load: number
  readonly credit: Credit.Credit
  /** Attempts in a row that failed at once, and what the computation's `successes` were before the first of them. */
  failures: number
  successesBefore: number
  lastFailure: FailureTag | undefined
  /** Why it is set aside; empty while it is not. */
  benched: string
  /** It is set aside, and tried with one job at a time. */
  isProbed: boolean
  /** How long it is set aside before it is tried again. */
  benchMillis: number
  /** There once it was set aside. */
  timer: SeatTimer | undefined
  /** Place in the computation's heap; -1 while the seat can take no job. */
  heapIndex: number
}

/** A computation with its jobs. */
export interface ComputationState {
  readonly id: string
  /** Whether a job whose node was lost may run again. */
  readonly isReentrant: boolean
  /** Jobs at a time per cpu. */
  readonly concurrency: number
  readonly waiting: JobQueue.JobQueue
  /** Waiting jobs that are pinned to a node, by node; also for nodes that have not loaded the computation yet. */
  readonly pinned: Map<string, JobQueue.JobQueue>
  /** Jobs that a node has, by number. */
  readonly running: Map<number, JobRecord>
  /** Jobs that wait until they are tried again, by number. */
  readonly delayed: Map<number, JobRecord>
  /** Seats with credit. */
  readonly open: SeatHeap<Seat>
  /** Attempts that had a result. */
  successes: number
  /** Seats that are set aside. */
  benched: number
}

/** Everything the scheduler knows. */
export interface SchedulerState {
  readonly nodes: Map<string, NodeState>
  readonly computations: Map<string, ComputationState>
  /** What is due later. */
  readonly timers: Timers.Timers<JobTimer | SeatTimer>
  nextSequence: number
  /** Replies and files that belonged to no running attempt of their node, and were dropped. */
  droppedReplies: number
}

/** A scheduler without nodes and computations. */
export const make = (): SchedulerState => ({
  nodes: new Map(),
  computations: new Map(),
  timers: Timers.make(),
  nextSequence: 0,
  droppedReplies: 0
})

/** A computation without jobs. */
export const makeComputation = (id: string, isReentrant: boolean, concurrency = 1): ComputationState => ({
  id,
  isReentrant,
  concurrency,
  waiting: JobQueue.make(),
  pinned: new Map(),
  running: new Map(),
  delayed: new Map(),
  open: [],
  successes: 0,
  benched: 0
})

/** The jobs that wait for this node and no other. */
export const pinnedTo = (computation: ComputationState, nodeId: string): JobQueue.JobQueue => {
  const known = computation.pinned.get(nodeId)
  if (known !== undefined) return known
  const queue = JobQueue.make()
  computation.pinned.set(nodeId, queue)
  return queue
}

/** A seat without jobs: all cpus of the node and allocated, unless something else is said. */
export const makeSeat = (
  node: NodeState,
  computation: ComputationState,
  { cpus = Infinity, isAllocated = true }: { readonly cpus?: number; readonly isAllocated?: boolean } = {}
): Seat => ({
  node,
  computation,
  limit: cpus,
  isAllocated,
  closing: "",
  isTerminating: false,
  keepsPinned: false,
  cpus: 0,
  pinned: pinnedTo(computation, node.id),
  outstanding: 0,
  load: 0,
  credit: Credit.make(),
  failures: 0,
  successesBefore: 0,
  lastFailure: undefined,
  benched: "",
  isProbed: false,
  benchMillis: 0,
  timer: undefined,
  heapIndex: -1
})

/** Cpus that new jobs may use, as things are. */
export const usableCpus = (seat: Seat): number => {
  if (seat.node.isLeaving || !seat.isAllocated || seat.closing !== "") return 0
  const cpus = Math.min(seat.node.cpus, seat.limit)
  return seat.benched === "" ? cpus : seat.isProbed ? Math.min(cpus, 1) : 0
}

/** Whether the seat's node may get another job of the seat's computation. */
export const canTake = (seat: Seat): boolean =>
  seat.outstanding < (seat.isProbed ? seat.cpus : Credit.limit(seat.credit, seat.cpus, seat.computation.concurrency))

/** All jobs of a computation that wait for a node, pinned ones last. */
const queuedJobs = (computation: ComputationState): Array<JobRecord> => {
  const waiting = JobQueue.toArray(computation.waiting)
  for (const queue of computation.pinned.values()) for (const job of JobQueue.toArray(queue)) waiting.push(job)
  return waiting
}

/** All jobs of a computation that wait: for a node, pinned ones last, or for another attempt. */
export const waitingJobs = (computation: ComputationState): Array<JobRecord> => [
  ...queuedJobs(computation),
  ...computation.delayed.values()
]

/** What is wrong with the state, in sentences; empty when all is well. */
export const invariants = (state: SchedulerState): Array<string> => {
  const wrong: Array<string> = []
  for (const computation of state.computations.values()) {
    const held = new Map<string, number>()
    for (const [number, job] of computation.running) {
      if (job.number !== number) wrong.push(`job ${job.number} is filed under ${number}`)
      if (hasEnded(job)) wrong.push(`job ${number} has ended (${job.status}) and still counts as running`)
      if (!state.nodes.has(job.nodeId)) wrong.push(`job ${number} runs on ${job.nodeId}, which is not there`)
      held.set(job.nodeId, (held.get(job.nodeId) ?? 0) + 1)
    }
    const waiting = JobQueue.toArray(computation.waiting)
    if (waiting.length !== computation.waiting.size) {
      wrong.push(`${computation.id} counts ${computation.waiting.size} waiting jobs and has ${waiting.length}`)
    }
    for (const [nodeId, queue] of computation.pinned) {
      const jobs = JobQueue.toArray(queue)
      if (jobs.length !== queue.size) wrong.push(`${nodeId} counts ${queue.size} pinned jobs and has ${jobs.length}`)
      for (const job of jobs) if (job.pinnedTo !== nodeId) wrong.push(`job ${job.number} waits for the wrong node`)
      if (jobs.length > 0 && !state.nodes.has(nodeId)) wrong.push(`jobs wait for ${nodeId}, which is not there`)
    }
    for (const job of waitingJobs(computation)) {
      if (computation.running.has(job.number)) wrong.push(`job ${job.number} waits and runs at a time`)
      if (hasEnded(job)) wrong.push(`job ${job.number} has ended (${job.status}) and still waits`)
    }
    for (const job of queuedJobs(computation)) {
      if (computation.delayed.has(job.number)) wrong.push(`job ${job.number} waits for a node and for its time`)
      if ((job.trials?.retryAt ?? Infinity) !== Infinity) wrong.push(`job ${job.number} waits for a time and a node`)
    }
    for (const [number, job] of computation.delayed) {
      if (job.number !== number || job.status !== "Created") wrong.push(`job ${number} waits for its time by mistake`)
      if ((job.trials?.retryAt ?? Infinity) === Infinity) wrong.push(`job ${number} waits for no time`)
      if (job.pinnedTo !== "" && !state.nodes.has(job.pinnedTo)) wrong.push(`job ${number} waits for a lost node`)
    }
    for (const job of [...waitingJobs(computation), ...computation.running.values()]) {
      const { trials } = job
      if (trials !== undefined && (trials.timer?.at ?? Infinity) !== Trials.nextAt(job, trials)) {
        wrong.push(`job ${job.number} has a timer for ${trials.timer?.at}, not ${Trials.nextAt(job, trials)}`)
      }
    }
    for (const job of waiting) if (job.pinnedTo !== "") wrong.push(`job ${job.number} is pinned and may run anywhere`)
    for (const job of computation.running.values()) {
      if (job.pinnedTo !== "" && job.pinnedTo !== job.nodeId) wrong.push(`job ${job.number} runs on the wrong node`)
    }
    const seats = [...state.nodes.values()].flatMap((node) => node.seats.get(computation.id) ?? [])
    const benched = seats.filter((seat) => seat.benched !== "")
    if (benched.length !== computation.benched) {
      wrong.push(`${computation.id} counts ${computation.benched} benched nodes and has ${benched.length}`)
    }
    if (benched.length > 0 && !seats.some((seat) => seat.benched === "" && seat.cpus > 0)) {
      wrong.push(`${computation.id} has benched its last node`)
    }
    for (const seat of benched) {
      const isTimed = (seat.timer?.at ?? Infinity) !== Infinity
      if (isTimed === seat.isProbed) wrong.push(`${seat.node.id} is benched for ever, or tried too early`)
      if (seat.closing !== "") wrong.push(`${seat.node.id} is benched and closing`)
    }
    for (const seat of seats) {
      if (seat.isProbed && seat.benched === "") wrong.push(`${seat.node.id} is tried and was not benched`)
    }
    for (const node of state.nodes.values()) {
      const seat = node.seats.get(computation.id)
      if (seat === undefined) continue
      const count = held.get(node.id) ?? 0
      if (seat.outstanding !== count) wrong.push(`${node.id} counts ${seat.outstanding} jobs and has ${count}`)
      if (seat.cpus !== usableCpus(seat)) {
        wrong.push(`${node.id} should offer ${usableCpus(seat)} cpus, not ${seat.cpus}`)
      }
      if (computation.pinned.get(node.id) !== seat.pinned) wrong.push(`${node.id} looks for pinned jobs elsewhere`)
      if (canTake(seat) && seat.pinned.size > 0) wrong.push(`${node.id} could take a job that is pinned to it`)
      if (seat.closing !== "" && seat.outstanding === 0) wrong.push(`${node.id} is done and still closing`)
      if ((seat.heapIndex >= 0) !== canTake(seat)) wrong.push(`${node.id} is open or closed for jobs by mistake`)
      if (seat.heapIndex >= 0 && computation.open[seat.heapIndex] !== seat) wrong.push(`${node.id} is misplaced`)
      if (seat.heapIndex >= 0 && waiting.length > 0) wrong.push(`${node.id} could take a job that waits`)
    }
    computation.open.forEach((seat, index) => {
      const parent = computation.open[(index - 1) >> 1]
      if (index > 0 && parent !== undefined && parent.load > seat.load) wrong.push("the heap is out of order")
      if (state.nodes.get(seat.node.id) !== seat.node) wrong.push(`${seat.node.id} is gone and still open for jobs`)
    })
  }
  state.timers.heap.forEach((timer, index) => {
    const parent = state.timers.heap[(index - 1) >> 1]
    if (index > 0 && parent !== undefined && parent.at > timer.at) wrong.push("the timers are out of order")
    if (timer.heapIndex !== index) wrong.push("a timer is misplaced")
    if (timer._tag === "Job" && hasEnded(timer.job)) wrong.push(`job ${timer.job.number} has ended and has a timer`)
    if (timer._tag === "Seat" && timer.seat.benched === "") wrong.push(`${timer.seat.node.id} has a timer by mistake`)
  })
  const [next] = state.timers.heap
  if (next !== undefined && next.at < state.timers.wakeAt) wrong.push("nobody is to wake the scheduler in time")
  return wrong
}
