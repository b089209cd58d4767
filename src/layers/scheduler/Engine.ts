/**
 * Carries out the scheduler core: one fiber takes the events that others post,
 * steps the state and performs the actions. Everything per job in here is plain
 * data; effects run per batch.
 */
import { Clock, Effect, type Fiber, FiberSet, Latch } from "effect"
import type { MalformedMessage, NodeUnreachable, NotLeased } from "../../domain/NodeError.ts"
import type { JobRecord } from "../../domain/scheduler/JobRecord.ts"
import { step } from "../../domain/scheduler/Scheduler.ts"
import type { Action, Event } from "../../domain/scheduler/SchedulerEvent.ts"
import * as SchedulerState from "../../domain/scheduler/SchedulerState.ts"
import { encodeJobs, encodeReply, type JobFields, noBytes } from "../../domain/wire/Entries.ts"
import type { SchedulerRequest } from "../../services/Scheduler.ts"
import type { ConnectedNode } from "./ConnectedNode.ts"
import * as JobTransfers from "./JobTransfers.ts"

/** The running scheduler. */
export interface Engine {
  readonly state: SchedulerState.SchedulerState
  readonly nodes: Map<string, ConnectedNode>
  readonly requests: Map<string, SchedulerRequest>
  /** Addresses of all nodes there ever were, by id. */
  readonly addresses: Map<string, string>
  /** Calls the listener once the node has answered all jobs of a computation that leaves it. */
  /** The scheduler's own time: monotonic milliseconds. */
  readonly now: () => number
  readonly onDrained: (nodeId: string, computationId: string, listener: () => void) => void
  /** Takes well-formed replies of a node. */
  readonly take: (node: ConnectedNode, computationId: string, batch: Uint8Array) => void
  /** Hands an event to the scheduler; returns at once. */
  readonly post: (event: Event) => void
  /** Like `post` of a `Submitted` event for one job, gathered with others of the same moment. */
  readonly submit: (computationId: string, job: JobRecord) => void
}

/** Bytes of job entries in one message; a larger job goes alone. */
const batchBytes = 4 * 1024 * 1024

/** Batches of replies taken without a dispatch after which they are acknowledged by themselves. */
const acknowledgeAfter = 16

/** The same in bytes: a node holds what is not acknowledged, and lets its jobs wait when that gets much. */
const acknowledgeAfterBytes = 8 * 1024 * 1024

/** Cuts jobs into batches of a bounded size. */
const batchesOf = function*(jobs: ReadonlyArray<JobRecord>): Generator<Uint8Array> {
  let batch: Array<JobFields> = []
  let bytes = 0
  for (const { args, attempt, flags, memoryKiB = 0, number, timeoutMillis } of jobs) {
    if (bytes > 0 && bytes + args.length > batchBytes) {
      yield encodeJobs(batch)
      batch = []
      bytes = 0
    }
    batch.push({ jobId: number, attempt, flags, timeoutMillis, memoryKiB, args })
    bytes += args.length
  }
  yield encodeJobs(batch)
}

/** The longest sleep of JavaScript. */
const longestMillis = 0x7fffffff

const seatKey = (nodeId: string, computationId: string): string => `${nodeId} ${computationId}`

/** What to say of a node that a call failed on. */
const reasonOf = (error: NotLeased | MalformedMessage | NodeUnreachable): string =>
  error._tag === "NodeUnreachable" ? error.reason : error.message

/** Tells that a node is set aside, or used again. */
const logOf = (
  action: Extract<Action, { readonly _tag: "Benched" | "Unbenched" }>,
  { cluster, node }: { readonly cluster: string; readonly node: string }
): Effect.Effect<void> =>
  action._tag === "Unbenched"
    ? Effect.logInfo(`node ${node} gets jobs of cluster ${cluster} again`)
    : Effect.logWarning(
      `node ${node} gets no more jobs of cluster ${cluster}: ${action.reason}; it is tried again with one job in ` +
        `${action.probeMillis / 1000} s, and used at once after allocateNode("${node}")`
    )
/** What is told before the engine says something to a node. */
export interface Before {
  /** Something is about to be sent to a node, with which it may forget what it replied. */
  readonly send: () => void
  /** A node replied to these jobs. */
  readonly take: (nodeId: string, computationId: string, batch: Uint8Array) => void
}

/** Starts the scheduler; it ends with the scope. */
export const make = Effect.fnUntraced(function*(told: Before) {
  const state = SchedulerState.make()
  const nodes = new Map<string, ConnectedNode>()
  const requests = new Map<string, SchedulerRequest>()
  const addresses = new Map<string, string>()
  const drained = new Map<string, () => void>()
  const latch = Latch.makeUnsafe(false)
  const fork = yield* FiberSet.makeRuntime()
  const clock = yield* Clock.Clock
  const now = (): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  let alarm: Fiber.Fiber<unknown> | undefined
  let events: Array<Event> = []
  let gathered: { readonly computationId: string; readonly jobs: Array<JobRecord> } | undefined

  /** Opening the latch runs the loop at once: later, so that all that is submitted in one go is one batch. */
  let isWaking = false
  const wake = (): void => {
    isWaking = false
    latch.openUnsafe()
  }

  const post = (event: Event): void => {
    gathered = undefined
    events.push(event)
    if (isWaking) return
    isWaking = true
    queueMicrotask(wake)
  }

  const submit = (computationId: string, job: JobRecord): void => {
    if (gathered?.computationId === computationId) {
      gathered.jobs.push(job)
      return
    }
    const jobs = [job]
    post({ _tag: "Submitted", computationId, jobs })
    gathered = { computationId, jobs }
  }

  /** Calls a node; one that does not answer is given up. */
  const tell = (
    nodeId: string,
    call: (node: ConnectedNode) => Effect.Effect<void, NotLeased | MalformedMessage | NodeUnreachable>
  ): void => {
    const node = nodes.get(nodeId)
    if (node === undefined) return
    fork(call(node).pipe(Effect.catch((error) => Effect.sync(() => node.fail(reasonOf(error))))))
  }

  const send = (node: ConnectedNode, computationId: string, batch: Uint8Array): void => {
    told.send()
    node.acknowledged = node.received
    node.unacknowledgedBytes = 0
    node.hasFetched = false
    node.sentBytes += batch.length
    tell(node.id, () => node.connection.dispatch(node.leaseId, computationId, batch, node.received))
  }

  const transfers = JobTransfers.make({
    fork,
    computation: (id) => requests.get(id)?.computation,
    post: (event) => post(event),
    send,
    running: (computationId, nodeId, number, attempt) => {
      const job = state.computations.get(computationId)?.running.get(number)
      return job?.nodeId === nodeId && job.attempt === attempt ? job : undefined
    },
    dropped: () => {
      state.droppedReplies++
    }
  })

  const take: Engine["take"] = (node, computationId, batch) => {
    const rest = JobTransfers.take(transfers, node, computationId, batch, () => nodes.get(node.id) === node)
    if (rest.length === 0) return
    told.take(node.id, computationId, rest)
    post({ _tag: "Replied", nodeId: node.id, computationId, batch: rest })
  }

  /** Wakes the scheduler at a time, or before when that is too far away for a timer: it asks again then. */
  const wakeAt = (millis: number): void => {
    alarm?.interruptUnsafe()
    const delay = Math.min(longestMillis, Math.max(0, Math.ceil(millis - now())))
    alarm = fork(Effect.andThen(Effect.sleep(delay), Effect.sync(() => post({ _tag: "TimePassed" }))))
  }

  /** A node has run a job, with a result or without. */
  const count = (job: JobRecord, durationMicros: number): void => {
    const node = nodes.get(job.nodeId)
    if (node === undefined) return
    node.jobsDone++
    node.busyMicros += durationMicros
  }

  const perform = (action: Action): void => {
    switch (action._tag) {
      case "Dispatch": {
        const node = nodes.get(action.nodeId)
        if (node === undefined) return
        requests.get(action.computationId)?.onDispatched(action.jobs, node.id)
        const jobs = JobTransfers.dispatch(
          transfers,
          node,
          action.computationId,
          action.jobs,
          () => nodes.get(node.id) === node
        )
        if (jobs.length > 0) { for (const batch of batchesOf(jobs)) send(node, action.computationId, batch) }
        return
      }
      case "CancelOnNode": {
        const { computationId, nodeId } = action
        const jobNumbers = JobTransfers.cancel(transfers, nodeId, computationId, action.jobNumbers)
        if (jobNumbers.length === 0) return
        return tell(nodeId, (node) => node.connection.cancelJobs(node.leaseId, computationId, jobNumbers))
      }
      case "SetCpus":
        return tell(action.nodeId, (node) => node.connection.setCpus(node.leaseId, action.computationId, action.cpus))
      case "Drained": {
        const listener = drained.get(seatKey(action.nodeId, action.computationId))
        drained.delete(seatKey(action.nodeId, action.computationId))
        listener?.()
        return
      }
      case "Requeued":
        requests.get(action.computationId)?.onRequeued(action.jobs)
        return
      case "Retried": {
        count(action.job, action.reply.durationMicros)
        const reply = JobTransfers.complete(transfers, action.computationId, action.reply)
        requests.get(action.computationId)?.onRetried(action.job, reply)
        return
      }
      case "Benched":
      case "Unbenched": {
        const { computationId, nodeId } = action
        const request = requests.get(computationId)
        if (request === undefined) return
        fork(logOf(action, { cluster: request.computation.name, node: addresses.get(nodeId) ?? nodeId }))
        request.onBench(nodeId, action._tag === "Benched")
        return
      }
      case "WakeAt":
        return wakeAt(action.millis)
      case "Replied": {
        count(action.job, action.reply.durationMicros)
        if (action.job.trials?.isPoisoned !== true) action.job.args = noBytes
        const reply = JobTransfers.complete(transfers, action.computationId, action.reply)
        if (reply !== action.reply) told.take(action.job.nodeId, action.computationId, encodeReply(reply))
        requests.get(action.computationId)?.onReply(action.job, reply)
        return
      }
      case "Provisional": {
        const { job, reply } = action
        const { status } = job
        // The job's outcome may have come in the same message; who hears of a provisional result sees the job as it was.
        job.status = "ProvisionalResult"
        requests.get(action.computationId)?.onProvisional(job, reply)
        job.status = status
        return
      }
      case "Ended": {
        if (action.job.trials?.isPoisoned !== true) action.job.args = noBytes
        requests.get(action.computationId)?.onEnd(action.job, action.reason)
        return
      }
    }
  }

  const acknowledge = (): void => {
    for (const node of nodes.values()) {
      const isDue = node.hasFetched || node.received - node.acknowledged >= acknowledgeAfter ||
        node.unacknowledgedBytes >= acknowledgeAfterBytes
      if (isDue) send(node, "", noBytes)
    }
  }

  const drain = Effect.sync(() => {
    latch.closeUnsafe()
    gathered = undefined
    const taken = events
    events = []
    const at = now()
    for (const event of taken) {
      for (const earlier of JobTransfers.before(transfers, event)) {
        for (const action of step(state, earlier, at)) perform(action)
      }
      for (const action of step(state, event, at)) perform(action)
      if (event._tag === "ComputationClosed") requests.delete(event.computationId)
    }
    acknowledge()
  })
  yield* latch.await.pipe(Effect.andThen(drain), Effect.forever, Effect.forkScoped)

  const onDrained: Engine["onDrained"] = (nodeId, computationId, listener) => {
    const key = seatKey(nodeId, computationId)
    const before = drained.get(key)
    drained.set(key, () => {
      before?.()
      listener()
    })
  }

  return { now, onDrained, state, nodes, requests, addresses, take, post, submit } satisfies Engine
})
