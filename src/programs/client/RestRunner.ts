/**
 * Runs the jobs of a durable recover file that its program did not get to run: each computation is opened anew from what
 * the file says of it, in the first moment that it is needed, and its jobs are submitted as they were.
 */
import { Effect, FiberSet, Latch, Layer, Result, Scope } from "effect"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import type { LocalFiles } from "../../domain/Computation.ts"
import type { KeptJob } from "../../domain/recovery/KeptJobs.ts"
import type * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import * as RestJobs from "../../domain/recovery/RestJobs.ts"
import { hasEnded } from "../../domain/scheduler/JobRecord.ts"
import * as Trials from "../../domain/scheduler/Trials.ts"
import { messageOf } from "../../domain/Thrown.ts"
import type { Runner, RunnerListener } from "../../layers/recovery/JobRecovery.ts"
import * as QueueJournal from "../../layers/recovery/QueueJournal.ts"
import type { Claim } from "../../layers/recovery/RecoverFileDisk.ts"
import { Scheduler, type SchedulerSession } from "../../services/Scheduler.ts"
import { ClusterJob } from "./ClusterJob.ts"
import * as Depends from "./Depends.ts"

/** A job that runs here, with what comes of it. */
class RestedJob extends ClusterJob {
  readonly rest: RestJobs.RestJob
  readonly provisionalResults: Array<Uint8Array> = []
  readonly receivedFiles: Array<string> = []

  constructor(rest: RestJobs.RestJob, pinnedTo: string) {
    const { args, details, flags, number, timeoutMillis } = rest.job
    super(number, args, flags, { timeoutMillis, memoryKiB: details?.memoryKiB ?? 0 }, undefined, pinnedTo)
    this.rest = rest
    if (details?.takes !== undefined) this.files = Depends.filesFrom(details.takes)
    if (details?.terms !== undefined) this.trials = Trials.make(details.terms)
  }
}

/** A computation whose jobs run here. */
interface Opened {
  readonly jobs: Set<RestedJob>
  /** Jobs that wait until it is open. */
  waiting: Array<RestJobs.RestJob>
  /** Jobs that wait for the only node where they may run. */
  pinned: Array<RestJobs.RestJob>
  session: SchedulerSession | undefined
  problem: string
}

/** What a runner works with. */
export interface Environment {
  readonly claim: Claim
  /** Where files go that jobs send; absolute. */
  readonly directory: string
  /** Ids under which computations are opened, with those that they have in the file. */
  readonly originals: Map<string, string>
  /** A scheduler whose recover log is that of the claim; made when it is needed. */
  readonly scheduler: Layer.Layer<Scheduler, { readonly message: string }>
}

/** What is wrong with a file that a computation takes along; undefined when it is what it was. */
const changed = (source: string | Uint8Array, sha256: string): string | undefined => {
  if (typeof source !== "string") return undefined
  const hash = createHash("sha256")
  try {
    const descriptor = fs.openSync(source, "r")
    try {
      const buffer = Buffer.alloc(1024 * 1024)
      for (let read = fs.readSync(descriptor, buffer); read > 0; read = fs.readSync(descriptor, buffer)) {
        hash.update(buffer.subarray(0, read))
      }
    } finally {
      fs.closeSync(descriptor)
    }
  } catch (error) {
    return `file ${source} of its depends cannot be read (${messageOf(error)}); put it back`
  }
  return hash.digest("hex") === sha256 ? undefined : `file ${source} of its depends was changed; put it back as it was`
}

const sourcesOf = (
  { computation, sources }: RecoverFile.Definition
): Result.Result<LocalFiles["sources"], string> => {
  const entries = computation.depends?.files ?? []
  for (const [i, { sha256 }] of entries.entries()) {
    const wrong = changed(sources[i] ?? "", sha256)
    if (wrong !== undefined) return Result.fail(wrong)
  }
  return Result.succeed(sources)
}

/** Whether a job that ended without a reply could have run: it had not started, or waited for another attempt. */
const isUndone = ({ attempt, status, trials }: RestedJob): boolean =>
  status === "Cancelled" ||
  (status === "Terminated" && trials?.isPoisoned === false && trials.overdue === "" &&
    trials.history.at(-1)?.attempt === attempt)

/** Makes the runner; what it runs ends with the scope. */
export const make = (env: Environment) =>
  Effect.fnUntraced(function*(listener: RunnerListener): Effect.fn.Return<Runner, never, Scope.Scope> {
    const { file } = env.claim
    const run = yield* FiberSet.makeRuntime()
    const scope = yield* Effect.scope
    const all = new Map<string, Opened>()
    const isIdle = Latch.makeUnsafe(true)
    let pending = 0
    let isStopped = false
    const scheduler = yield* Effect.cached(
      Layer.buildWithScope(env.scheduler, scope).pipe(
        Effect.flatMap((context) => Effect.provideContext(Scheduler, context))
      )
    )

    const done = (): void => {
      if (--pending === 0) isIdle.openUnsafe()
    }

    const leave = (rest: RestJobs.RestJob): void => {
      listener.left(rest)
      done()
    }

    const tell = (job: RestedJob, node: string, outcome: Pick<KeptJob, "reply" | "lost">): void => {
      const { computationId } = job.rest
      listener.ended({
        ...outcome,
        computationId,
        number: job.number,
        node,
        provisional: job.provisionalResults,
        files: job.receivedFiles
      })
      done()
    }

    const open = Effect.fnUntraced(function*(
      computationId: string,
      opened: Opened
    ): Effect.fn.Return<SchedulerSession, { readonly message: string }, Scope.Scope> {
      const known = file.computations.get(computationId)
      const definition = file.definitions.get(computationId)
      if (known === undefined || definition === undefined) {
        return yield* Effect.fail({ message: "what is to be run is damaged in the file" })
      }
      const sources = yield* Effect.mapError(Effect.fromResult(sourcesOf(definition)), (message) => ({ message }))
      const id = crypto.randomUUID()
      env.originals.set(id, computationId)
      const { open: begin } = yield* scheduler
      const session = yield* begin({
        computation: { ...definition.computation, id },
        sources,
        jobFiles: {
          directory: env.directory,
          maxFileBytes: 0,
          onFile: (job, place) => void (job as RestedJob).receivedFiles.push(path.join(env.directory, place))
        },
        setupArgs: definition.setupArgs,
        isReentrant: known.mayRunTwice,
        isDurable: true,
        nodes: undefined,
        onReply: (record, reply) => {
          const job = record as RestedJob
          opened.jobs.delete(job)
          tell(job, session.addressOf(job.nodeId), { reply, lost: "" })
        },
        onProvisional: (job, { result }) => void (job as RestedJob).provisionalResults.push(result),
        onEnd: (record, reason) => {
          const job = record as RestedJob
          opened.jobs.delete(job)
          if (isLeaving && isUndone(job)) return leave(job.rest)
          const node = session.addressOf(job.nodeId)
          if (job.status === "Abandoned") return tell(job, node, { reply: undefined, lost: reason })
          tell(job, node, { reply: RestJobs.cancelledReply(job), lost: "" })
        },
        onDispatched: () => {},
        onRetried: (record) => {
          const job = record as RestedJob
          job.provisionalResults.length = 0
          job.receivedFiles.length = 0
        },
        onBench: () => {},
        onRequeued: () => {},
        onNode: (status) => {
          if (status !== "Initialized" || opened.session === undefined) return
          for (const rest of opened.pinned.splice(0)) submit(opened, session, rest)
        }
      })
      return session
    })

    let isLeaving = false

    const submit = (opened: Opened, session: SchedulerSession, rest: RestJobs.RestJob): void => {
      const pinned = rest.job.details?.pinnedTo
      const pinnedTo = pinned === undefined ? "" : session.control.idOf(pinned)
      if (pinnedTo === undefined) return void opened.pinned.push(rest)
      const job = new RestedJob(rest, pinnedTo)
      const held = rest.job.details?.held
      if (held !== undefined) {
        const place = path.join(QueueJournal.directoryOf(env.claim.journals.fileName()), held.name)
        job.held = { path: place, sizeBytes: held.sizeBytes }
      }
      opened.jobs.add(job)
      session.submit(job)
    }

    const start = (computationId: string, opened: Opened): void => {
      run(
        open(computationId, opened).pipe(
          Scope.provide(scope),
          Effect.match({
            onFailure: ({ message }) => {
              const name = file.computations.get(computationId)?.name ?? ""
              opened.problem = `${name === "" ? "" : `${name} cannot be run: `}${message}`
              for (const rest of opened.waiting.splice(0)) leave(rest)
            },
            onSuccess: (session) => {
              opened.session = session
              for (const rest of opened.waiting.splice(0)) submit(opened, session, rest)
            }
          })
        )
      )
    }

    return {
      run: (rest) => {
        isIdle.closeUnsafe()
        pending++
        const known = all.get(rest.computationId)
        const opened: Opened = known ?? { jobs: new Set(), waiting: [], pinned: [], session: undefined, problem: "" }
        if (known === undefined) {
          all.set(rest.computationId, opened)
          start(rest.computationId, opened)
        }
        if (isStopped || opened.problem !== "") leave(rest)
        else if (opened.session === undefined) opened.waiting.push(rest)
        else submit(opened, opened.session, rest)
      },
      idle: isIdle.await,
      stop: (isTerminating) => {
        isStopped = true
        isLeaving = !isTerminating
        for (const opened of all.values()) {
          for (const rest of [...opened.waiting.splice(0), ...opened.pinned.splice(0)]) leave(rest)
          for (const job of opened.jobs) {
            if (!hasEnded(job) && (isTerminating || job.status === "Created")) {
              opened.session?.cancel(job, "the time for the recovery was over")
            }
          }
        }
      },
      problems: () =>
        [...all.values()].flatMap(({ pinned, problem }) => [
          ...(problem === "" ? [] : [problem]),
          ...pinned.map(({ job }) => `job ${job.number} is for node ${job.details?.pinnedTo} alone, which is not there`)
        ])
    }
  })
