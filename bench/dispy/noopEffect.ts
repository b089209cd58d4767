/** The same as `noop.ts` through the Effect API. */
import { JobCluster } from "dispy"
import { Effect } from "effect"
import * as Daemon from "../support/Daemon.ts"
import { assertSum, type Metrics, type StepOptions } from "../support/Drive.ts"

const rate = (cluster: JobCluster.JobCluster<[n: number], number>, total: number, window: number) =>
  Effect.gen(function*() {
    let sum = 0
    const start = performance.now()
    const call = (n: number) =>
      cluster.submit(n).pipe(
        Effect.flatMap((job) => job.result),
        Effect.map((result) => {
          sum += result
        })
      )
    yield* Effect.forEach(Array.from({ length: total }, (_, n) => n), call, { concurrency: window, discard: true })
    assertSum(sum, total)
    return total / ((performance.now() - start) / 1000)
  })

/** Jobs per second. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(2)
  const total = isQuick ? 20_000 : 40_000
  return await Effect.runPromise(
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make((n: number) => n, { nodes: daemon.address })
      yield* rate(cluster, total / 2, 1000)
      return { window1000: yield* rate(cluster, total, 1000), unbounded: yield* rate(cluster, total, total) }
    }).pipe(Effect.scoped)
  )
}
