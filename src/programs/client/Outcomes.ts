/** Turns what a node or the scheduler says of a job into the outcome that its user sees. */
import {
  JobCancelled,
  JobCrashed,
  type JobError,
  JobFailed,
  JobOutOfMemory,
  JobPoisoned,
  JobTimedOut,
  NodeLost,
  ResultNotSendable,
  ValueNotTransferred
} from "../../domain/JobError.ts"
import type { FailedAttempt, Trials } from "../../domain/scheduler/JobRecord.ts"
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

/** How many attempts there were, for the error of a job that may have several. */
interface Counted {
  readonly attempts?: number
}

const countedOf = ({ trials }: ClusterJob): Counted => trials === undefined ? {} : { attempts: trials.failed }

/** The error that a job's computation threw, as its user gets it. */
export const failure = (
  jobId: unknown,
  node: string,
  encoded: Uint8Array,
  classes: ClassTable | undefined,
  counted: Counted = {}
): JobFailed => {
  const thrown = Values.decodeError(encoded, classes)
  const error = new JobFailed({
    jobId,
    node,
    errorName: thrown.name,
    errorMessage: thrown.message,
    userStack: thrown.stack ?? "",
    cause: thrownOf(thrown),
    ...counted
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

/** The error of a job whose time was over while it waited, or in all. */
const overdue = (
  job: ClusterJob,
  { failed, overdue: kind, terms }: Trials,
  node: string,
  partial: { readonly partialResult?: unknown } = {}
): JobTimedOut =>
  new JobTimedOut({
    jobId: nameOf(job),
    node,
    kind: kind === "queue" ? "queue" : "total",
    timeoutMillis: kind === "queue" ? terms.queueMillis : terms.totalMillis,
    ...partial,
    attempts: failed
  })

/** Address of a node as users write it, by its id. */
export type AddressOf = (nodeId: string) => string

const evidenceOf = ({ error, nodeId, reason }: FailedAttempt, addressOf: AddressOf): JobPoisoned["evidence"][number] =>
  error?._tag === "JobCrashed"
    ? { node: error.node, reason: error.reason, exitCode: error.exitCode, signal: error.signal }
    : { node: addressOf(nodeId), reason: `the node was lost: ${reason}`, exitCode: null, signal: null }

/** Why a job is not tried again that took down too much; else the error of its last attempt. */
const verdict = (job: ClusterJob, error: JobError, addressOf: AddressOf): JobError => {
  const { trials } = job
  if (trials === undefined || !trials.isPoisoned) return error
  const evidence = trials.history.filter(({ isEvidence }) => isEvidence).map((one) => evidenceOf(one, addressOf))
  return new JobPoisoned({ jobId: nameOf(job), node: addressOf(job.nodeId), evidence, attempts: trials.failed })
}

/** The history's entry of the attempt that the job is at; undefined when there is none. */
const currentOf = ({ attempt, trials }: ClusterJob): FailedAttempt | undefined => {
  const last = trials?.history.at(-1)
  return last?.attempt === attempt ? last : undefined
}

/** Writes down what went wrong in the attempt that the reply tells of. */
export const retried = (job: ClusterJob, node: string, reply: ReplyFields): void => {
  const current = currentOf(job)
  if (current === undefined) return
  current.error = errorOf(job, node, reply)
  current.output = { stdout: textOf(reply.stdout), stderr: textOf(reply.stderr) }
}

/** Writes down that the node of the attempt was lost, if it was. */
export const lost = (job: ClusterJob, addressOf: AddressOf): void => {
  const current = currentOf(job)
  if (current?.failure !== "NodeLost") return
  current.error ??= new NodeLost({ jobId: nameOf(job), node: addressOf(current.nodeId), reason: current.reason })
}

const errorOf = (job: ClusterJob, node: string, reply: ReplyFields): JobError | undefined => {
  const jobId = nameOf(job)
  switch (reply.outcome) {
    case Outcome.succeeded:
      return undefined
    case Outcome.failed:
      return failure(jobId, node, reply.result, job.classes, countedOf(job))
    case Outcome.slotDied: {
      const { lastStderr, ...death } = decodeSlotDeath(reply.result)
      const last = lastStderr === "" ? lastLines(textOf(reply.stderr)) : lastStderr
      return new JobCrashed({ jobId, node, ...death, lastStderr: last, ...countedOf(job) })
    }
    case Outcome.timedOut:
      return new JobTimedOut({
        jobId,
        node,
        kind: "running",
        timeoutMillis: job.timeoutMillis,
        ...partialOf(reply, job.classes),
        ...countedOf(job)
      })
    case Outcome.outOfMemory:
      return new JobOutOfMemory({ jobId, node, ...decodeMemoryPeak(reply.result), ...countedOf(job) })
    case Outcome.cancelled:
      if (job.trials !== undefined && job.trials.overdue !== "") {
        return overdue(job, job.trials, node, partialOf(reply, job.classes))
      }
      return new JobCancelled({
        jobId,
        node: reply.startMillis === 0 ? "" : node,
        reason: job.cancelReason,
        ...partialOf(reply, job.classes)
      })
    case Outcome.notCloneable:
      return new ResultNotSendable({ jobId, node, reason: Values.decodeError(reply.result).message })
    case Outcome.notTransferred:
      return new ValueNotTransferred({
        jobId,
        node,
        reason: Values.decodeError(reply.result).message,
        ...countedOf(job)
      })
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
export const fromReply = (
  job: ClusterJob,
  node: string,
  reply: ReplyFields,
  addressOf: AddressOf = () => node
): JobOutcome => {
  const { error, value } = reply.outcome === Outcome.succeeded
    ? decoded(job, node, reply.result)
    : { error: errorOf(job, node, reply), value: undefined }
  const current = currentOf(job)
  if (current !== undefined) current.error = error
  return {
    value,
    error: error === undefined ? undefined : verdict(job, error, addressOf),
    stdout: textOf(reply.stdout),
    stderr: textOf(reply.stderr),
    startTime: reply.startMillis,
    endTime: reply.startMillis + reply.durationMicros / 1000
  }
}

/** Why a job that no node answered has no result. */
const endOf = (job: ClusterJob, reason: string, addressOf: AddressOf): JobError => {
  const { status, trials } = job
  const jobId = nameOf(job)
  const node = addressOf(job.nodeId)
  if (trials !== undefined && trials.overdue !== "") {
    return overdue(job, trials, status === "Terminated" ? node : "")
  }
  if (status !== "Abandoned" && trials?.isPoisoned !== true) {
    return new JobCancelled({ jobId, node: status === "Terminated" ? node : "", reason })
  }
  const nodes = trials === undefined || trials.lostNodes.length < 2 ? {} : { nodes: trials.lostNodes.map(addressOf) }
  return new NodeLost({ jobId, node, reason, ...nodes, ...countedOf(job) })
}

/** The outcome of a job that no node answered; its output is that of its last attempt, if it had one. */
export const fromEnd = (job: ClusterJob, reason: string, addressOf: AddressOf): JobOutcome => {
  lost(job, addressOf)
  const last = job.trials?.history.at(-1)
  return {
    value: undefined,
    error: verdict(job, endOf(job, reason, addressOf), addressOf),
    stdout: last?.output?.stdout ?? "",
    stderr: last?.output?.stderr ?? "",
    startTime: last?.startMillis ?? 0,
    endTime: last?.endMillis ?? 0
  }
}
