/** The nodes of a test for the Effect API. */
import { Effect, Layer, Result } from "effect"
import { InvalidOption } from "../../domain/ClusterError.ts"
import { plan, type PlannedNode, type TestNodesInput } from "../../domain/testing/TestNodePlan.ts"
import * as FaultsMemory from "../../layers/testing/FaultsMemory.ts"
import type { Faults } from "../../services/Faults.ts"

/** The nodes of a test. */
export interface TestNodesOptions {
  /** So many ("node-1", "node-2" …, of two cpus each), or names, or objects `{ name, cpus }`. Default 2. */
  readonly nodes?: TestNodesInput | undefined
}

/** Reads the options. */
export const check = (options: TestNodesOptions): Result.Result<ReadonlyArray<PlannedNode>, InvalidOption> => {
  const unknown = Object.keys(options).find((key) => key !== "nodes")
  return unknown === undefined
    ? plan(options.nodes)
    : Result.fail(new InvalidOption({ option: unknown, reason: "there is no such option; there is nodes" }))
}

/**
 * Nodes in memory: every cluster that is made in its context is made on them, by `JobCluster.make` too, and `Faults` is
 * what happens to them. A cluster without a node list uses all of them; in a list they are called by their names. They
 * have the clock of the context: under `TestClock` nothing takes time that the test does not let pass.
 *
 * Jobs run in this process, functions only, one event loop for all of them: a loop that never ends hangs the test, and
 * what a function waits for by itself (a timer, a file) takes its real time.
 *
 * @param options which nodes there are
 * @example
 * ```ts
 * import { JobCluster } from "dispy"
 * import { Faults, layer } from "dispy/testing"
 * import { Effect } from "effect"
 *
 * const test = Effect.gen(function*() {
 *   const faults = yield* Faults
 *   const cluster = yield* JobCluster.make((n: number) => n * n, { reentrant: true })
 *   yield* faults.hold("node-1")
 *   const job = yield* cluster.submit(12)
 *   yield* faults.kill(yield* faults.awaitRunning(job))
 *   return yield* job.result
 * }).pipe(Effect.scoped, Effect.provide(layer({ nodes: 3 })))
 * ```
 */
export const layer = (options: TestNodesOptions = {}): Layer.Layer<Faults, InvalidOption> =>
  Layer.unwrap(Effect.map(Effect.fromResult(check(options)), FaultsMemory.layer))
