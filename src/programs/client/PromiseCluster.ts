/**
 * The promise facade: the same clusters for programs that know nothing of Effect.
 * `submit` returns at once, `result()` is a promise, `map` an async iterable.
 */
import { Cause, type Duration, Effect, Exit, Layer, Logger, ManagedRuntime, References, Result, Scope } from "effect"
import { InvalidOption } from "../../domain/ClusterError.ts"
import type { JobError } from "../../domain/JobError.ts"
import type { JobStatus } from "../../domain/scheduler/JobRecord.ts"
import type * as ClusterCore from "./ClusterCore.ts"
import { type ClusterJob, onOutcome } from "./ClusterJob.ts"
import * as ClusterOptions from "./ClusterOptions.ts"
import type { Args, Input, Provisional, Success } from "./Computation.ts"
import * as InputReader from "./InputReader.ts"
import * as JobCluster from "./JobCluster.ts"
import * as MapItems from "./MapItems.ts"
import { MapResults } from "./MapResults.ts"
import * as ProvisionalResults from "./ProvisionalResults.ts"
import * as StatusTable from "./StatusTable.ts"

/** A submitted job. Fields change as the job goes on. */
export class DispyJob<out A, out P = unknown> {
  readonly #job: ClusterJob
  readonly #core: ClusterCore.ClusterCore

  /** @internal Jobs are made by `submit`. */
  constructor(core: ClusterCore.ClusterCore, job: ClusterJob) {
    this.#core = core
    this.#job = job
  }

  /** Yours to set; anything. Errors call the job by it. Default: undefined. */
  get id(): unknown {
    return this.#job.id
  }

  set id(id: unknown) {
    this.#job.id = id
  }

  /** What the job is doing; see `JobStatus`. */
  get status(): JobStatus {
    return this.#job.status
  }

  /** Address of the node that has the job or had it last; undefined before the first. */
  get ipAddr(): string | undefined {
    return this.#job.nodeId === "" ? undefined : this.#core.addressOf(this.#job)
  }

  /** The latest provisional result; undefined before the first. */
  get provisionalResult(): P | undefined {
    return ProvisionalResults.latest(this.#job) as P | undefined
  }

  /**
   * Its provisional results in order (of those before now the last 1,000), until the job has its outcome. Leaving the
   * loop leaves the job alone.
   */
  provisional(): AsyncIterableIterator<P, void, void> {
    return new ProvisionalResults.ProvisionalIterator<P>(this.#job)
  }

  /** What the job printed to stdout; undefined before it has ended. */
  get stdout(): string | undefined {
    return this.#job.outcome?.stdout
  }

  /** What the job printed to stderr; undefined before it has ended. */
  get stderr(): string | undefined {
    return this.#job.outcome?.stderr
  }

  /** What went wrong; undefined when nothing did or the job has not ended. */
  get exception(): JobError | undefined {
    return this.#job.outcome?.error
  }

  /** When the job started, in milliseconds since 1970 by its node's clock; undefined before it has ended. */
  get startTime(): number | undefined {
    return this.#job.outcome?.startTime
  }

  /** When the job ended, in milliseconds since 1970 by its node's clock; undefined before it has ended. */
  get endTime(): number | undefined {
    return this.#job.outcome?.endTime
  }

  /**
   * The result, as soon as it is there. Rejects with a `JobError` when the job has none. A rejection that nobody
   * awaits does not end the program.
   */
  result(): Promise<A> {
    const job = this.#job
    const promise = new Promise<A>((resolve, reject) => {
      onOutcome(job, () => {
        const { error, value } = job.outcome!
        if (error === undefined) resolve(value as A)
        else reject(error)
      })
    })
    promise.catch(() => {})
    return promise
  }

  /** Cancels the job, queued or running; false when it has ended already. */
  cancel(): boolean {
    return this.#core.cancel(this.#job, "cancel was called")
  }
}

/** Options of `createJobCluster`. */
export interface PromiseClusterOptions<A = unknown, P = unknown> extends ClusterOptions.ClusterOptions {
  /**
   * Called for every provisional result (then `job.status` is "ProvisionalResult", and `job.provisionalResult` the
   * result) and for every job that has ended, however it did. What it throws is logged. `wait` and `close` wait for
   * the promise that it returns.
   */
  readonly callback?: ((job: DispyJob<A, P>) => void | Promise<void>) | undefined
  /** Least serious messages that go to stderr. Default "warning". */
  readonly logLevel?: "debug" | "info" | "warning" | "error" | "none" | undefined
}

/** How to map. */
export interface PromiseMapOptions extends MapItems.MapOptions {
  /** Ends the iteration with the signal's reason and cancels what still runs. */
  readonly signal?: AbortSignal | undefined
}

const levels = { debug: "Debug", info: "Info", warning: "Warn", error: "Error", none: "None" } as const

type Runtime = ManagedRuntime.ManagedRuntime<never, never>

/** What the views of one cluster share. */
interface Lifetime {
  readonly scope: Scope.Closeable
  /** There once the cluster is closing; done when it is closed. */
  end: Promise<void> | undefined
}

/** A computation on the nodes of a cluster. Made by `createJobCluster`. */
export class PromiseJobCluster<in Params extends ReadonlyArray<unknown>, out A, out P = unknown>
  implements AsyncDisposable
{
  readonly #core: ClusterCore.ClusterCore
  readonly #runtime: Runtime
  readonly #lifetime: Lifetime
  readonly #options: ClusterOptions.JobOptions
  readonly #submission: ClusterCore.Submission
  readonly #startedAt: number

  /** @internal */
  constructor(
    core: ClusterCore.ClusterCore,
    runtime: Runtime,
    lifetime: Lifetime,
    options: ClusterOptions.JobOptions,
    startedAt: number
  ) {
    this.#core = core
    this.#runtime = runtime
    this.#lifetime = lifetime
    this.#options = options
    this.#submission = Result.getOrThrow(JobCluster.submission(core, options))
    this.#startedAt = startedAt
  }

  /** Name of the cluster: the option, or the computation's. */
  get name(): string {
    return this.#core.name
  }

  /** Jobs that have not ended. */
  get pending(): number {
    return this.#core.pending()
  }

  /**
   * Queues a job and returns it at once. Throws `ClusterClosed`, `InvalidArgument` (with the path of what cannot be
   * sent) or `ArgumentTooLarge`; nothing is queued then.
   */
  submit(...args: Params): DispyJob<A, P> {
    const submitted = this.#core.submit(args, this.#submission)
    if (Result.isFailure(submitted)) throw submitted.failure
    const job = submitted.success
    const view = new DispyJob<A, P>(this.#core, job)
    job.view = view
    return view
  }

  /** Submits a job and waits for its result. */
  async run(...args: Params): Promise<A> {
    return await this.submit(...args).result()
  }

  /**
   * The results for every item, in constant memory: items are taken as slots have room for them, short ones travel in
   * chunks. Ends with the error of the first item that fails; leaving the loop cancels the rest.
   */
  map<I extends Params[0]>(
    inputs: Iterable<I> | AsyncIterable<I>,
    options: PromiseMapOptions = {}
  ): MapResults<A> {
    const { signal, ...mapOptions } = options
    const runtime = this.#runtime
    const scope = runtime.runSync(Scope.fork(this.#lifetime.scope))
    const pull = runtime.runSync(
      JobCluster.fromReader(InputReader.make(inputs)).pipe(
        Effect.flatMap((source) =>
          MapItems.make<I, A, never>(this.#core, this.#submission.timeoutMillis, source, mapOptions)
        ),
        Scope.provide(scope)
      )
    )
    return new MapResults<A>({
      pull: async () => {
        signal?.throwIfAborted()
        const exit = await runtime.runPromiseExit(pull, signal === undefined ? {} : { signal })
        if (Exit.isSuccess(exit)) return exit.value
        signal?.throwIfAborted()
        const error = Cause.squash(exit.cause)
        if (Cause.isDone(error)) return []
        throw error
      },
      // A cluster that was closed meanwhile has closed this scope with its own.
      close: () => this.#lifetime.end ?? runtime.runPromise(Scope.close(scope, Exit.void))
    })
  }

  /** Cancels a job, queued or running; false when it has ended already. */
  cancel(job: DispyJob<unknown>): boolean {
    return job.cancel()
  }

  /** Waits until no job is pending and every callback is done; false when `timeout` ends first. */
  async wait(timeout?: Duration.Input): Promise<boolean> {
    if (this.#lifetime.end !== undefined) return true
    return await this.#runtime.runPromise(JobCluster.wait(this.#core, timeout))
  }

  /** The same cluster with other job options: `cluster.with({ timeout: "2 seconds" }).submit(…)`. */
  with(options: ClusterOptions.JobOptions): PromiseJobCluster<Params, A, P> {
    return new PromiseJobCluster(
      this.#core,
      this.#runtime,
      this.#lifetime,
      { ...this.#options, ...options },
      this.#startedAt
    )
  }

  /** Nodes and pending jobs. */
  status(): StatusTable.ClusterStatus {
    return StatusTable.statusOf(this.#core, performance.now() - this.#startedAt)
  }

  /** The table of nodes that dispy's `print_status` gives, as text. */
  statusTable(): string {
    return StatusTable.format(this.status())
  }

  /** Prints `statusTable()` to stdout. */
  printStatus(): void {
    process.stdout.write(`${this.statusTable()}\n`)
  }

  /**
   * Takes no more jobs, waits for the pending ones and releases the nodes. When `timeout` ends first: with `terminate`
   * the pending jobs are cancelled, else the result is false and the cluster stays open.
   */
  async close(options: JobCluster.CloseOptions = {}): Promise<boolean> {
    const lifetime = this.#lifetime
    if (lifetime.end === undefined) {
      const isDone = await this.#runtime.runPromise(JobCluster.awaitEnd(this.#core, options.timeout))
      if (!isDone && options.terminate !== true) return false
      this.#core.stop()
      lifetime.end ??= this.#runtime.runPromise(Scope.close(lifetime.scope, Exit.void)).then(() =>
        this.#runtime.dispose()
      )
    }
    await lifetime.end
    return true
  }

  /** `close()`: waits for pending jobs, as dispy's `with` block does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** A sentence per line: users of promises have not set up logging, and want to know what is wrong, not when. */
const sentences = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
  const words = (Array.isArray(message) ? message : [message]).map(String).join(" ")
  const why = cause.reasons.length === 0 ? "" : `: ${Cause.pretty(cause)}`
  process.stderr.write(`dispy: ${logLevel === "Warn" ? "" : `${logLevel.toLowerCase()}: `}${words}${why}\n`)
})

const logTo = (level: keyof typeof levels): Layer.Layer<never> =>
  Layer.mergeAll(Logger.layer([sentences]), Layer.succeed(References.MinimumLogLevel, levels[level]))

const callUser = async <A, P>(
  callback: (job: DispyJob<A, P>) => void | Promise<void>,
  job: ClusterJob
): Promise<void> => {
  try {
    await callback(job.view as DispyJob<A, P>)
  } catch (cause) {
    process.stderr.write(
      `dispy: the callback of a cluster threw ${cause instanceof Error ? cause.stack : String(cause)}\n`
    )
  }
}

/**
 * Runs a computation on every core of the nodes.
 *
 * @param computation a function that stands alone, a program (its path), or one of `Computation`'s
 * @param options see `ClusterOptions`; nodes that do not answer are named in a warning and taken when they appear
 * @returns the cluster, when the nodes that answer are ready. Close it (or use `await using`) to release them.
 * @throws InvalidOption, a ComputationError that names what cannot be sent, ComputationRefused when every node refuses
 * @example
 * ```ts
 * import { createJobCluster } from "dispy/promise"
 *
 * await using cluster = await createJobCluster((n: number) => n * n)
 * const job = cluster.submit(12)
 * console.log(await job.result())
 * ```
 */
export const createJobCluster = async <const C extends Input>(
  computation: C,
  options: PromiseClusterOptions<Success<C>, Provisional<C>> = {}
): Promise<PromiseJobCluster<Args<C>, Success<C>, Provisional<C>>> => {
  const { callback, logLevel = "warning", ...rest } = options
  const startedAt = performance.now()
  const checked = Result.getOrThrow(ClusterOptions.check(rest))
  Result.getOrThrow(ClusterOptions.typed("callback", callback, "function"))
  if (!Object.hasOwn(levels, logLevel)) {
    const reason = `${JSON.stringify(logLevel)} is not a level; the levels are ${Object.keys(levels).join(", ")}`
    throw new InvalidOption({ option: "logLevel", reason })
  }
  const runtime = ManagedRuntime.make(logTo(logLevel))
  const scope = runtime.runSync(Scope.make())
  try {
    const told: ClusterCore.JobCallback | undefined = callback === undefined
      ? undefined
      : (job) => job.view === undefined ? undefined : callUser(callback, job)
    const core = await runtime.runPromise(JobCluster.open(computation, checked, told).pipe(Scope.provide(scope)))
    return new PromiseJobCluster<Args<C>, Success<C>, Provisional<C>>(
      core,
      runtime,
      { scope, end: undefined },
      {},
      startedAt
    )
  } catch (error) {
    await runtime.runPromise(Scope.close(scope, Exit.void))
    await runtime.dispose()
    // The error was made inside of dispy; its user wants to see where the cluster was to be made.
    if (error instanceof Error) Error.captureStackTrace(error)
    throw error
  }
}
