/** Drives a `JobExecutor` as a node does, in the words of a test: open a computation, submit, await replies. */
import { Effect, type Scope } from "effect"
import type { Code, Computation, Definition, ExecutorKind } from "../../src/domain/Computation.ts"
import type { ComputationRefused } from "../../src/domain/NodeError.ts"
import * as Entries from "../../src/domain/wire/Entries.ts"
import { decodeSlotDeath, type SlotDeath } from "../../src/domain/wire/SlotDeath.ts"
import { type ExecutorSession, JobExecutor } from "../../src/services/JobExecutor.ts"
import * as Values from "../../src/slot/Values.ts"

/** A reply as a test looks at it. */
export interface TestReply {
  readonly jobId: number
  readonly attempt: number
  readonly outcome: Entries.Outcome
  readonly flags: number
  readonly startMillis: number
  readonly durationMicros: number
  readonly stdout: string
  readonly stderr: string
  readonly result: Uint8Array
  /** When it arrived, by the clock of `performance.now`. */
  readonly arrivedAt: number
}

/** What can be said of a job beside its arguments. */
export interface JobOptions {
  readonly timeoutMillis?: number
  readonly memoryKiB?: number
  readonly flags?: number
}

/** An open computation. */
export interface Opened extends Omit<ExecutorSession, "dispatch"> {
  /** Sends one job per list of arguments in one batch; returns their ids. */
  readonly submit: (argsOfJobs: ReadonlyArray<ReadonlyArray<unknown>>, options?: JobOptions) => ReadonlyArray<number>
  /** Awaits the replies of these jobs. */
  readonly replies: (jobIds: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<TestReply>>
  /** Submits a job and awaits its reply. */
  readonly run: (args: ReadonlyArray<unknown>, options?: JobOptions) => Effect.Effect<TestReply>
  /** The same with arguments that are encoded already. */
  readonly runEncoded: (args: Uint8Array, options?: JobOptions) => Effect.Effect<TestReply>
  /** All provisional results in the order of their arrival. */
  readonly provisional: ReadonlyArray<TestReply>
  /** All replies in the order of their arrival. */
  readonly arrived: ReadonlyArray<TestReply>
}

/** What a computation is opened with. */
export interface OpenOptions {
  readonly cpus?: number
  readonly captures?: Readonly<Record<string, unknown>>
  readonly graceMillis?: number
  readonly outputLimitBytes?: number
  readonly name?: string
  readonly executor?: ExecutorKind
  readonly concurrency?: number
  readonly slotLimits?: Computation["slotLimits"]
  readonly definitions?: ReadonlyArray<Definition>
  readonly lifecycle?: Computation["lifecycle"]
  readonly setupArgs?: ReadonlyArray<unknown>
}

/** A function without captures, as code. */
export const aFunction = (source: string): Code => ({ _tag: "FunctionCode", source, captures: Values.encode({}) })

const text = new TextDecoder()

const testReply = ({ stderr, stdout, ...reply }: Entries.ReplyFields): TestReply => ({
  ...reply,
  result: Uint8Array.from(reply.result),
  stdout: text.decode(stdout),
  stderr: text.decode(stderr),
  arrivedAt: performance.now()
})

let lastComputation = 0

/** Opens a computation of any kind. */
export const openCode = (
  code: Code,
  options: OpenOptions = {}
): Effect.Effect<Opened, ComputationRefused, JobExecutor | Scope.Scope> =>
  Effect.gen(function*() {
    const executor = yield* JobExecutor
    const arrived: Array<TestReply> = []
    const provisional: Array<TestReply> = []
    const byId = new Map<number, TestReply>()
    const waiting = new Set<() => void>()
    const onReplies = (entries: Uint8Array): void => {
      const view = Entries.viewOf(entries)
      if (Entries.countReplies(entries) < 1) throw new Error("a malformed reply came from the executor")
      for (let offset = 0; offset < entries.length; offset += Entries.entrySize(view, offset)) {
        const reply = testReply(Entries.readReply(entries, view, offset))
        if (byId.has(reply.jobId)) throw new Error(`job ${reply.jobId} has a second reply`)
        if (reply.outcome === Entries.Outcome.provisional) {
          provisional.push(reply)
          continue
        }
        byId.set(reply.jobId, reply)
        arrived.push(reply)
      }
      for (const look of waiting) look()
    }
    const { concurrency = 1, executor: kind = "process", graceMillis = 1000 } = options
    const { definitions, lifecycle, name = "test", outputLimitBytes = 64 * 1024, setupArgs } = options
    const limits = { graceMillis, outputLimitBytes }
    const session = yield* executor.open({
      computation: {
        id: `computation ${++lastComputation}`,
        name,
        code,
        limits,
        executor: kind,
        concurrency,
        ...(definitions === undefined ? {} : { depends: { definitions, modules: [], files: [] } }),
        ...(options.slotLimits === undefined ? {} : { slotLimits: options.slotLimits }),
        ...(lifecycle === undefined ? {} : { lifecycle })
      },
      ...(setupArgs === undefined ? {} : { setupArgs: Values.encodeArgs(setupArgs) }),
      ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
      onReplies
    })
    let lastId = 0
    const submit: Opened["submit"] = (argsOfJobs, { flags = 0, memoryKiB = 0, timeoutMillis = 0 } = {}) => {
      const jobs = argsOfJobs.map((args) => ({
        jobId: ++lastId,
        attempt: 7,
        flags,
        timeoutMillis,
        memoryKiB,
        args: Values.encodeArgs(args)
      }))
      session.dispatch(Entries.encodeJobs(jobs))
      return jobs.map((job) => job.jobId)
    }
    const replies: Opened["replies"] = (jobIds) =>
      Effect.callback((resume) => {
        const look = (): void => {
          if (!jobIds.every((id) => byId.has(id))) return
          waiting.delete(look)
          resume(Effect.succeed(jobIds.map((id) => byId.get(id)!)))
        }
        waiting.add(look)
        look()
        return Effect.sync(() => waiting.delete(look))
      })
    const run: Opened["run"] = (args, jobOptions) =>
      Effect.suspend(() => Effect.map(replies(submit([args], jobOptions)), ([reply]) => reply!))
    const runEncoded: Opened["runEncoded"] = (args, { flags = 0, timeoutMillis = 0 } = {}) =>
      Effect.suspend(() => {
        const jobId = ++lastId
        session.dispatch(Entries.encodeJobs([{ jobId, attempt: 7, flags, timeoutMillis, args }]))
        return Effect.map(replies([jobId]), ([reply]) => reply!)
      })
    return { ...session, submit, replies, run, runEncoded, arrived, provisional }
  })

/** How a computation was refused. */
export const refusedBecause = (options: OpenOptions): Effect.Effect<string, Opened, JobExecutor | Scope.Scope> =>
  Effect.map(Effect.flip(openFunction("() => 1", options)), (refused) => refused.reason)

/** Opens a function, given as source text. */
export const openFunction = (source: string, options: OpenOptions = {}) =>
  openCode({ _tag: "FunctionCode", source, captures: Values.encode(options.captures ?? {}) }, options)

/** The value that a job returned. */
export const valueOf = (reply: TestReply): unknown => {
  if (reply.outcome !== Entries.Outcome.succeeded && reply.outcome !== Entries.Outcome.provisional) {
    throw new Error(`job ${reply.jobId}: ${explain(reply)}`)
  }
  return reply.result.length === 0 ? undefined : Values.decode(reply.result)
}

/** What a job threw. */
export const errorOf = (reply: TestReply) => Values.decodeError(reply.result)

/** How a job's slot ended. */
export const deathOf = (reply: TestReply): SlotDeath => decodeSlotDeath(reply.result)

const outcomeNames = new Map(Object.entries(Entries.Outcome).map(([name, outcome]) => [outcome, name]))

/** Outcome of a reply by name. */
export const outcomeOf = (reply: TestReply): string => outcomeNames.get(reply.outcome) ?? "unknown"

const explain = (reply: TestReply): string => {
  const { outcome } = reply
  if (outcome === Entries.Outcome.failed || outcome === Entries.Outcome.notCloneable) return errorOf(reply).message
  return outcome === Entries.Outcome.slotDied ? deathOf(reply).reason : outcomeOf(reply)
}
