/** The scheduler's decisions alone: no process, no socket, simulated nodes that answer at once. */
import type { JobRecord } from "../../src/domain/scheduler/JobRecord.ts"
import { step } from "../../src/domain/scheduler/Scheduler.ts"
import type { Action, Event } from "../../src/domain/scheduler/SchedulerEvent.ts"
import * as SchedulerState from "../../src/domain/scheduler/SchedulerState.ts"
import { encodeReply, noBytes, Outcome } from "../../src/domain/wire/Entries.ts"
import type { Metrics, StepOptions } from "../support/Drive.ts"

const computationId = "bench"
const cpus = 32
const args = new Uint8Array(4)

const aJob = (number: number): JobRecord => ({
  number,
  args,
  flags: 0,
  timeoutMillis: 0,
  pinnedTo: "",
  status: "Created",
  attempt: 0,
  nodeId: "",
  cancelReason: ""
})

const replyTo = ({ attempt, nodeId, number }: JobRecord): Event => ({
  _tag: "Replied",
  nodeId,
  computationId,
  batch: encodeReply({
    jobId: number,
    attempt,
    outcome: Outcome.succeeded,
    flags: 0,
    startMillis: 1,
    durationMicros: 50_000,
    result: noBytes,
    stdout: noBytes,
    stderr: noBytes
  })
})

/** Events that are prepared, and then stepped in one go that is timed. */
const group = 256

/**
 * Microseconds per job on this many nodes: submitted in groups, each answered by itself, as jobs are that take longer
 * than a message. The simulated nodes' own work is not counted.
 */
const microsPerJob = (nodes: number, jobs: number): number => {
  const state = SchedulerState.make()
  step(state, { _tag: "ComputationOpened", computationId, isReentrant: false }, 0)
  for (let i = 0; i < nodes; i++) {
    step(state, { _tag: "NodeJoined", nodeId: `node-${i}`, cpus }, 0)
    step(state, { _tag: "NodeReady", nodeId: `node-${i}`, computationId }, 0)
  }
  const held: Array<JobRecord> = []
  let millis = 0
  let done = 0
  const stepAll = (events: ReadonlyArray<Event>): void => {
    const actions: Array<ReadonlyArray<Action>> = []
    const start = performance.now()
    for (const event of events) actions.push(step(state, event, 0))
    millis += performance.now() - start
    for (const action of actions.flat()) {
      if (action._tag === "Dispatch") held.push(...action.jobs)
      else if (action._tag === "Replied") done++
    }
  }
  for (let number = 0; number < jobs; number += group) {
    const length = Math.min(group, jobs - number)
    stepAll([{ _tag: "Submitted", computationId, jobs: Array.from({ length }, (_, i) => aJob(number + i)) }])
  }
  let next = 0
  while (next < held.length) {
    const replies = held.slice(next, next + group).map(replyTo)
    next += replies.length
    stepAll(replies)
  }
  if (done !== jobs) throw new Error(`${done} of ${jobs} jobs were answered`)
  return millis * 1000 / jobs
}

/** Microseconds per job by number of nodes, all of 32 slots. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const jobs = isQuick ? 100_000 : 500_000
  microsPerJob(100, jobs / 5)
  const metrics: Metrics = {}
  for (const nodes of [10, 100, 1000, 10_000]) metrics[`nodes${nodes}`] = microsPerJob(nodes, jobs)
  return metrics
}
