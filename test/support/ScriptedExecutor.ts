/** An executor whose jobs end when a test says so, and whose computations open and close when a test lets them. */
import { Deferred, Effect, Layer } from "effect"
import { ComputationRefused } from "../../src/domain/NodeError.ts"
import {
  encodeReply,
  entryAttempt,
  entryJobId,
  entrySize,
  noBytes,
  Outcome,
  ReplyFlags,
  viewOf
} from "../../src/domain/wire/Entries.ts"
import { type ExecutorRequest, JobExecutor } from "../../src/services/JobExecutor.ts"

/** A reply without a result. */
export const aReply = (
  jobId: number,
  outcome: Outcome = Outcome.succeeded,
  attempt = 1,
  result: Uint8Array = noBytes,
  flags = 0
): Uint8Array =>
  encodeReply({
    jobId,
    attempt,
    outcome,
    flags,
    startMillis: 0,
    durationMicros: 0,
    result,
    stdout: noBytes,
    stderr: noBytes
  })

/** A computation as the executor has it. */
export interface ScriptedComputation {
  /** What the node asked for. */
  readonly request: ExecutorRequest
  /** Jobs without a reply, in order. */
  readonly jobs: Array<number>
  /** Ends a job. */
  readonly finish: (jobId: number, outcome?: Outcome) => void
  /** Ends a job whose result is in a file that a test has made. */
  readonly finishLarge: (jobId: number) => void
  /** What jobs were told of files that they sent. */
  readonly answered: Array<readonly [fileId: number, problem: string]>
  /** A job sends a provisional result of so many bytes. */
  readonly say: (jobId: number, sizeBytes: number) => void
  /** Slots that it may use; undefined for all. */
  cpus: number | undefined
  isPaused: boolean
  isClosed: boolean
}

/** The executor's controls; the first `running` jobs of a computation count as started. */
export const make = (options: { readonly cpus?: number; readonly running?: number } = {}) => {
  const computations = new Map<string, ScriptedComputation>()
  const script = {
    computations,
    opened: 0,
    refuse: undefined as string | undefined,
    cpus: options.cpus ?? 2,
    /** Opening waits for this. */
    openGate: Effect.void,
    /** Closing waits for this. */
    closeGate: Effect.void
  }
  const layer = Layer.succeed(
    JobExecutor,
    JobExecutor.of({
      cpus: () => script.cpus,
      setCpus: (cpus) => {
        script.cpus = cpus
        if (cpus > 0) return
        for (const { finish, jobs } of computations.values()) {
          jobs.slice(options.running ?? 1).forEach((id) => finish(id, Outcome.returned))
        }
      },
      open: (request) =>
        Effect.gen(function*() {
          const { computation, cpus, onReplies } = request
          script.opened++
          const jobs: Array<number> = []
          const finish = (jobId: number, outcome: Outcome = Outcome.succeeded) => {
            const at = jobs.indexOf(jobId)
            if (at < 0) return
            jobs.splice(at, 1)
            onReplies(aReply(jobId, outcome))
          }
          const finishLarge = (jobId: number) => {
            jobs.splice(jobs.indexOf(jobId), 1)
            onReplies(aReply(jobId, Outcome.succeeded, 1, new Uint8Array(8), ReplyFlags.largeResult))
          }
          const say = (jobId: number, sizeBytes: number) =>
            onReplies(aReply(jobId, Outcome.provisional, 1, new Uint8Array(sizeBytes)))
          const scripted: ScriptedComputation = {
            request,
            jobs,
            finish,
            finishLarge,
            answered: [],
            say,
            cpus,
            isPaused: false,
            isClosed: false
          }
          yield* Effect.acquireRelease(
            Effect.sync(() => computations.set(computation.id, scripted)),
            () => Effect.andThen(script.closeGate, Effect.sync(() => scripted.isClosed = true))
          )
          yield* script.openGate
          if (script.refuse !== undefined) {
            return yield* new ComputationRefused({
              node: "scripted",
              computation: computation.name,
              reason: script.refuse
            })
          }
          return {
            dispatch: (batch) => {
              const view = viewOf(batch)
              for (let offset = 0; offset < batch.length; offset += entrySize(view, offset)) {
                if (entryAttempt(view, offset) >= 0) jobs.push(entryJobId(view, offset))
              }
            },
            setPaused: (isPaused) => {
              scripted.isPaused = isPaused
            },
            cancel: (ids) => ids.forEach((id) => finish(id, Outcome.cancelled)),
            answerFile: (fileId, problem) => void scripted.answered.push([fileId, problem]),
            returnQueued: () => jobs.slice(options.running ?? 1).forEach((id) => finish(id, Outcome.returned)),
            setCpus: (changed) => {
              scripted.cpus = changed
            },
            jobs: () => ({ running: jobs.slice(0, options.running ?? 1), waiting: jobs.slice(options.running ?? 1) })
          }
        })
    })
  )
  return { script, layer }
}

/** A gate that a test opens: `[wait, open]`. */
export const gate = (): readonly [Effect.Effect<void>, Effect.Effect<void>] => {
  const deferred = Deferred.makeUnsafe<void>()
  return [Deferred.await(deferred), Effect.asVoid(Deferred.succeed(deferred, undefined))]
}
