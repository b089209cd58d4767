/** Piscina: the pool of worker threads on one machine that a job is compared with; no network, no second process. */
import { Piscina } from "piscina"
import { drive, type Metrics, type StepOptions } from "../support/Drive.ts"
import { median } from "../support/Statistics.ts"

/** Calls per second with two threads, defaults otherwise. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const pool = new Piscina({
    filename: new URL("./piscinaWorker.ts", import.meta.url).href,
    minThreads: 2,
    maxThreads: 2
  })
  const call = (n: number): Promise<number> => pool.run(n)
  const total = isQuick ? 20_000 : 40_000
  await drive(call, total / 2, 1000)
  const window1000 = median([await drive(call, total, 1000), await drive(call, total, 1000)])
  const unbounded = await drive(call, total, total)
  await pool.destroy()
  return { window1000, unbounded }
}
