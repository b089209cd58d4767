/**
 * The attempts of a job that may have more than one, and its time: what is noted
 * of each that ended without a result, whether another one follows, and when the
 * job is to be looked at again.
 */
import { type FailedAttempt, hasEnded, type JobRecord, type JobTimer, type Terms, type Trials } from "./JobRecord.ts"
import * as Retry from "./Retry.ts"
import * as Timers from "./Timers.ts"

/** Slots or nodes that a job may take down. */
export const poisonLimit = 3

/** Attempts that are remembered, beside those that are evidence. */
const keptAttempts = 10

/** Of jobs that are submitted without. */
export const noTerms: Terms = { retry: undefined, queueMillis: 0, totalMillis: 0 }

/** No attempts yet. */
export const make = (terms: Terms): Trials => ({
  terms,
  failed: 0,
  retries: 0,
  lostNodes: [],
  crashes: 0,
  aloneLosses: 0,
  history: [],
  isPoisoned: false,
  overdue: "",
  retryAt: Infinity,
  queueAt: Infinity,
  totalAt: Infinity,
  timer: undefined,
  timers: undefined
})

/** When the job is to be looked at next, as it is now. */
export const nextAt = (job: JobRecord, trials: Trials): number => {
  if (hasEnded(job) || job.cancelReason !== "") return Infinity
  if (job.status !== "Created") return trials.totalAt
  const queueAt = trials.history.length === 0 ? trials.queueAt : Infinity
  return Math.min(trials.retryAt, queueAt, trials.totalAt)
}

/** Sets the timer of a job for what it waits for now. */
export const arm = (computationId: string, job: JobRecord): void => {
  const { trials } = job
  if (trials?.timers === undefined) return
  const at = nextAt(job, trials)
  if (trials.timer === undefined) {
    if (at === Infinity) return
    const timer: JobTimer = { _tag: "Job", computationId, job, at: Infinity, order: 0, heapIndex: -1 }
    trials.timer = timer
  }
  Timers.set(trials.timers, trials.timer, at)
}

/** The job was submitted: its time begins. */
export const begin = (
  timers: Timers.Timers<Timers.Timer>,
  computationId: string,
  job: JobRecord,
  now: number
): void => {
  const { trials } = job
  if (trials === undefined) return
  trials.timers = timers
  if (trials.terms.queueMillis > 0) trials.queueAt = now + trials.terms.queueMillis
  if (trials.terms.totalMillis > 0) trials.totalAt = now + trials.terms.totalMillis
  arm(computationId, job)
}

/** Whether the job was executed at least in part, before it was to be tried again. */
export const isTried = ({ trials }: JobRecord): boolean => trials !== undefined && trials.history.length > 0

/** Remembers an attempt; the oldest that is no evidence goes when there are many. */
const note = (trials: Trials, attempt: FailedAttempt): void => {
  const { history } = trials
  const last = history.at(-1)
  if (last !== undefined) last.output = undefined
  history.push(attempt)
  if (history.length <= keptAttempts + poisonLimit) return
  history.splice(history.findIndex(({ isEvidence }) => !isEvidence), 1)
}

const judge = (trials: Trials): boolean => {
  // Nodes go for many reasons: their loss alone convicts nobody.
  trials.isPoisoned = trials.crashes > 0 && trials.crashes + trials.aloneLosses >= poisonLimit
  return trials.isPoisoned
}

/** How an attempt ended. */
export type Ending = Pick<FailedAttempt, "failure" | "reason" | "isEvidence" | "startMillis" | "endMillis">

/**
 * Takes in an attempt that ended without a result: how long to wait before the next one, in milliseconds, or undefined
 * when there is none. `isReentrant` is for lost nodes.
 */
export const failed = (job: JobRecord, ending: Ending, now: number, isReentrant = false): number | undefined => {
  const { trials } = job
  if (trials === undefined) return undefined
  const { failure, isEvidence } = ending
  const ordinal = ++trials.failed
  note(trials, { ...ending, ordinal, attempt: job.attempt, nodeId: job.nodeId, error: undefined, output: undefined })
  if (failure === "NodeLost") {
    trials.lostNodes.push(job.nodeId)
    if (isEvidence) trials.aloneLosses++
  } else if (isEvidence) trials.crashes++
  if (job.cancelReason !== "" || judge(trials)) return undefined
  if (failure === "NodeLost" && trials.lostNodes.length >= Retry.maxLostNodes) return undefined
  const delay = delayOf(job, trials, failure, isReentrant)
  // Nothing could begin before its time is over: what went wrong says more than that.
  return delay === undefined || now + delay >= trials.totalAt ? undefined : delay
}

const delayOf = (
  { number }: JobRecord,
  trials: Trials,
  failure: Retry.FailureTag,
  isReentrant: boolean
): number | undefined => {
  if (isReentrant) return Retry.lossDelay(trials.lostNodes.length, number)
  const { retry } = trials.terms
  if (!Retry.isAllowed(retry, trials.retries, failure)) return undefined
  return Retry.retryDelay(retry, trials.retries++, number)
}

/** Whether the job may ever run again after the loss of a node. */
export const maySurvive = (job: JobRecord, isReentrant: boolean): boolean =>
  job.pinnedTo === "" && (isReentrant || job.trials?.terms.retry !== undefined)

/** Which timeout of a job is over; undefined for none. */
export const overdue = (job: JobRecord, trials: Trials, now: number): "queue" | "total" | undefined => {
  if (trials.totalAt <= now) return "total"
  if (job.status === "Created" && trials.history.length === 0 && trials.queueAt <= now) return "queue"
  return undefined
}

/** Why a job ends whose timeout is over. */
export const overdueReason = ({ queueMillis, totalMillis }: Terms, kind: "queue" | "total"): string =>
  kind === "queue" ? `its queueTimeout of ${queueMillis} ms was over` : `its totalTimeout of ${totalMillis} ms was over`
