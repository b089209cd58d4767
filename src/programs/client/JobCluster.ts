/**
 * The Effect-native API: a cluster is a scoped resource, a job's result is an
 * effect, `map` is a stream, interruption kills the work on the node.
 */
import { type Duration, Effect, Exit, Layer, Pull, Result, Scope, Stream } from "effect"
import {
  type ClusterClosed,
  type InvalidOption,
  type NodeNotReady,
  type UnknownNode
} from "../../domain/ClusterError.ts"
import type { ComputationError } from "../../domain/ComputationError.ts"
import type { JobError } from "../../domain/JobError.ts"
import type { CannotStart, ComputationRefused, NodeUnreachable, ShutdownRefused } from "../../domain/NodeError.ts"
import type { Explanation } from "../../domain/scheduler/Explain.ts"
import type { Scheduler } from "../../services/Scheduler.ts"
import { roughSize } from "../../slot/RoughSize.ts"
import * as ClusterCore from "./ClusterCore.ts"
import type { ClusterEvent } from "./ClusterEvents.ts"
import type { ClusterJob } from "./ClusterJob.ts"
import * as ClusterOptions from "./ClusterOptions.ts"
import { type Args, type Input, pack, type Provisional, type Success } from "./Computation.ts"
import * as Dispy from "./Dispy.ts"
import { awaitOutcome, innerOf, type Job, jobOf } from "./EffectJob.ts"
import * as InputReader from "./InputReader.ts"
import * as JobOptions from "./JobOptions.ts"
import * as MapItems from "./MapItems.ts"
import * as MemoryOptions from "./MemoryOptions.ts"
import type { NodeListEntry } from "./NodeAllocate.ts"
import * as NodeMethods from "./NodeMethods.ts"
import type { NodeRef } from "./NodeMethods.ts"
import * as OptionChecks from "./OptionChecks.ts"
import * as StatusTable from "./StatusTable.ts"

export type { Job } from "./EffectJob.ts"

/** A computation on the nodes of a cluster. */
export interface JobCluster<in Params extends ReadonlyArray<unknown>, out A, out P = unknown> {
  readonly name: string
  /** Queues a job; succeeds at once. */
  readonly submit: (...args: Params) => Effect.Effect<Job<A, P>, ClusterCore.SubmitError>
  /** Submits a job and waits for its result; interruption kills the work on the node. */
  readonly run: (...args: Params) => Effect.Effect<A, JobError | ClusterCore.SubmitError>
  /**
   * The results for every item, in constant memory: items are taken as slots have room for them. Short items travel
   * in chunks. The stream fails at the first item that fails; leaving it cancels the rest.
   */
  readonly map: <I extends Params[0], E = never>(
    inputs: Iterable<I> | AsyncIterable<I> | Stream.Stream<I, E>,
    options?: MapItems.MapOptions
  ) => Stream.Stream<A, E | JobError | ClusterCore.SubmitError>
  /** Cancels a job, queued or running; false when it has ended already. */
  readonly cancel: (job: Job<unknown>) => Effect.Effect<boolean>
  /**
   * Queues a new job with the arguments and options of one that ended as `JobPoisoned`; of others the arguments are gone.
   * Each can be submitted again once.
   */
  readonly resubmit: (job: Job<unknown>) => Effect.Effect<Job<A, P>, ClusterCore.ResubmitError>
  /** Waits until no job is pending; false when `timeout` ends first. */
  readonly wait: (timeout?: Duration.Input) => Effect.Effect<boolean>
  /**
   * Takes no more jobs and waits for the pending ones. When `timeout` ends first: with `terminate` they are cancelled,
   * else the result is false and the cluster stays open.
   */
  readonly close: (options?: CloseOptions) => Effect.Effect<boolean>
  /**
   * Sends a file to the working directory that the jobs have on a node, under its last name; succeeds with 0 when it is
   * there, whole. Interruption leaves nothing there.
   */
  readonly sendFile: (
    path: string,
    node: NodeRef,
    options?: NodeMethods.SendFileOptions
  ) => Effect.Effect<0, NodeMethods.SendFileError>
  /** The same cluster with other job options. */
  readonly with: (options: JobOptions.JobOptions) => JobCluster<Params, A, P>
  /** Nodes and pending jobs. */
  readonly status: Effect.Effect<StatusTable.ClusterStatus>
  /** The table of nodes that dispy's `print_status` gives. */
  readonly statusTable: Effect.Effect<string>
  /**
   * What happens to jobs and nodes from now on, in order; begins with `Initialized` for every node that is ready. A
   * reader that is more than 10,000 events behind loses the oldest, and the next event says how many (`dropped`).
   */
  readonly events: Stream.Stream<ClusterEvent<Job<A, P>>>
  /** Why a job is not running, or what became of it. */
  readonly explain: (job: Job<unknown>) => Effect.Effect<Explanation>
  /** `submit` with an `id` for the job. */
  readonly submitJobId: (id: unknown, ...args: Params) => Effect.Effect<Job<A, P>, ClusterCore.SubmitError>
  /** `submit` for one node: the job goes first there, and runs nowhere else; it ends when the node is lost. */
  readonly submitNode: (node: NodeRef, ...args: Params) => Effect.Effect<Job<A, P>, SubmitNodeError>
  /** `submitNode` with an `id` for the job. */
  readonly submitJobIdNode: (
    id: unknown,
    node: NodeRef,
    ...args: Params
  ) => Effect.Effect<Job<A, P>, SubmitNodeError>
  /** Adds entries to the node list, before those that there are; takes back `deallocateNode` and `closeNode`. */
  readonly allocateNode: (
    entries: NodeListEntry | ReadonlyArray<NodeListEntry>
  ) => Effect.Effect<void, InvalidOption | ClusterClosed>
  /** Gives the node no new jobs; what runs there goes on, what is pinned to it waits. */
  readonly deallocateNode: (node: NodeRef) => Effect.Effect<void, NodeMethods.NodeMethodError>
  /** Leaves the node when its jobs are done (or ends them); succeeds when nothing of the cluster is left there. */
  readonly closeNode: (
    node: NodeRef,
    options?: NodeMethods.CloseNodeOptions
  ) => Effect.Effect<void, NodeMethods.NodeMethodError>
  /**
   * `closeNode`, and the node ends when no client has it any more; it takes no new ones. Fails with `ShutdownRefused`
   * where dispynode runs without `--client-shutdown`.
   */
  readonly shutdownNode: (
    node: NodeRef,
    options?: NodeMethods.CloseNodeOptions
  ) => Effect.Effect<void, NodeMethods.NodeMethodError | NodeUnreachable | ShutdownRefused>
  /** Leaves the node and sets it up again, `allocate` included; succeeds when it is ready. */
  readonly resetupNode: (
    node: NodeRef,
    options?: NodeMethods.CloseNodeOptions
  ) => Effect.Effect<void, NodeMethods.NodeMethodError | ComputationRefused>
  /** Changes how many slots of a node the cluster uses (negative: leave that many free); succeeds with their number. */
  readonly setNodeCpus: (
    node: NodeRef,
    cpus: number
  ) => Effect.Effect<number, NodeMethods.NodeMethodError | NodeNotReady | InvalidOption>
  /** The jobs that a node has. */
  readonly nodeJobs: (
    node: NodeRef,
    options?: NodeMethods.NodeJobsOptions
  ) => Effect.Effect<ReadonlyArray<Job<A, P>>, NodeMethods.NodeMethodError | NodeUnreachable>
  /** Looks for nodes: hosts, or patterns. The node list says which of them are used. */
  readonly discoverNodes: (
    nodes: string | ReadonlyArray<string>
  ) => Effect.Effect<void, InvalidOption | ClusterClosed>
  /** `close` of all clusters that share this one's scheduler. */
  readonly shutdown: (options?: CloseOptions) => Effect.Effect<boolean>
}

/** Why a job was not submitted to a node. */
export type SubmitNodeError = ClusterCore.SubmitError | UnknownNode | NodeNotReady

/** How to close a cluster. */
export interface CloseOptions {
  /** Longest wait for pending jobs. Default: as long as it takes. */
  readonly timeout?: Duration.Input | undefined
  /** Cancel jobs that are pending when the timeout ends. Default false. */
  readonly terminate?: boolean | undefined
}

const awaitIdle = (core: ClusterCore.ClusterCore): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const forget = core.whenIdle(() => resume(Effect.void))
    return Effect.sync(forget)
  })

/** Waits until nothing is pending; false when the timeout ends first. */
export const wait = (core: ClusterCore.ClusterCore, timeout: Duration.Input | undefined): Effect.Effect<boolean> =>
  timeout === undefined
    ? Effect.as(awaitIdle(core), true)
    : awaitIdle(core).pipe(
      Effect.as(true),
      Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.succeed(false) })
    )

/** How long to wait for the end of a cluster before saying what for. */
const noticeAfter = "5 seconds"

/** Waits for the end of a cluster's jobs, and says so when it takes long: a program must not just hang. */
export const awaitEnd = (
  core: ClusterCore.ClusterCore,
  timeout: Duration.Input | undefined
): Effect.Effect<boolean> =>
  Effect.raceFirst(
    wait(core, timeout),
    Effect.suspend(() =>
      Effect.logWarning(
        `cluster ${core.name} waits for ${core.pending()} pending jobs before it closes; ` +
          "close({ timeout, terminate: true }) would cancel them"
      )
    ).pipe(Effect.delay(noticeAfter), Effect.andThen(Effect.never))
  )

/** Closes a cluster whose resources `release` frees; see `JobCluster.close`. */
export const close = (
  core: ClusterCore.ClusterCore,
  options: CloseOptions,
  release: Effect.Effect<void>
): Effect.Effect<boolean> =>
  Effect.gen(function*() {
    const isDone = yield* awaitEnd(core, options.timeout)
    if (!isDone && options.terminate !== true) return false
    core.stop()
    yield* release
    return true
  })

const sourceOf = <I, E>(
  inputs: Iterable<I> | AsyncIterable<I> | Stream.Stream<I, E>
): Effect.Effect<MapItems.Source<I, E>, never, Scope.Scope> =>
  Stream.isStream(inputs) ? fromStream(inputs) : fromReader(InputReader.make(inputs))

/** Items of a plain iterable; what it throws is a defect. */
export const fromReader = <I>(
  reader: InputReader.InputReader<I>
): Effect.Effect<MapItems.Source<I, never>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.succeed({
      take: (limit: number, bytes: number) =>
        Effect.suspend(() => {
          const items = reader.take(limit, bytes)
          return Array.isArray(items) ? Effect.succeed(items) : Effect.promise(() => items)
        })
    }),
    () => Effect.promise(reader.close)
  )

const fromStream = Effect.fnUntraced(function*<I, E>(
  stream: Stream.Stream<I, E>
): Effect.fn.Return<MapItems.Source<I, E>, never, Scope.Scope> {
  const pull = yield* Stream.toPull(stream)
  let rest: ReadonlyArray<I> = []
  const take = (limit: number, bytes: number): Effect.Effect<ReadonlyArray<I>, E> =>
    Effect.suspend(() => {
      if (rest.length > 0) {
        let size = 0
        const end = rest.findIndex((item, i) => i >= limit || (size += roughSize(item)) > bytes && i > 0)
        const items = end < 0 ? rest : rest.slice(0, end)
        rest = end < 0 ? [] : rest.slice(end)
        return Effect.succeed(items)
      }
      return pull.pipe(
        Effect.flatMap((items) => {
          rest = items
          return take(limit, bytes)
        }),
        Pull.catchDone(() => Effect.succeed([]))
      )
    })
  return { take }
})

/** How jobs with these options are to run. */
export const submission = (
  core: ClusterCore.ClusterCore,
  options: JobOptions.JobOptions
): Result.Result<ClusterCore.Submission, ClusterCore.SubmitError> =>
  Result.gen(function*() {
    const entries = yield* OptionChecks.listed("depends", options.depends)
    return {
      flags: 0,
      timeoutMillis: yield* JobOptions.timeoutOf(options.timeout, core.timeoutMillis),
      memoryKiB: yield* MemoryOptions.ofJob(options.memory, core),
      terms: yield* JobOptions.termsOf(options, core.terms),
      id: options.id,
      signal: options.signal,
      depends: entries.length === 0 ? undefined : yield* core.packDepends(entries)
    }
  })

/** The clusters of each scheduler that are not closed, with what frees them. */
const families = new WeakMap<object, Map<ClusterCore.ClusterCore, Effect.Effect<void>>>()

const familyOf = (core: ClusterCore.ClusterCore): Map<ClusterCore.ClusterCore, Effect.Effect<void>> => {
  const known = families.get(core.scheduler)
  if (known !== undefined) return known
  const family = new Map<ClusterCore.ClusterCore, Effect.Effect<void>>()
  families.set(core.scheduler, family)
  return family
}

/** Closes all clusters that share a scheduler, side by side. */
const shutdown = (core: ClusterCore.ClusterCore, options: CloseOptions): Effect.Effect<boolean> =>
  Effect.suspend(() =>
    Effect.forEach(
      [...familyOf(core)],
      ([one, release]) => one.isStopped() ? Effect.succeed(true) : close(one, options, release),
      { concurrency: "unbounded" }
    )
  ).pipe(Effect.map((closed) => closed.every(Boolean)))

/** Jobs as this API shows them. */
const listeners: ClusterCore.Listeners = { viewOf: (core, job) => jobOf(core, job) }

const fromCore = <Params extends ReadonlyArray<unknown>, A, P>(
  core: ClusterCore.ClusterCore,
  release: Effect.Effect<void>,
  options: JobOptions.JobOptions
): JobCluster<Params, A, P> => {
  const startedAt = performance.now()
  const checked = submission(core, options)
  const send = (args: Params): Effect.Effect<ClusterJob, ClusterCore.SubmitError> =>
    Effect.suspend(() => Effect.fromResult(Result.flatMap(checked, (how) => core.submit(args, how))))
  const view = (job: ClusterJob): Job<A, P> => (job.view ??= jobOf<A, P>(core, job)) as Job<A, P>
  const sendTo = (node: NodeRef, args: Params, id: unknown): Effect.Effect<Job<A, P>, SubmitNodeError> =>
    Effect.suspend(() =>
      Effect.fromResult(
        Result.flatMap(checked, (how): Result.Result<ClusterJob, SubmitNodeError> =>
          NodeMethods.submitNode(core, node, args, { ...how, id }))
      )
    ).pipe(Effect.map(view))
  familyOf(core).set(core, release)
  const status = Effect.sync(() => StatusTable.statusOf(core, performance.now() - startedAt))
  return {
    name: core.name,
    submit: (...args) => Effect.map(send(args), view),
    run: (...args) =>
      Effect.flatMap(
        send(args),
        (job) =>
          Effect.onInterrupt(awaitOutcome<A>(job), () =>
            Effect.sync(() => core.cancel(job, "the fiber that waited for it was interrupted")))
      ),
    map: (inputs, mapOptions = {}) =>
      Stream.fromPull(
        Effect.gen(function*() {
          const how = yield* Effect.fromResult(checked)
          return yield* MapItems.make<unknown, A, never>(
            core,
            how,
            (yield* sourceOf(inputs)) as MapItems.Source<unknown, never>,
            mapOptions
          )
        })
      ).pipe(Stream.scoped),
    cancel: (job) =>
      Effect.sync(() => {
        const known = innerOf(job)
        return known !== undefined && core.cancel(known, "cancel was called")
      }),
    resubmit: (job) =>
      Effect.suspend(() => {
        const known = innerOf(job)
        return known === undefined
          ? Effect.die(new TypeError("resubmit takes a job of this cluster"))
          : Effect.map(Effect.fromResult(core.resubmit(known)), view)
      }),
    wait: (timeout) => wait(core, timeout),
    close: (closeOptions = {}) => close(core, closeOptions, release),
    sendFile: (path, node, sendOptions) => NodeMethods.sendFile(core, path, node, sendOptions),
    with: (more) => fromCore<Params, A, P>(core, release, { ...options, ...more }),
    status,
    statusTable: Effect.map(status, StatusTable.format),
    events: Stream.suspend(() => Stream.fromAsyncIterable(core.read<Job<A, P>>(), (cause) => cause).pipe(Stream.orDie)),
    explain: (job) =>
      Effect.suspend(() => {
        const known = innerOf(job)
        return known === undefined
          ? Effect.die(new TypeError("explain takes a job of this cluster"))
          : Effect.succeed(NodeMethods.explain(core, known))
      }),
    submitJobId: (id, ...args) =>
      Effect.suspend(() => Effect.fromResult(Result.flatMap(checked, (how) => core.submit(args, { ...how, id })))).pipe(
        Effect.map(view)
      ),
    submitNode: (node, ...args) => sendTo(node, args, options.id),
    submitJobIdNode: (id, node, ...args) => sendTo(node, args, id),
    allocateNode: (entries) => NodeMethods.allocate(core, entries),
    deallocateNode: (node) => NodeMethods.deallocate(core, node),
    closeNode: (node, how) => NodeMethods.closeNode(core, node, how),
    shutdownNode: (node, how) => NodeMethods.shutdownNode(core, node, how),
    resetupNode: (node, how) => NodeMethods.resetup(core, node, how),
    setNodeCpus: (node, cpus) => NodeMethods.setCpus(core, node, cpus),
    nodeJobs: (node, how) => Effect.map(NodeMethods.jobs(core, node, how), (jobs) => jobs.map(view)),
    discoverNodes: (nodes) => NodeMethods.discover(core, nodes),
    shutdown: (how = {}) => shutdown(core, how)
  }
}

/**
 * Runs a computation on the scheduler in the context; the cluster ends with the
 * scope. Fails when the computation cannot be sent, or every node refuses it.
 */
export const makeWith = Effect.fnUntraced(function*<const C extends Input>(
  computation: C,
  options: ClusterOptions.ClusterOptions = {}
): Effect.fn.Return<JobCluster<Args<C>, Success<C>, Provisional<C>>, MakeError, Scheduler | Scope.Scope> {
  const checked = yield* Effect.fromResult(ClusterOptions.check(options))
  const packed = yield* pack(computation, checked.around, checked.maxFileBytes)
  yield* Effect.fromResult(ClusterOptions.checkFor(checked, packed.code))
  const scope = yield* Scope.fork(yield* Effect.scope)
  const core = yield* ClusterCore.make(packed, checked, listeners).pipe(Scope.provide(scope))
  return fromCore(core, Scope.close(scope, Exit.void), {})
})

/** Makes the computation ready to travel, then looks for the nodes; what both APIs begin with. */
export const open = Effect.fnUntraced(function*(
  computation: Input,
  options: ClusterOptions.CheckedOptions,
  told: ClusterCore.Listeners
): Effect.fn.Return<ClusterCore.ClusterCore, MakeError, Scope.Scope> {
  const packed = yield* pack(computation, options.around, options.maxFileBytes)
  yield* Effect.fromResult(ClusterOptions.checkFor(options, packed.code))
  const context = yield* Layer.build(Dispy.layerChecked(options, told.isBackground))
  return yield* ClusterCore.make(packed, options, told).pipe(Effect.provideContext(context))
})

/**
 * Runs a computation on the nodes that the options name; leaving the scope
 * cancels what still runs and releases the nodes.
 *
 * @param computation a function that stands alone, a program (its path), or one of `Computation`'s
 * @param options see `ClusterOptions`; nodes that do not answer are named in a warning and taken when they appear
 * @example
 * ```ts
 * import { JobCluster } from "dispy"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const cluster = yield* JobCluster.make((n: number) => n * n, { nodes: ["local"] })
 *   return yield* cluster.run(12)
 * }).pipe(Effect.scoped)
 * ```
 */
export const make = Effect.fnUntraced(function*<const C extends Input>(
  computation: C,
  options: ClusterOptions.ClusterOptions = {}
): Effect.fn.Return<JobCluster<Args<C>, Success<C>, Provisional<C>>, MakeError, Scope.Scope> {
  const checked = yield* Effect.fromResult(ClusterOptions.check(options))
  const scope = yield* Scope.fork(yield* Effect.scope)
  const core = yield* open(computation, checked, listeners).pipe(Scope.provide(scope))
  return fromCore(core, Scope.close(scope, Exit.void), {})
})

/** Why a cluster was not made. */
export type MakeError = InvalidOption | ComputationError | ComputationRefused | CannotStart
