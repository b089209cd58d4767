/** Large values: arguments and results that are mostly bytes. */
import { createJobCluster } from "dispy/promise"
import * as Daemon from "../support/Daemon.ts"
import type { Metrics, StepOptions } from "../support/Drive.ts"

const mebibyte = 1024 * 1024
const size = 8

/** MiB per second there, and as many back at the same time. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(2)
  await using cluster = await createJobCluster((bytes: Uint8Array) => bytes, { nodes: daemon.address })
  const bytes = new Uint8Array(size * mebibyte).map((_, i) => i)
  const send = async (count: number): Promise<number> => {
    let sent = 0
    const lane = async (): Promise<void> => {
      while (sent++ < count) {
        const result = await cluster.submit(bytes).result()
        if (Buffer.compare(result, bytes) !== 0) throw new Error("other bytes came back")
      }
    }
    const start = performance.now()
    await Promise.all([lane(), lane(), lane(), lane()])
    return size * count / ((performance.now() - start) / 1000)
  }
  await send(4)
  return { throughput: await send(isQuick ? 8 : 32) }
}
