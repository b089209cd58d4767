/** The nodes of a test for the promise API. */
import { Clock, type Duration, type Effect, Exit, Layer, ManagedRuntime, Result, Scope } from "effect"
import type { PlannedNode } from "../../domain/testing/TestNodePlan.ts"
import * as ClockSkipping from "../../layers/testing/ClockSkipping.ts"
import * as FaultsMemory from "../../layers/testing/FaultsMemory.ts"
import { ClusterNetwork } from "../../services/ClusterNetwork.ts"
import type { Faults } from "../../services/Faults.ts"
import * as AmbientNetwork from "../client/AmbientNetwork.ts"
import * as ClusterOptions from "../client/ClusterOptions.ts"
import type { Args, Input, Provisional, Success } from "../client/Computation.ts"
import * as KeepAlive from "../client/KeepAlive.ts"
import { createJobCluster, type PromiseClusterOptions, type PromiseJobCluster } from "../client/PromiseCluster.ts"
import * as TestNetwork from "./TestNetwork.ts"

type Service = Faults["Service"]

/** `Faults` with promises: its verbs reject with what they fail with. */
export type PromiseFaults = {
  readonly [Verb in keyof Service]: Service[Verb] extends (...args: infer A) => Effect.Effect<infer B, infer _E>
    ? (...args: A) => Promise<B>
    : Service[Verb] extends Effect.Effect<infer B, infer _E> ? () => Promise<B>
    : never
}

/** Keeps the process alive while a test waits for one of its nodes. */
const keepAlive = KeepAlive.make()

type Runtime = ManagedRuntime.ManagedRuntime<never, never>

const faultsOf = (service: Service, runtime: Runtime): PromiseFaults => {
  const promised =
    <A extends ReadonlyArray<unknown>, B, E>(verb: (...args: A) => Effect.Effect<B, E>) => (...args: A) =>
      KeepAlive.during(keepAlive, runtime.runPromise(verb(...args)))
  return {
    nodes: promised(() => service.nodes),
    start: promised(service.start),
    kill: promised(service.kill),
    restart: promised(service.restart),
    freeze: promised(service.freeze),
    thaw: promised(service.thaw),
    partition: promised(service.partition),
    heal: promised(service.heal),
    drop: promised(service.drop),
    delay: promised(service.delay),
    duplicate: promised(service.duplicate),
    hold: promised(service.hold),
    release: promised(service.release),
    occupy: promised(service.occupy),
    vacate: promised(service.vacate),
    awaitBusy: promised(service.awaitBusy),
    awaitPlaced: promised(service.awaitPlaced),
    awaitRunning: promised(service.awaitRunning)
  }
}

interface Inner {
  readonly runtime: Runtime
  readonly scope: Scope.Closeable
  readonly surroundings: AmbientNetwork.Surroundings
  readonly advance: (millis: number) => Promise<void>
  /** Those that were made, closed or not. */
  readonly clusters: Set<AmbientNetwork.Closable>
}

/** Nodes in memory. Made by `createTestNodes`. */
export class TestNodes implements AsyncDisposable {
  /** What happens to the nodes. */
  readonly faults: PromiseFaults
  readonly #inner: Inner

  /** @internal */
  constructor(faults: PromiseFaults, inner: Inner) {
    this.faults = faults
    this.#inner = inner
  }

  /**
   * `createJobCluster` of "dispy/promise" on these nodes: for code that takes it as a parameter, and for tests. Without a
   * node list the cluster uses all of them; in a list they are called by their names.
   */
  readonly createJobCluster: typeof createJobCluster = (computation, options) =>
    this.run(() => createJobCluster(computation, options))

  /**
   * Runs code that makes its clusters itself: every `createJobCluster` in it, and in all that it sets off, makes them on
   * these nodes. Returns what the code returns.
   */
  run<A>(code: () => A): A {
    return AmbientNetwork.run(this.#inner.surroundings, code)
  }

  /**
   * Puts the clock of the nodes and of their clusters forward, which otherwise goes as the real one does: pulses, retries
   * and timeouts that were due until then happen at once, in order. Resolves when they have happened.
   */
  async advance(time: Duration.Input): Promise<void> {
    const millis = Result.getOrThrow(ClusterOptions.millisOf("time", time))
    await KeepAlive.during(keepAlive, this.#inner.advance(millis))
  }

  /** Ends everything: cancels the jobs of clusters that it made and that are open, closes them, ends the nodes. */
  async close(): Promise<void> {
    const { clusters, runtime, scope } = this.#inner
    // Whoever is asked to end answers.
    const nodes = await this.faults.nodes()
    await Promise.all(nodes.filter(({ state }) => state === "frozen").map(({ name }) => this.faults.thaw(name)))
    await this.faults.heal()
    await Promise.all([...clusters].map((cluster) => cluster.close({ timeout: 0, terminate: true })))
    clusters.clear()
    await KeepAlive.during(keepAlive, runtime.runPromise(Scope.close(scope, Exit.void)))
    await runtime.dispose()
  }

  /** `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

const start = async (planned: ReadonlyArray<PlannedNode>): Promise<TestNodes> => {
  let activity = (): number => 0
  const { advance, clock } = ClockSkipping.make(() => activity())
  const layerClock = Layer.succeed(Clock.Clock, clock)
  const runtime: Runtime = ManagedRuntime.make(layerClock)
  const scope = runtime.runSync(Scope.make())
  const nodes = await runtime.runPromise(FaultsMemory.make(planned).pipe(Scope.provide(scope)))
  activity = nodes.activity
  const clusters = new Set<AmbientNetwork.Closable>()
  const surroundings: AmbientNetwork.Surroundings = {
    layer: Layer.merge(layerClock, Layer.succeed(ClusterNetwork, nodes.network)),
    onCluster: (cluster) => clusters.add(cluster)
  }
  return new TestNodes(faultsOf(nodes.faults, runtime), { runtime, scope, surroundings, advance, clusters })
}

/**
 * Starts nodes in memory, for tests of programs that use "dispy/promise": no sockets, no processes.
 *
 * Jobs run in this process, functions only, one event loop for all of them: a loop that never ends hangs the test, and
 * what a function waits for by itself (a timer, a file) takes its real time.
 *
 * @param options which nodes there are
 * @returns the nodes; close them (or use `await using`) at the end of the test
 * @throws InvalidOption
 * @example
 * ```ts
 * import { createTestNodes } from "dispy/testing"
 *
 * await using test = await createTestNodes({ nodes: ["alpha", "beta"] })
 * const cluster = await test.createJobCluster((n: number) => n * n, { nodes: ["beta"] })
 * console.log(await cluster.run(12))
 * ```
 */
export const createTestNodes = async (options: TestNetwork.TestNodesOptions = {}): Promise<TestNodes> => {
  return await start(Result.getOrThrow(TestNetwork.check(options)))
}

/** Options of `createTestCluster`: those of a cluster, but for `nodes`, which are the nodes that there are. */
export type TestClusterOptions<A = unknown, P = unknown> =
  & Omit<PromiseClusterOptions<A, P>, "nodes">
  & TestNetwork.TestNodesOptions

/** A cluster with the nodes that it has to itself. */
export interface TestCluster<in out Params extends ReadonlyArray<unknown>, out A, out P = unknown>
  extends AsyncDisposable
{
  readonly cluster: PromiseJobCluster<Params, A, P>
  readonly nodes: TestNodes
  readonly faults: PromiseFaults
  /** See `TestNodes.advance`. */
  readonly advance: (time: Duration.Input) => Promise<void>
}

/**
 * A cluster on nodes in memory, in one go.
 *
 * @param computation a function that stands alone
 * @param options those of a cluster; `nodes` says which nodes there are
 * @throws what `createJobCluster` throws
 * @example
 * ```ts
 * import { createTestCluster } from "dispy/testing"
 *
 * await using test = await createTestCluster((n: number) => n * n, { nodes: 3, reentrant: true })
 * const { cluster, faults } = test
 * await faults.hold("node-1")
 * const job = cluster.submit(12)
 * await faults.kill(await faults.awaitRunning(job))
 * console.log(await job.result())
 * ```
 */
export const createTestCluster = async <const C extends Input>(
  computation: C,
  options: TestClusterOptions<Success<C>, Provisional<C>> = {}
): Promise<TestCluster<Args<C>, Success<C>, Provisional<C>>> => {
  const { nodes: wanted, ...rest } = options
  const nodes = await createTestNodes({ nodes: wanted })
  try {
    const cluster = await nodes.createJobCluster(computation, rest)
    return {
      cluster,
      nodes,
      faults: nodes.faults,
      advance: (time) => nodes.advance(time),
      [Symbol.asyncDispose]: () => nodes.close()
    }
  } catch (error) {
    await nodes.close()
    throw error
  }
}
