/**
 * What must hold of the attempts of a job and of its times, by what the observer saw of it: that none is made too early,
 * too often or after the end, that none is left out, and that what ends a job for good is true.
 */
import type { JobRecord, Trials as JobTrials } from "../../src/domain/scheduler/JobRecord.ts"
import * as Retry from "../../src/domain/scheduler/Retry.ts"
import * as Trials from "../../src/domain/scheduler/Trials.ts"
import type { ReplyFields } from "../../src/domain/wire/Entries.ts"
import * as Ledger from "./Ledger.ts"
import * as World from "./World.ts"

/** Delays of retries differ by so much of themselves. */
const jitter = 0.2

/** Sums of times are not exact. */
const epsilonMillis = 0.001

/**
 * Within what time after its `totalTimeout`, or after the last fault, a job ends that a node has: the node has to hear of
 * it, kill it, and tell, or to be given up.
 */
const endMillis = 30_000

const allows = ({ terms }: Ledger.Job, failure: Retry.FailureTag): boolean =>
  terms?.retry !== undefined && (terms.retry.on.length === 0 || terms.retry.on.includes(failure))

/** Its client is about to send it to a node. */
export const sent = (ledger: Ledger.Ledger, computationId: string, { attempt, number }: JobRecord): void => {
  const job = Ledger.jobOf(ledger, computationId, number)
  const name = Ledger.nameOf(computationId, number)
  if (job.outcome !== "") World.fail(`job ${name} is sent to a node after its end`)
  if (attempt <= job.sent) World.fail(`job ${name} is sent as attempt ${attempt} after attempt ${job.sent}`)
  if (ledger.world.now < job.notBefore) World.fail(`job ${name} is tried again before its time`)
  job.sent = attempt
}

const retry = ({ world }: Ledger.Ledger, job: Ledger.Job, failure: Retry.FailureTag): void => {
  const name = Ledger.nameOf(job.computationId, job.number)
  const policy = job.terms?.retry
  if (policy === undefined || !allows(job, failure)) {
    return World.fail(`job ${name} is tried again after ${failure}, and its terms do not say so`)
  }
  const delay = Math.min(policy.maxDelayMillis, policy.delayMillis * policy.factor ** job.retries)
  job.notBefore = world.now + delay * (1 - jitter) - epsilonMillis
  if (++job.retries > policy.times) World.fail(`job ${name} is tried again ${job.retries} times, not ${policy.times}`)
  World.count(world, `retry after ${failure}`)
}

/** An attempt had no result, and the job waits for another one. */
export const retried = (ledger: Ledger.Ledger, computationId: string, number: number, reply: ReplyFields): void => {
  const job = Ledger.jobOf(ledger, computationId, number)
  const name = Ledger.nameOf(computationId, number)
  const failure = Retry.failureOf(reply.outcome) ?? World.fail(`job ${name} is tried again and had a result`)
  if (job.outcome !== "") World.fail(`job ${name} is tried again after its end`)
  if (!job.executions.has(reply.attempt)) World.fail(`job ${name} is tried again and did not run`)
  if (job.retried.has(reply.attempt)) World.fail(`job ${name} is tried again twice after one attempt`)
  job.retried.add(reply.attempt)
  if (failure === "JobCrashed" && ++job.crashes >= Trials.poisonLimit) {
    World.fail(`job ${name} is tried again after it took ${job.crashes} slots down`)
  }
  retry(ledger, job, failure)
}

/** It waits for a node again, because the last one gave it back or was lost. */
export const requeued = (ledger: Ledger.Ledger, computationId: string, number: number): void => {
  const job = Ledger.jobOf(ledger, computationId, number)
  if (job.survived === job.losses) return
  job.survived = job.losses
  if (job.isReentrant) World.count(ledger.world, "runs again of reentrant jobs")
  // What may not run again at all is noticed where it does.
  else if (job.terms?.retry !== undefined) retry(ledger, job, "NodeLost")
}

const overdue = (ledger: Ledger.Ledger, job: Ledger.Job, { nodeId }: JobRecord, kind: "queue" | "total"): void => {
  const { now } = ledger.world
  const name = Ledger.nameOf(job.computationId, job.number)
  const millis = (kind === "queue" ? job.terms?.queueMillis : job.terms?.totalMillis) ?? 0
  if (millis === 0) World.fail(`job ${name} ends by a ${kind}Timeout that it does not have`)
  World.count(ledger.world, nodeId === "" ? `timeout ${kind}` : `timeout ${kind}, of jobs that a node had`)
  const due = job.submittedAt + millis
  if (now < due - epsilonMillis) {
    World.fail(`job ${name} ends by its ${kind}Timeout ${due - now} ms before that is over`)
  }
  if (kind === "queue" && job.executions.size > 0) World.fail(`job ${name} ran and ends by its queueTimeout`)
}

const poisoned = (ledger: Ledger.Ledger, job: Ledger.Job, { aloneLosses, crashes }: JobTrials): void => {
  const name = Ledger.nameOf(job.computationId, job.number)
  World.count(ledger.world, aloneLosses > 0 ? "poisoned by slots and nodes" : "poisoned by slots")
  if (crashes === 0 || crashes + aloneLosses < Trials.poisonLimit) {
    World.fail(`job ${name} is poisoned by ${crashes} slots and ${aloneLosses} nodes`)
  }
  if (crashes > job.downs || aloneLosses > job.losses) {
    World.fail(`job ${name} is said to have taken down what it has not`)
  }
}

const inTime = (ledger: Ledger.Ledger, job: Ledger.Job, nodeId: string, client: World.Process): void => {
  const { now } = ledger.world
  const totalMillis = job.terms?.totalMillis ?? 0
  if (totalMillis === 0) return
  const due = Math.max(job.submittedAt + totalMillis, client.thawedAt)
  const latest = nodeId === "" ? due + epsilonMillis : Math.max(due, ledger.calmAt) + endMillis
  if (now > latest) {
    World.fail(`job ${Ledger.nameOf(job.computationId, job.number)} ends ${now - due} ms after its totalTimeout`)
  }
}

/** It has its outcome: what its client knows of its attempts must be so. `reply` is what made it end, if one did. */
export const ended = (
  ledger: Ledger.Ledger,
  computationId: string,
  record: JobRecord,
  reply: ReplyFields | undefined,
  client: World.Process
): void => {
  const job = Ledger.jobOf(ledger, computationId, record.number)
  const { cancelReason, nodeId, pinnedTo, status, trials } = record
  inTime(ledger, job, nodeId, client)
  if (trials === undefined) return
  if (trials.overdue !== "") overdue(ledger, job, record, trials.overdue)
  if (status === "Cancelled" && trials.history.length > 0) {
    World.fail(`job ${Ledger.nameOf(computationId, job.number)} was tried and is told as cancelled before that`)
  }
  if (trials.isPoisoned) return poisoned(ledger, job, trials)
  if (trials.lostNodes.length > job.losses) World.fail(`a job lost more nodes than there were`)
  if (trials.lostNodes.length >= Retry.maxLostNodes) World.count(ledger.world, "jobs that lost ten nodes")
  const failure = reply === undefined ? undefined : Retry.failureOf(reply.outcome)
  if (failure === undefined || !allows(job, failure)) return
  const { retry: policy, totalMillis } = job.terms!
  if (job.retries >= policy!.times) return World.count(ledger.world, "retries used up")
  if (cancelReason === "" && pinnedTo === "" && totalMillis === 0) {
    World.fail(`job ${Ledger.nameOf(computationId, job.number)} ends after ${job.retries} of ${policy!.times} retries`)
  }
}
