/**
 * Recovers the jobs of a program that died, by its recover file: with Effect, for the promise facade and for the command.
 * What was recovered is handed over once: a stream does that when its consumer asks for more, the list when it is
 * complete. Whoever dies before that recovers again.
 */
import { Duration, Effect, Layer, Pull, Result, type Scope, Stream } from "effect"
import { resolve } from "node:path"
import { InvalidOption } from "../../domain/ClusterError.ts"
import { JobCancelled, type JobError, NodeLost } from "../../domain/JobError.ts"
import {
  type ClientAlive,
  type RecoverFileFailed,
  RecoveryIncomplete,
  type Unfinished
} from "../../domain/RecoverError.ts"
import type { KeptJob, Settled } from "../../domain/recovery/KeptJobs.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import type { JobStatus } from "../../domain/scheduler/JobRecord.ts"
import { noBytes, Outcome, type ReplyFields } from "../../domain/wire/Entries.ts"
import * as FileTransferSocket from "../../layers/bulk/FileTransferSocket.ts"
import * as NodeLinkSocket from "../../layers/link/NodeLinkSocket.ts"
import * as JobRecovery from "../../layers/recovery/JobRecovery.ts"
import * as QueueJournal from "../../layers/recovery/QueueJournal.ts"
import * as RecoverFileDisk from "../../layers/recovery/RecoverFileDisk.ts"
import * as RecoverLogResumed from "../../layers/recovery/RecoverLogResumed.ts"
import * as Credentials from "../../services/Credentials.ts"
import type { FileTransfer } from "../../services/FileTransfer.ts"
import type { NodeLink } from "../../services/NodeLink.ts"
import { ClusterJob, type JobOutcome } from "./ClusterJob.ts"
import * as ClusterOptions from "./ClusterOptions.ts"
import * as Dispy from "./Dispy.ts"
import type { NodeListEntry } from "./NodeAllocate.ts"
import * as OptionChecks from "./OptionChecks.ts"
import * as Outcomes from "./Outcomes.ts"
import * as RestRunner from "./RestRunner.ts"

/** How to recover jobs. */
export interface RecoverOptions {
  /**
   * How long to wait for jobs that still run, and for nodes that do not answer. What there is then is recovered; the
   * rest waits for another try. Default: as long as it takes.
   */
  readonly timeout?: Duration.Input | undefined
  /** Whether to end the jobs that still run: when the timeout is over, or at once without one. Default false. */
  readonly terminatePending?: boolean | undefined
  /**
   * Of a durable cluster: whether to run the jobs that its program did not get to send, and those that were lost and may
   * run twice. `false` leaves them in the file for another try. With `terminatePending` and no timeout they are not run,
   * but told as cancelled. Default true.
   */
  readonly resume?: boolean | undefined
  /** Where these jobs run, as for clusters. Default: the nodes that the program had, all their slots. */
  readonly nodes?: NodeListEntry | ReadonlyArray<NodeListEntry> | undefined
  /** Where files go that jobs sent with `dispy.sendFile`. Default: the current directory. */
  readonly filesDirectory?: string | undefined
  /** As for clusters. Default: the files that the cluster had its credentials from, or as for clusters. */
  readonly secret?: string | undefined
  readonly secretFile?: string | undefined
  readonly certfile?: string | undefined
  readonly keyfile?: string | undefined
  readonly cafile?: string | undefined
}

/** A job of a program that died. */
export interface RecoveredJob<out A = unknown> {
  /** Its `number` in the cluster. */
  readonly number: number
  /** The `id` that it was submitted with, if its cluster was durable. */
  readonly id: unknown
  /** Name of the cluster. */
  readonly computation: string
  /** Id of the cluster: a program may have had several of the same name. */
  readonly computationId: string
  /** "Finished", "Terminated", "Cancelled" or "Abandoned". */
  readonly status: JobStatus
  /** What it returned; undefined when it has an `exception`. Instances of your classes are plain objects. */
  readonly result: A | undefined
  /** What went wrong, with your stack; undefined when nothing did. */
  readonly exception: JobError | undefined
  readonly stdout: string
  readonly stderr: string
  /** Address of its node as the cluster had it. */
  readonly ipAddr: string
  /** Name of its node. */
  readonly node: string
  /** Milliseconds since 1970 by the node's clock; 0 when it never started. */
  readonly startTime: number
  readonly endTime: number
  /** Its provisional results that the program had not acknowledged, in order. */
  readonly provisionalResults: ReadonlyArray<unknown>
  /** Files that it sent and the program had not taken: where they are now, absolute. */
  readonly files: ReadonlyArray<string>
}

/** What was recovered. */
export type RecoveredJobs<A = unknown> = Array<RecoveredJob<A>> & {
  /** Whether that is all. Otherwise the file stays, and another call with it gives the rest. */
  readonly isComplete: boolean
  /** Nodes that have more, or did not answer. */
  readonly unfinished: ReadonlyArray<Unfinished>
}

/** Why nothing was recovered. */
export type RecoverError = InvalidOption | RecoverFileFailed | ClientAlive

const known: ReadonlySet<string> = new Set<keyof RecoverOptions>([
  "timeout",
  "terminatePending",
  "resume",
  "nodes",
  "filesDirectory",
  "secret",
  "secretFile",
  "certfile",
  "keyfile",
  "cafile"
])

const timeoutOf = (timeout: Duration.Input | undefined): Result.Result<number, InvalidOption> =>
  timeout === undefined ?
    Result.succeed(0) :
    Result.flatMap(OptionChecks.millisOf("timeout", timeout), (millis) =>
      millis > 0 || !Duration.isFinite(Duration.fromInputUnsafe(timeout))
        ? Result.succeed(millis)
        : Result.fail(
          new InvalidOption({
            option: "timeout",
            reason: "0 leaves nodes no time to answer; leave it out for no timeout"
          })
        ))

/** Checked options. */
interface Checked extends JobRecovery.RecoveryOptions {
  readonly isResuming: boolean
}

const check = (options: RecoverOptions): Result.Result<Checked, InvalidOption> =>
  Result.gen(function*() {
    yield* OptionChecks.checkNames(options, known, "recoverJobs")
    const { filesDirectory, resume, terminatePending, timeout } = options
    return {
      isResuming: (yield* OptionChecks.typed("resume", resume, "boolean")) ?? true,
      timeoutMillis: yield* timeoutOf(timeout),
      terminatePending: (yield* OptionChecks.typed("terminatePending", terminatePending, "boolean")) ?? false,
      directory: resolve((yield* OptionChecks.typed("filesDirectory", filesDirectory, "string")) ?? ".")
    }
  })

type ConnectedOptions = Pick<RecoverOptions, "timeout" | "terminatePending" | "filesDirectory">

/** A recovery over the connections in the context. */
const openWith = Effect.fnUntraced(function*(
  path: string,
  options: ConnectedOptions
): Effect.fn.Return<JobRecovery.JobRecovery, RecoverError, NodeLink | FileTransfer | Scope.Scope> {
  const checked = yield* Effect.fromResult(check(options))
  return yield* JobRecovery.start(path, yield* RecoverFileDisk.read(path), checked)
})

/** A recovery over sockets. */
const open = Effect.fnUntraced(function*(
  path: string,
  options: RecoverOptions
): Effect.fn.Return<JobRecovery.JobRecovery, RecoverError, Scope.Scope> {
  const checked = yield* Effect.fromResult(check(options))
  const file = yield* RecoverFileDisk.read(path)
  const credentials = yield* Effect.fromResult(ClusterOptions.credentialsOf(options, file.header.credentials))
  const context = yield* Layer.build(
    Layer.mergeAll(NodeLinkSocket.layer, FileTransferSocket.layer).pipe(
      Layer.provide(Credentials.layer(credentials.credentials))
    )
  )
  if (file.queues.size === 0) return yield* JobRecovery.start(path, file, checked).pipe(Effect.provideContext(context))
  const nodes = options.nodes ?? nodesOf(file)
  const cluster = yield* Effect.fromResult(ClusterOptions.check({ nodes }))
  const claim = yield* RecoverFileDisk.claim(path, Dispy.client.clientName)
  const originals = new Map<string, string>()
  const runner = RestRunner.make({
    claim,
    directory: checked.directory,
    originals,
    scheduler: Dispy.layerChecked({ ...cluster, ...credentials }, false, RecoverLogResumed.layer(claim, originals))
  })
  return yield* JobRecovery.start(path, claim.file, checked, {
    append: (entries) =>
      Effect.sync(() => {
        for (const entry of entries) QueueJournal.append(claim.journals, entry)
      }),
    runner: checked.isResuming ? runner : undefined
  }).pipe(Effect.provideContext(context))
})

/** Where the program's jobs could run. */
const nodesOf = ({ header, leased }: RecoverFile.RecoverFile): ReadonlyArray<string> => [
  ...new Set([...header.nodeList ?? [], ...leased.map(RecoverFile.addressOf)])
]

const statusOf = ({ outcome, startMillis }: ReplyFields): JobStatus => {
  if (outcome === Outcome.succeeded) return "Finished"
  const isUnstarted = outcome === Outcome.returned || (outcome === Outcome.cancelled && startMillis === 0)
  return isUnstarted ? "Cancelled" : "Terminated"
}

const nothing: Omit<JobOutcome, "error"> = { value: undefined, stdout: "", stderr: "", startTime: 0, endTime: 0 }

const outcomeOf = ({ lost, node, number, reply }: KeptJob): JobOutcome & Pick<RecoveredJob, "status"> => {
  if (reply === undefined) {
    return { ...nothing, status: "Abandoned", error: new NodeLost({ jobId: number, node, reason: lost }) }
  }
  if (reply.outcome === Outcome.returned) {
    const reason = "its node gave it back when its program was gone"
    return { ...nothing, status: "Cancelled", error: new JobCancelled({ jobId: number, node: "", reason }) }
  }
  const job = new ClusterJob(number, noBytes, 0, { timeoutMillis: 0, memoryKiB: 0 }, undefined)
  job.cancelReason = "its program or the recovery ended it"
  return { ...Outcomes.fromReply(job, node, reply), status: statusOf(reply) }
}

const valuesOf = (encoded: ReadonlyArray<Uint8Array>): ReadonlyArray<unknown> =>
  encoded.flatMap((bytes) => {
    // Only a broken or hostile node sends damaged bytes.
    const value = Result.try(() => Outcomes.valueOf(bytes, undefined))
    return Result.isSuccess(value) ? [value.success] : []
  })

/** The id that a job was submitted with. */
const idOf = ({ queues }: RecoverFile.RecoverFile, { computationId, number }: KeptJob): unknown => {
  const encoded = queues.get(computationId)?.jobs.get(number)?.details?.id
  if (encoded === undefined) return undefined
  const id = Result.try(() => Outcomes.valueOf(new Uint8Array(Buffer.from(encoded, "base64")), undefined))
  return Result.isSuccess(id) ? id.success : undefined
}

/** The job as users see it. */
const recovered = <A>(file: RecoverFile.RecoverFile, job: KeptJob): RecoveredJob<A> => {
  const ipAddr = RecoverFile.addressIn(job.node)
  const { endTime, error, startTime, status, stderr, stdout, value } = outcomeOf(job)
  return {
    number: job.number,
    id: idOf(file, job),
    computation: file.computations.get(job.computationId)?.name ?? "",
    computationId: job.computationId,
    status,
    result: value as A | undefined,
    exception: error,
    stdout,
    stderr,
    ipAddr,
    node: file.leased.find((node) => RecoverFile.addressOf(node) === ipAddr)?.name ?? "",
    startTime,
    endTime,
    provisionalResults: valuesOf(job.provisional),
    files: job.files
  }
}

/** One job at a time, and after the last one the nodes. */
const singly = ({ jobs, nodes }: Settled): ReadonlyArray<Settled> => [
  ...jobs.map((job) => ({ jobs: [job], nodes: [] })),
  { jobs: [], nodes }
]

/** Jobs as they come; what the consumer has is handed over when it asks for more. */
const streamOf = <A>(
  path: string,
  recovery: JobRecovery.JobRecovery
): Stream.Stream<RecoveredJob<A>, RecoveryIncomplete> => {
  let before: ReadonlyArray<Settled> = []
  let waiting: Array<Settled> = []
  const settled: Pull.Pull<Settled> = Effect.suspend(() => {
    const next = waiting.shift()
    if (next !== undefined) return Effect.succeed(next)
    return Effect.flatMap(recovery.next, (batches) => {
      waiting = batches.flatMap(singly)
      return settled
    })
  })
  const pull: Pull.Pull<readonly [RecoveredJob<A>]> = Effect.gen(function*() {
    yield* recovery.handOver(before)
    before = []
    const next = yield* settled
    before = [next]
    const [job] = next.jobs
    return job === undefined ? yield* pull : [recovered<A>(recovery.file, job)] as const
  })
  const end = Effect.gen(function*() {
    const unfinished = recovery.unfinished()
    if (unfinished.length > 0) return yield* new RecoveryIncomplete({ file: path, unfinished })
    yield* recovery.end
  })
  return Stream.concat(Stream.fromPull(Effect.succeed(pull)), Stream.fromEffectDrain(end))
}

/** The list as users get it: what is beside the jobs does not show when it is printed or compared. */
export const withEnd = <A>(
  jobs: Array<RecoveredJob<A>>,
  unfinished: ReadonlyArray<Unfinished>
): RecoveredJobs<A> =>
  Object.defineProperties(jobs, {
    isComplete: { value: unfinished.length === 0 },
    unfinished: { value: unfinished }
  }) as RecoveredJobs<A>

/** All jobs, handed over together at the end. */
const listOf = Effect.fnUntraced(function*<A>(
  path: string,
  recovery: JobRecovery.JobRecovery
): Effect.fn.Return<RecoveredJobs<A>> {
  const batches: Array<Settled> = []
  yield* Effect.map(recovery.next, (more) => batches.push(...more)).pipe(
    Effect.forever,
    Pull.catchDone(() => Effect.void)
  )
  const jobs = batches.flatMap((batch) => batch.jobs).map((job) => recovered<A>(recovery.file, job))
  const unfinished = recovery.unfinished()
  if (unfinished.length > 0) yield* Effect.logWarning(new RecoveryIncomplete({ file: path, unfinished }).message)
  yield* recovery.handOver(batches)
  yield* recovery.end
  return withEnd(jobs, unfinished)
})

/** `recoverJobs` over the connections in the context. */
export const recoverJobsWith = <A = unknown>(
  file: string,
  options: ConnectedOptions = {}
): Effect.Effect<RecoveredJobs<A>, RecoverError, NodeLink | FileTransfer> =>
  Effect.scoped(Effect.flatMap(openWith(file, options), (recovery) => listOf<A>(file, recovery)))

/** `recoverJobsStream` over the connections in the context. */
export const recoverJobsStreamWith = <A = unknown>(
  file: string,
  options: ConnectedOptions = {}
): Stream.Stream<RecoveredJob<A>, RecoverError | RecoveryIncomplete, NodeLink | FileTransfer> =>
  Stream.unwrap(Effect.map(openWith(file, options), (recovery) => streamOf<A>(file, recovery)))

/**
 * What became of the jobs of a program that died. Asks all nodes of its recover file, and waits until none of its jobs
 * runs any more. Nodes forget what was recovered when all of it is there; then the file is removed. Whoever is
 * interrupted before recovers again.
 *
 * @param file the `recoverFile` of the cluster: `_dispy_YYYYMMDDHHMMSS`
 * @param options how long to wait, and what lets this program in at the nodes
 * @returns a list; `isComplete` is false when a timeout was over before everything was there
 * @example
 * ```ts
 * import { recoverJobs } from "dispy"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const jobs = yield* recoverJobs<number>("_dispy_20260131093000", { timeout: "1 hour" })
 *   return jobs.filter((job) => job.status === "Finished").map((job) => job.result)
 * })
 * ```
 */
export const recoverJobs = <A = unknown>(
  file: string,
  options: RecoverOptions = {}
): Effect.Effect<RecoveredJobs<A>, RecoverError> =>
  Effect.scoped(Effect.flatMap(open(file, options), (recovery) => listOf<A>(file, recovery)))

/**
 * The same jobs one by one, as soon as they are there. A job counts as handed over when the next is asked for: nobody
 * gets it again then. Ends with `RecoveryIncomplete` when a timeout was over before everything was there.
 */
export const recoverJobsStream = <A = unknown>(
  file: string,
  options: RecoverOptions = {}
): Stream.Stream<RecoveredJob<A>, RecoverError | RecoveryIncomplete> =>
  Stream.unwrap(Effect.map(open(file, options), (recovery) => streamOf<A>(file, recovery)))
