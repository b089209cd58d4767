/**
 * The promise facade: the same clusters for programs that know nothing of Effect.
 * `submit` returns at once, `result()` is a promise, `map` an async iterable.
 */
import { Cause, type Duration, Effect, Exit, Layer, ManagedRuntime, Result, Scope } from "effect"
import type { DispyNode } from "../../domain/DispyNode.ts"
import type { JobError } from "../../domain/JobError.ts"
import type { Explanation } from "../../domain/scheduler/Explain.ts"
import type { JobStatus } from "../../domain/scheduler/JobRecord.ts"
import * as AmbientNetwork from "./AmbientNetwork.ts"
import type * as ClusterCore from "./ClusterCore.ts"
import type { ClusterEvent } from "./ClusterEvents.ts"
import { type ClusterJob, onOutcome } from "./ClusterJob.ts"
import * as ClusterOptions from "./ClusterOptions.ts"
import type { Args, Input, Provisional, Success } from "./Computation.ts"
import * as EndSignals from "./EndSignals.ts"
import * as InputReader from "./InputReader.ts"
import * as JobCluster from "./JobCluster.ts"
import * as KeepAlive from "./KeepAlive.ts"
import * as MapItems from "./MapItems.ts"
import { MapResults } from "./MapResults.ts"
import type { NodeListEntry } from "./NodeAllocate.ts"
import * as NodeMethods from "./NodeMethods.ts"
import type { NodeRef } from "./NodeMethods.ts"
import * as ProvisionalResults from "./ProvisionalResults.ts"
import * as SentenceLog from "./SentenceLog.ts"
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

  /** Number within the cluster, from 1: what `recoverJobs` calls the job. */
  get number(): number {
    return this.#job.number
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

  /** When the job was submitted, in milliseconds since 1970 by this machine's clock. */
  get submitTime(): number {
    return this.#job.submitTime
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

  /** Why the job is not running, or what became of it. */
  explain(): Explanation {
    return NodeMethods.explain(this.#core, this.#job)
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
  /**
   * Called for every status of a job and of a node, in order: for a node with `Initialized`, `Closed`, `AvailInfo`
   * and no job; for a job with its status, and no node while no node has it. What it throws is logged. `wait` and
   * `close` wait for the promise that it returns. Events of the time before the cluster is returned come after that.
   */
  readonly clusterStatus?:
    | ((
      status: ClusterEvent["status"],
      node: DispyNode | undefined,
      job: DispyJob<A, P> | undefined
    ) => void | Promise<void>)
    | undefined
  /** Least serious messages that go to stderr. Default "warning". */
  readonly logLevel?: SentenceLog.LogLevel | undefined
}

/** How to map. */
export interface PromiseMapOptions extends MapItems.MapOptions {
  /** Ends the iteration with the signal's reason and cancels what still runs. */
  readonly signal?: AbortSignal | undefined
}

/** How to send a file. */
export interface PromiseSendFileOptions extends NodeMethods.SendFileOptions {
  /** Gives the transfer up with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

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
    return this.#viewOf(this.#core.submit(args, this.#submission))
  }

  /** Runs something that somebody waits for. */
  #run<B, E>(effect: Effect.Effect<B, E>): Promise<B> {
    return KeepAlive.during(keepAlive, this.#runtime.runPromise(effect))
  }

  #viewOf(submitted: Result.Result<ClusterJob, Error>): DispyJob<A, P> {
    if (Result.isFailure(submitted)) throw submitted.failure
    return this.#view(submitted.success)
  }

  /** A job that somebody was told of at once has its view already. */
  #view(job: ClusterJob): DispyJob<A, P> {
    return (job.view ??= new DispyJob<A, P>(this.#core, job)) as DispyJob<A, P>
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
        Effect.flatMap((source) => MapItems.make<I, A, never>(this.#core, this.#submission, source, mapOptions)),
        Scope.provide(scope)
      )
    )
    return new MapResults<A>({
      pull: async () => {
        signal?.throwIfAborted()
        const exit = await KeepAlive.during(
          keepAlive,
          runtime.runPromiseExit(pull, signal === undefined ? {} : { signal })
        )
        if (Exit.isSuccess(exit)) return exit.value
        signal?.throwIfAborted()
        const error = Cause.squash(exit.cause)
        if (Cause.isDone(error)) return []
        throw error
      },
      // A cluster that was closed meanwhile has closed this scope with its own.
      close: () => this.#lifetime.end ?? this.#run(Scope.close(scope, Exit.void))
    })
  }

  /** Cancels a job, queued or running; false when it has ended already. */
  cancel(job: DispyJob<unknown>): boolean {
    return job.cancel()
  }

  /** `submit` with an `id` for the job. */
  submitJobId(id: unknown, ...args: Params): DispyJob<A, P> {
    return this.#viewOf(this.#core.submit(args, { ...this.#submission, id }))
  }

  /**
   * `submit` for one node: the job goes first there, and runs nowhere else; it ends as `Abandoned` when the node is
   * lost. Throws `UnknownNode` or `NodeNotReady` beside what `submit` throws.
   */
  submitNode(node: NodeRef, ...args: Params): DispyJob<A, P> {
    return this.#viewOf(NodeMethods.submitNode(this.#core, node, args, this.#submission))
  }

  /** `submitNode` with an `id` for the job. */
  submitJobIdNode(id: unknown, node: NodeRef, ...args: Params): DispyJob<A, P> {
    return this.#viewOf(NodeMethods.submitNode(this.#core, node, args, { ...this.#submission, id }))
  }

  /** Adds entries to the node list, before those that there are; takes back `deallocateNode` and `closeNode`. */
  async allocateNode(entries: NodeListEntry | ReadonlyArray<NodeListEntry>): Promise<void> {
    await this.#run(NodeMethods.allocate(this.#core, entries))
  }

  /** Gives the node no new jobs; what runs there goes on, what is pinned to it waits. Rejects with `UnknownNode`. */
  async deallocateNode(node: NodeRef): Promise<void> {
    await this.#run(NodeMethods.deallocate(this.#core, node))
  }

  /**
   * Leaves the node when its jobs are done, or with `terminatePending` ends them; resolves when nothing of the cluster
   * is left there. Jobs that had not started run elsewhere, those pinned to the node end as `Cancelled`.
   */
  async closeNode(node: NodeRef, options?: NodeMethods.CloseNodeOptions): Promise<void> {
    await this.#run(NodeMethods.closeNode(this.#core, node, options))
  }

  /**
   * `closeNode`, and the node ends when no client has it any more; it takes no new ones. Rejects with
   * `ShutdownRefused` where dispynode runs without `--client-shutdown`.
   */
  async shutdownNode(node: NodeRef, options?: NodeMethods.CloseNodeOptions): Promise<void> {
    await this.#runtime.runPromise(NodeMethods.shutdownNode(this.#core, node, options))
  }

  /**
   * Leaves the node and sets it up again: asks `allocate`, sends what the computation takes along, runs its `setup`;
   * resolves when the node is ready. Rejects with `ComputationRefused` when it is not any more.
   */
  async resetupNode(node: NodeRef, options?: NodeMethods.CloseNodeOptions): Promise<void> {
    await this.#run(NodeMethods.resetup(this.#core, node, options))
  }

  /**
   * Changes how many slots of a node the cluster uses: so many at most, or all but so many when it is negative (no
   * change if it has fewer); 0 uses it for nothing new. Resolves to the number of slots used.
   */
  async setNodeCpus(node: NodeRef, cpus: number): Promise<number> {
    return await this.#run(NodeMethods.setCpus(this.#core, node, cpus))
  }

  /** The jobs that a node has, by the client's books, or with `fromNode` those that run there by the node's own word. */
  async nodeJobs(node: NodeRef, options?: NodeMethods.NodeJobsOptions): Promise<ReadonlyArray<DispyJob<A, P>>> {
    const jobs = await this.#run(NodeMethods.jobs(this.#core, node, options))
    return jobs.map((job) => this.#view(job))
  }

  /** Looks for nodes: hosts, or patterns. The node list says which of them are used. */
  async discoverNodes(nodes: string | ReadonlyArray<string>): Promise<void> {
    await this.#run(NodeMethods.discover(this.#core, nodes))
  }

  /** Why a job is not running, or what became of it. */
  explain(job: DispyJob<unknown>): Explanation {
    return job.explain()
  }

  /**
   * What happens to jobs and nodes from now on, in order; begins with `Initialized` for every node that is ready. A
   * reader that is more than 10,000 events behind loses the oldest, and the next event says how many (`dropped`).
   */
  events(): AsyncIterableIterator<ClusterEvent<DispyJob<A, P>>, void, void> {
    return this.#core.read<DispyJob<A, P>>(keepAlive.hold)
  }

  /** Waits until no job is pending and every callback is done; false when `timeout` ends first. */
  async wait(timeout?: Duration.Input): Promise<boolean> {
    if (this.#lifetime.end !== undefined) return true
    return await this.#run(JobCluster.wait(this.#core, timeout))
  }

  /**
   * Sends a file to the working directory that the jobs have on a node, under its last name; resolves to 0 when it is
   * there, whole. Rejects with `FileTooLarge`, `TransferFailed`, `UnknownNode` or `NodeNotReady`; nothing is left there then.
   */
  async sendFile(path: string, node: NodeRef, options: PromiseSendFileOptions = {}): Promise<0> {
    const { signal, ...rest } = options
    signal?.throwIfAborted()
    try {
      const sending = this.#runtime.runPromise(
        NodeMethods.sendFile(this.#core, path, node, rest),
        signal === undefined ? {} : { signal }
      )
      return await KeepAlive.during(keepAlive, sending)
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    }
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
      const isDone = await this.#run(JobCluster.awaitEnd(this.#core, options.timeout))
      if (!isDone && options.terminate !== true) return false
      this.#core.stop()
      lifetime.end ??= this.#run(Scope.close(lifetime.scope, Exit.void)).then(() =>
        KeepAlive.during(keepAlive, this.#runtime.dispose())
      )
    }
    await lifetime.end
    for (const cluster of openClusters) if (cluster.#lifetime === lifetime) openClusters.delete(cluster)
    if (openClusters.size === 0) endSignals.unwatch()
    return true
  }

  /** `close()` of every cluster of this process; false when one of them is still open. */
  async shutdown(options: JobCluster.CloseOptions = {}): Promise<boolean> {
    const closed = await Promise.all([...openClusters].map((cluster) => cluster.close(options)))
    return closed.every(Boolean)
  }

  /** `close()`: waits for pending jobs, as dispy's `with` block does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** Calls a function of the user's; what it throws is told, for nobody else would. */
const callUser = async (name: string, call: () => void | Promise<void>): Promise<void> => {
  try {
    await call()
  } catch (cause) {
    process.stderr.write(
      `dispy: the ${name} of a cluster threw ${cause instanceof Error ? cause.stack : String(cause)}\n`
    )
  }
}

/** Clusters that are not closed, for `shutdown` and for the end of the program. */
const openClusters = new Set<PromiseJobCluster<never, unknown>>()

const keepAlive = KeepAlive.make()

/** Nobody waits for anything any more: the program has forgotten its clusters, or is done with them. */
const closeForgotten = (): void => {
  for (const cluster of openClusters) void cluster.close()
}

/** Ends the jobs of a program that is asked to end. */
const endSignals = EndSignals.make(() =>
  Promise.all([...openClusters].map((cluster) => cluster.close({ timeout: 0, terminate: true })))
)

let isWatching = false

const watchForEnd = (): void => {
  if (isWatching) return
  isWatching = true
  process.on("beforeExit", closeForgotten)
}

/** Keeps the process alive while jobs of a cluster are pending. */
const busyness = (): (isBusy: boolean) => void => {
  let release = (): void => {}
  return (isBusy) => {
    if (isBusy) release = keepAlive.hold()
    else release()
  }
}

type StatusCallback = NonNullable<ClusterCore.Listeners["clusterStatus"]>

/** Keeps what happens until the cluster is in its user's hands, so that the callback can use it. */
const heldBack = (callback: StatusCallback): { readonly callback: StatusCallback; readonly start: () => void } => {
  const held: Array<() => void> = []
  let isStarted = false
  return {
    callback: (status, node, job) => {
      if (isStarted) return callback(status, node, job)
      const { promise, resolve } = Promise.withResolvers<void>()
      held.push(() => resolve(callback(status, node, job)))
      return promise
    },
    start: () => {
      setImmediate(() => {
        // What a callback does may come to pass at once, and comes after what is held.
        for (let next = held.shift(); next !== undefined; next = held.shift()) next()
        isStarted = true
      })
    }
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
  const { callback, clusterStatus, logLevel = "warning", ...rest } = options
  const startedAt = performance.now()
  const checked = Result.getOrThrow(ClusterOptions.check(rest))
  Result.getOrThrow(ClusterOptions.typed("callback", callback, "function"))
  Result.getOrThrow(ClusterOptions.typed("clusterStatus", clusterStatus, "function"))
  Result.getOrThrow(SentenceLog.check(logLevel))
  const ambient = AmbientNetwork.current()
  const runtime = ManagedRuntime.make(
    Layer.merge(SentenceLog.layer(logLevel), ambient === undefined ? KeepAlive.layerClock : ambient.layer)
  )
  const scope = runtime.runSync(Scope.make())
  const release = keepAlive.hold()
  try {
    type View = DispyJob<Success<C>, Provisional<C>>
    const told: ClusterCore.JobCallback | undefined = callback === undefined
      ? undefined
      : (job) => job.view === null ? undefined : callUser("callback", () => callback(job.view as View))
    const status = clusterStatus === undefined ?
      undefined :
      heldBack((what, node, job) => callUser("clusterStatus", () => clusterStatus(what, node, job as View | undefined)))
    const listeners: ClusterCore.Listeners = {
      callback: told,
      clusterStatus: status?.callback,
      viewOf: (core, job) => new DispyJob(core, job),
      onBusy: busyness(),
      isBackground: true
    }
    const core = await runtime.runPromise(JobCluster.open(computation, checked, listeners).pipe(Scope.provide(scope)))
    const cluster = new PromiseJobCluster<Args<C>, Success<C>, Provisional<C>>(
      core,
      runtime,
      { scope, end: undefined },
      {},
      startedAt
    )
    watchForEnd()
    endSignals.watch()
    openClusters.add(cluster)
    ambient?.onCluster(cluster)
    status?.start()
    return cluster
  } catch (error) {
    await runtime.runPromise(Scope.close(scope, Exit.void))
    await runtime.dispose()
    // The error was made inside of dispy; its user wants to see where the cluster was to be made.
    if (error instanceof Error) Error.captureStackTrace(error)
    throw error
  } finally {
    release()
  }
}
