/** One job at a time on an idle cluster. */
import { createJobCluster } from "dispy/promise"
import * as Daemon from "../support/Daemon.ts"
import { latencies, type Metrics, type StepOptions } from "../support/Drive.ts"
import { quantile } from "../support/Statistics.ts"

/** Milliseconds from `submit` to the result: back to back, and 5 ms after the one before. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(2)
  await using cluster = await createJobCluster((n: number) => n, { nodes: daemon.address })
  const call = (): Promise<number> => cluster.submit(1).result()
  await latencies(call, 1000, 0)
  const busy = await latencies(call, isQuick ? 2000 : 5000, 0)
  const paused = await latencies(call, isQuick ? 100 : 200, 5)
  return {
    p50: quantile(busy, 0.5),
    p99: quantile(busy, 0.99),
    pausedP50: quantile(paused, 0.5)
  }
}
