/** Cancelling a job that never ends. */
import { createJobCluster } from "dispy/promise"
import * as Daemon from "../support/Daemon.ts"
import { type Metrics, pause, type StepOptions } from "../support/Drive.ts"
import { median } from "../support/Statistics.ts"

const forever = (): void => {
  for (;;);
}

/** Milliseconds from `cancel` of a running endless loop to its outcome. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(1)
  await using cluster = await createJobCluster(forever, { nodes: daemon.address })
  const millis: Array<number> = []
  for (let i = 0; i < (isQuick ? 2 : 4); i++) {
    const job = cluster.submit()
    const outcome = job.result().then(() => "returned", () => job.status)
    // Long enough for the job to have started; there is no other sign of it than its effect.
    await pause(400)
    const start = performance.now()
    job.cancel()
    const status = await outcome
    millis.push(performance.now() - start)
    if (status !== "Terminated") throw new Error(`a cancelled endless loop is ${status}`)
  }
  return { millis: median(millis), worst: Math.max(...millis) }
}
