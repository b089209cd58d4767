/** Turns what a node or the scheduler says of a job into the outcome that its user sees. */
import {
  JobCancelled,
  JobCrashed,
  type JobError,
  JobFailed,
  JobOutOfMemory,
  JobTimedOut,
  NodeLost,
  ResultNotSendable,
  ValueNotTransferred
} from "../../domain/JobError.ts"
import { messageOf } from "../../domain/Thrown.ts"
import { Outcome, type ReplyFields, ReplyFlags } from "../../domain/wire/Entries.ts"
import { decodeMemoryPeak } from "../../domain/wire/MemoryPeak.ts"
import { decodeSlotDeath } from "../../domain/wire/SlotDeath.ts"
import type { ClassTable } from "../../slot/ClassTable.ts"
import * as Values from "../../slot/Values.ts"
import { type ClusterJob, type JobOutcome, nameOf } from "./ClusterJob.ts"

const utf8 = new TextDecoder()

const textOf = (bytes: Uint8Array): string => bytes.length === 0 ? "" : utf8.decode(bytes)

/** The lines of a stack that name places in code. */
const framesOf = (stack: string): string => stack.slice(Math.max(0, stack.search(/^ {4}at /m)))

/** What was thrown, made anew: an Error with its fields and causes, or the value. */
const thrownOf = (thrown: ReturnType<typeof Values.decodeError>): unknown => {
  if (!thrown.isError) return thrown.value
  if (thrown.instance !== undefined) return thrown.instance
  const cause = thrown.cause === undefined ? {} : { cause: thrownOf(thrown.cause) }
  const error = thrown.errors.length > 0
    ? new AggregateError(thrown.errors.map(thrownOf), thrown.message, cause)
    : new Error(thrown.message, cause)
  Object.defineProperty(error, "name", { value: thrown.name, configurable: true, writable: true })
  if (thrown.stack !== undefined) error.stack = thrown.stack
  return Object.defineProperties(error, Object.getOwnPropertyDescriptors(thrown.fields))
}

/** The error that a job's computation threw, as its user gets it. */
export const failure = (
  jobId: unknown,
  node: string,
  encoded: Uint8Array,
  classes: ClassTable | undefined
): JobFailed => {
  const thrown = Values.decodeError(encoded, classes)
  const error = new JobFailed({
    jobId,
    node,
    errorName: thrown.name,
    errorMessage: thrown.message,
    userStack: thrown.stack ?? "",
    cause: thrownOf(thrown)
  })
  // Whoever prints the error wants to see the user's code, not where dispy decoded it.
  if (thrown.stack !== undefined) error.stack = `${error.name}: ${error.message}\n${framesOf(thrown.stack)}`
  return error
}

/** The value of an encoded result; throws for bytes that are none. */
export const valueOf = (result: Uint8Array, classes: ClassTable | undefined): unknown =>
  result.length === 0 ? undefined : Values.decode(result, classes)

/** The end of an output, short enough for a message. */
const lastLines = (text: string): string => text.trimEnd().split("\n").slice(-3).join("\n").slice(-500)

/** What a job that was asked to end returned for an answer. */
const partialOf = (reply: ReplyFields, classes: ClassTable | undefined): { readonly partialResult?: unknown } => {
  if ((reply.flags & ReplyFlags.partialResult) === 0) return {}
  try {
    return { partialResult: valueOf(reply.result, classes) }
  } catch {
    // Damaged bytes are no partial result; the outcome itself is known.
    return {}
  }
}

const errorOf = (job: ClusterJob, node: string, reply: ReplyFields): JobError | undefined => {
  const jobId = nameOf(job)
  switch (reply.outcome) {
    case Outcome.succeeded:
      return undefined
    case Outcome.failed:
      return failure(jobId, node, reply.result, job.classes)
    case Outcome.slotDied: {
      const { lastStderr, ...death } = decodeSlotDeath(reply.result)
      const last = lastStderr === "" ? lastLines(textOf(reply.stderr)) : lastStderr
      return new JobCrashed({ jobId, node, ...death, lastStderr: last })
    }
    case Outcome.timedOut:
      return new JobTimedOut({ jobId, node, timeoutMillis: job.timeoutMillis, ...partialOf(reply, job.classes) })
    case Outcome.outOfMemory:
      return new JobOutOfMemory({ jobId, node, ...decodeMemoryPeak(reply.result) })
    case Outcome.cancelled:
      return new JobCancelled({
        jobId,
        node: reply.startMillis === 0 ? "" : node,
        reason: job.cancelReason,
        ...partialOf(reply, job.classes)
      })
    case Outcome.notCloneable:
      return new ResultNotSendable({ jobId, node, reason: Values.decodeError(reply.result).message })
    case Outcome.notTransferred:
      return new ValueNotTransferred({ jobId, node, reason: Values.decodeError(reply.result).message })
    case Outcome.returned:
    case Outcome.provisional:
      // The scheduler runs such a job again, or lets it go on; no reply of these kinds is an outcome.
      return new NodeLost({ jobId, node, reason: "it gave the job back" })
  }
}

/** A value that does not decode comes from a broken or hostile node: the job has an error instead. */
const decoded = (job: ClusterJob, node: string, bytes: Uint8Array): Pick<JobOutcome, "value" | "error"> => {
  try {
    return { value: valueOf(bytes, job.classes), error: undefined }
  } catch (cause) {
    const reason = `its bytes are damaged: ${messageOf(cause)}`
    return { value: undefined, error: new ResultNotSendable({ jobId: nameOf(job), node, reason }) }
  }
}

/** The outcome that a node told. `node` is its address as users write it. */
export const fromReply = (job: ClusterJob, node: string, reply: ReplyFields): JobOutcome => {
  const { error, value } = reply.outcome === Outcome.succeeded
    ? decoded(job, node, reply.result)
    : { error: errorOf(job, node, reply), value: undefined }
  return {
    value,
    error,
    stdout: textOf(reply.stdout),
    stderr: textOf(reply.stderr),
    startTime: reply.startMillis,
    endTime: reply.startMillis + reply.durationMicros / 1000
  }
}

/** The outcome of a job that no node answered. */
export const fromEnd = (job: ClusterJob, node: string, reason: string): JobOutcome => ({
  value: undefined,
  error: job.status === "Abandoned"
    ? new NodeLost({ jobId: nameOf(job), node, reason })
    : new JobCancelled({ jobId: nameOf(job), node: job.status === "Terminated" ? node : "", reason }),
  stdout: "",
  stderr: "",
  startTime: 0,
  endTime: 0
})
