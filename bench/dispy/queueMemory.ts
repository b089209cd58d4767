/** Memory of the client for jobs that wait, in a process that has done nothing else. */
import { createJobCluster, type DispyJob } from "dispy/promise"
import { type Metrics, pause, type StepOptions } from "../support/Drive.ts"

const used = async (): Promise<number> => {
  for (let i = 0; i < 3; i++) {
    globalThis.gc!()
    await pause(50)
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

/** Bytes per queued job, its handle included, and with someone awaiting its result. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const total = isQuick ? 200_000 : 1_000_000
  const cluster = await createJobCluster((n: number) => n, { nodes: "127.0.0.1:1", logLevel: "none" })
  const jobs: Array<DispyJob<number>> = []
  const before = await used()
  const start = performance.now()
  for (let n = 0; n < total; n++) jobs.push(cluster.submit(n))
  const submitMicros = (performance.now() - start) * 1000 / total
  const queued = (await used()) - before
  const ignore = (): void => {}
  for (const job of jobs) void job.result().then(ignore, ignore)
  const awaited = (await used()) - before
  return { queued: queued / total, awaited: awaited / total, submitMicros }
}
