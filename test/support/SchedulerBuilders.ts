/** Builders for tests of the scheduler core: jobs, replies, and a fleet of simulated nodes. */
import type { JobRecord, Terms } from "../../src/domain/scheduler/JobRecord.ts"
import type { RetryPolicy } from "../../src/domain/scheduler/Retry.ts"
import { step } from "../../src/domain/scheduler/Scheduler.ts"
import type { Action, Event } from "../../src/domain/scheduler/SchedulerEvent.ts"
import * as SchedulerState from "../../src/domain/scheduler/SchedulerState.ts"
import * as Trials from "../../src/domain/scheduler/Trials.ts"
import { encodeReply, noBytes, Outcome } from "../../src/domain/wire/Entries.ts"

/** Terms of jobs: so many retries after a second each, unless something else is said. */
export const someTerms = (
  retry: Partial<RetryPolicy> = {},
  millis: { readonly queueMillis?: number; readonly totalMillis?: number } = {}
): Terms => ({
  retry: { times: 0, delayMillis: 1000, factor: 1, maxDelayMillis: 1000, on: [], ...retry },
  queueMillis: 0,
  totalMillis: 0,
  ...millis
})

/** A job that nobody has submitted yet. */
export const aJob = (number: number, pinnedTo = "", terms?: Terms): JobRecord => ({
  number,
  args: noBytes,
  flags: 0,
  timeoutMillis: 0,
  pinnedTo,
  status: "Created",
  attempt: 0,
  nodeId: "",
  cancelReason: "",
  trials: terms === undefined ? undefined : Trials.make(terms)
})

/** A node's answer to a job that it was sent. */
export const aReply = (
  job: { readonly number: number; readonly attempt: number },
  outcome: Outcome = Outcome.succeeded,
  durationMicros = 10,
  result: Uint8Array = noBytes
): Uint8Array =>
  encodeReply({
    jobId: job.number,
    attempt: job.attempt,
    outcome,
    flags: 0,
    startMillis: 1,
    durationMicros,
    result,
    stdout: noBytes,
    stderr: noBytes
  })

/** Several replies in one batch. */
export const aBatch = (...replies: ReadonlyArray<Uint8Array>): Uint8Array => Buffer.concat(replies)

/** A job as a node holds it: what was sent, not what became of it. */
export interface Held {
  readonly number: number
  readonly attempt: number
  readonly computationId: string
}

/** A scheduler with nodes that do what they are told, and a record of every outcome. */
export const aFleet = () => {
  const state = SchedulerState.make()
  const held = new Map<string, Array<Held>>()
  const outcomes = new Map<JobRecord, Array<string>>()
  const executions = new Map<JobRecord, number>()
  const provisional = new Map<JobRecord, number>()
  const retried = new Map<JobRecord, number>()
  /** Nodes that were set aside and taken again. */
  const benches: Array<string> = []
  /** Nodes that a computation has left, and the cpus that nodes were told to use. */
  const drained: Array<string> = []
  const limits = new Map<string, number>()
  const ended = (job: JobRecord, how: string): void => {
    outcomes.set(job, [...(outcomes.get(job) ?? []), how])
  }
  const perform = (action: Action): void => {
    switch (action._tag) {
      case "Dispatch": {
        const node = held.get(action.nodeId) ?? []
        for (const job of action.jobs) {
          node.push({ number: job.number, attempt: job.attempt, computationId: action.computationId })
          executions.set(job, (executions.get(job) ?? 0) + 1)
        }
        held.set(action.nodeId, node)
        return
      }
      case "Replied":
        return ended(action.job, `reply ${action.reply.outcome}`)
      case "Ended":
        return ended(action.job, action.reason)
      case "Provisional": {
        if (outcomes.has(action.job)) throw new Error(`job ${action.job.number} has a provisional result after its end`)
        provisional.set(action.job, (provisional.get(action.job) ?? 0) + 1)
        return
      }
      case "Drained":
        drained.push(action.nodeId)
        return
      case "SetCpus":
        limits.set(action.nodeId, action.cpus)
        return
      case "WakeAt":
        clock.wakeAt = action.millis
        return
      case "Retried": {
        retried.set(action.job, (retried.get(action.job) ?? 0) + 1)
        return
      }
      case "Benched":
      case "Unbenched": {
        benches.push(`${action._tag} ${action.nodeId}`)
        return
      }
      case "CancelOnNode":
      case "Requeued":
    }
  }
  const clock = { now: 0, wakeAt: Infinity }
  const send = (event: Event): ReadonlyArray<Action> => {
    if (event._tag === "TimePassed") clock.wakeAt = Infinity
    const actions = step(state, event, clock.now)
    actions.forEach(perform)
    return actions
  }
  /** Adds a node that has the computation, which may use `limit` of its cpus. */
  const join = (nodeId: string, cpus: number, computationId = "c", limit?: number): void => {
    send({ _tag: "NodeJoined", nodeId, cpus })
    send({ _tag: "NodeReady", nodeId, computationId, ...(limit === undefined ? {} : { cpus: limit }) })
  }
  /** Answers the oldest job that the node holds; false when it holds none. */
  const answer = (
    nodeId: string,
    outcome: Outcome = Outcome.succeeded,
    durationMicros = 10,
    result: Uint8Array = noBytes
  ): boolean => {
    const jobs = held.get(nodeId) ?? []
    const job = outcome === Outcome.provisional ? jobs[0] : jobs.shift()
    if (job === undefined) return false
    const batch = aReply(job, outcome, durationMicros, result)
    send({ _tag: "Replied", nodeId, computationId: job.computationId, batch })
    return true
  }
  /** Lets time pass, and wakes the scheduler whenever it asked for that. */
  const pass = (millis: number): void => {
    const until = clock.now + millis
    while (clock.wakeAt <= until) {
      clock.now = Math.max(clock.now, clock.wakeAt)
      send({ _tag: "TimePassed" })
    }
    clock.now = until
  }
  return {
    state,
    held,
    outcomes,
    executions,
    provisional,
    retried,
    benches,
    drained,
    limits,
    clock,
    send,
    join,
    answer,
    pass
  }
}
