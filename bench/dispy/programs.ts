/** Programs as jobs: `true`, which does nothing. */
import { Computation, createJobCluster } from "dispy/promise"
import * as Daemon from "../support/Daemon.ts"
import { drive, type Metrics, type StepOptions } from "../support/Drive.ts"

/** Programs per second on two slots. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(2)
  await using cluster = await createJobCluster(Computation.program("true"), { nodes: daemon.address })
  const call = async (n: number): Promise<number> => {
    const status = await cluster.submit(String(n)).result()
    return status === 0 ? n : Number.NaN
  }
  await drive(call, 50, 100)
  const total = isQuick ? 300 : 800
  return { rate: await drive(call, total, total) }
}
