/**
 * The scheduler's state: nodes, computations, and for every computation that is
 * open on a node a seat, which holds what that node is doing for it. One mutable
 * value behind `Scheduler.step`; `invariants` says what must hold after every step.
 */
import * as Credit from "./Credit.ts"
import * as JobQueue from "./JobQueue.ts"
import { hasEnded, type JobRecord } from "./JobRecord.ts"
import type { SeatHeap } from "./SeatHeap.ts"

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

/**
 * A computation that is open on a node.
 *
 * ```
 * open ◀──▶ deallocated   gets no jobs; what it has goes on, what is pinned to it waits
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
  /** Seats with credit. */
  readonly open: SeatHeap<Seat>
}

/** Everything the scheduler knows. */
export interface SchedulerState {
  readonly nodes: Map<string, NodeState>
  readonly computations: Map<string, ComputationState>
  nextSequence: number
  /** Replies and files that belonged to no running attempt of their node, and were dropped. */
  droppedReplies: number
}

/** A scheduler without nodes and computations. */
export const make = (): SchedulerState => ({
  nodes: new Map(),
  computations: new Map(),
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
  open: []
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
  heapIndex: -1
})

/** Cpus that new jobs may use, as things are. */
export const usableCpus = (seat: Seat): number =>
  seat.node.isLeaving || !seat.isAllocated || seat.closing !== "" ? 0 : Math.min(seat.node.cpus, seat.limit)

/** Whether the seat's node may get another job of the seat's computation. */
export const canTake = (seat: Seat): boolean =>
  seat.outstanding < Credit.limit(seat.credit, seat.cpus, seat.computation.concurrency)

/** All jobs of a computation that wait, pinned ones last. */
export const waitingJobs = (computation: ComputationState): Array<JobRecord> => {
  const waiting = JobQueue.toArray(computation.waiting)
  for (const queue of computation.pinned.values()) waiting.push(...JobQueue.toArray(queue))
  return waiting
}

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
    for (const job of waiting) if (job.pinnedTo !== "") wrong.push(`job ${job.number} is pinned and may run anywhere`)
    for (const job of computation.running.values()) {
      if (job.pinnedTo !== "" && job.pinnedTo !== job.nodeId) wrong.push(`job ${job.number} runs on the wrong node`)
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
  return wrong
}
