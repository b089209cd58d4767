/** `map` over numbers: short items travel in chunks. Both APIs. */
import { JobCluster } from "dispy"
import { createJobCluster } from "dispy/promise"
import { Effect, Stream } from "effect"
import * as Daemon from "../support/Daemon.ts"
import { assertSum, type Metrics, type StepOptions } from "../support/Drive.ts"
import { median } from "../support/Statistics.ts"

const numbers = (total: number): Array<number> => Array.from({ length: total }, (_, n) => n)

const secondsSince = (start: number): number => (performance.now() - start) / 1000

const viaPromises = async (address: string, total: number): Promise<number> => {
  await using cluster = await createJobCluster((n: number) => n, { nodes: address })
  const run = async (count: number): Promise<number> => {
    const inputs = numbers(count)
    let sum = 0
    const start = performance.now()
    for await (const result of cluster.map(inputs)) sum += result
    assertSum(sum, count)
    return count / secondsSince(start)
  }
  await run(total / 5)
  return median([await run(total), await run(total)])
}

const viaStream = (address: string, total: number): Promise<number> =>
  Effect.runPromise(
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make((n: number) => n, { nodes: address })
      const run = Effect.fnUntraced(function*(count: number) {
        const inputs = numbers(count)
        let sum = 0
        const start = performance.now()
        yield* Stream.runForEachArray(cluster.map(inputs), (results) =>
          Effect.sync(() => {
            for (const result of results) sum += result
          }))
        assertSum(sum, count)
        return count / secondsSince(start)
      })
      yield* run(total / 5)
      return yield* run(total)
    }).pipe(Effect.scoped)
  )

/** Items per second. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(2)
  const total = isQuick ? 500_000 : 1_000_000
  return { promise: await viaPromises(daemon.address, total), stream: await viaStream(daemon.address, total) }
}
