/** Piscina: the pool of worker threads on one machine that a job is compared with; no network, no second process. */
import { Piscina } from "piscina"
import { drive, type Metrics, type StepOptions } from "../support/Drive.ts"
import { median } from "../support/Statistics.ts"

const withPool = async <A>(
  concurrentTasksPerWorker: number,
  use: (call: (n: number) => Promise<number>) => Promise<A>
): Promise<A> => {
  const filename = new URL("./piscinaWorker.ts", import.meta.url).href
  const pool = new Piscina({ filename, minThreads: 2, maxThreads: 2, concurrentTasksPerWorker })
  try {
    return await use((n) => pool.run(n))
  } finally {
    await pool.destroy()
  }
}

/**
 * Calls per second with two threads: as it is by default, a task per thread at a time, and with the next tasks sent
 * ahead.
 */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const total = isQuick ? 20_000 : 40_000
  const byDefault = await withPool(1, async (call) => {
    await drive(call, total / 2, 1000)
    const window1000 = median([await drive(call, total, 1000), await drive(call, total, 1000)])
    return { window1000, unbounded: await drive(call, total, total) }
  })
  const ahead1000 = await withPool(16, async (call) => {
    await drive(call, total / 2, 1000)
    return median([await drive(call, total, 1000), await drive(call, total, 1000)])
  })
  return { ...byDefault, ahead1000 }
}
