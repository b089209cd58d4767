/** Provisional results: one job that sends as fast as it can, and a client that listens. */
import { createJobCluster } from "dispy/promise"
import * as Daemon from "../support/Daemon.ts"
import type { Metrics, StepOptions } from "../support/Drive.ts"
import { median } from "../support/Statistics.ts"

/** Results per second, from the submission of the job to its outcome. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(1)
  const count = isQuick ? 50_000 : 200_000
  let called = 0
  await using cluster = await createJobCluster(function*(total: number) {
    for (let i = 0; i < total; i++) yield i
  }, { nodes: daemon.address, callback: () => void called++ })
  const run = async (total: number, isIterated: boolean): Promise<number> => {
    called = 0
    const start = performance.now()
    const job = cluster.submit(total)
    let next = 0
    if (isIterated) {
      for await (const value of job.provisional()) if (value !== next++) throw new Error(`${value} is out of order`)
    }
    await job.result()
    if (called !== total + 1) throw new Error(`${called} calls for ${total} results`)
    return total / ((performance.now() - start) / 1000)
  }
  await run(count / 5, true)
  return {
    callback: median([await run(count, false), await run(count, false)]),
    iterated: median([await run(count, true), await run(count, true)])
  }
}
