/** The attempts of a job that ended without a result, as both APIs show them. */
import type { JobError } from "../../domain/JobError.ts"
import { failureTags } from "../../domain/scheduler/Retry.ts"
import type { ClusterJob } from "./ClusterJob.ts"
import type { AddressOf } from "./Outcomes.ts"

/** An attempt of a job that ended without a result. */
export interface JobAttempt {
  /** From 1. */
  readonly attempt: number
  /** Address of the node where it was. */
  readonly node: string
  /** Milliseconds since 1970 by the node's clock; 0 where it is not known, because the node was lost. */
  readonly startTime: number
  readonly endTime: number
  /** What the job would have ended with. */
  readonly error: JobError
}

const tags: ReadonlyArray<string> = failureTags

/** A job that could have one attempt only tells of it with its outcome. */
const onlyOf = (job: ClusterJob, addressOf: AddressOf): ReadonlyArray<JobAttempt> => {
  const { nodeId, outcome } = job
  if (outcome?.error === undefined || nodeId === "" || !tags.includes(outcome.error._tag)) return []
  const { endTime, error, startTime } = outcome
  return [{ attempt: 1, node: addressOf(nodeId), startTime, endTime, error }]
}

/** The attempts that are remembered, oldest first. */
export const attemptsOf = (job: ClusterJob, addressOf: AddressOf): ReadonlyArray<JobAttempt> => {
  if (job.trials === undefined) return onlyOf(job, addressOf)
  return job.trials.history.flatMap(({ endMillis, error, nodeId, ordinal, startMillis }) =>
    error === undefined
      ? []
      : [{ attempt: ordinal, node: addressOf(nodeId), startTime: startMillis, endTime: endMillis, error }]
  )
}
