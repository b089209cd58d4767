/** A long `map` from a generator: memory must not grow with the number of items. */
import { createJobCluster } from "dispy/promise"
import * as Daemon from "../support/Daemon.ts"
import { assertSum, type Metrics, type StepOptions } from "../support/Drive.ts"

const mebibyte = 1024 * 1024

const numbers = function*(total: number): Generator<number> {
  for (let n = 0; n < total; n++) yield n
}

const liveBytes = (): number => {
  globalThis.gc!()
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

/**
 * MiB by which memory grew: what is live in the client, from the least of the first three tenths to the least of the last
 * three (how full the window is makes the difference within them), and the highest RSS of client and daemon after the
 * first tenth.
 */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(2)
  await using cluster = await createJobCluster((n: number) => n, { nodes: daemon.address })
  const total = isQuick ? 1_000_000 : 10_000_000
  const pid = daemon.child.pid!
  const highest = { client: [0, 0], daemon: [0, 0] }
  const live: Array<number> = []
  let count = 0
  let sum = 0
  const start = performance.now()
  for await (const result of cluster.map(numbers(total))) {
    sum += result
    if (++count % (total / 200) !== 0) continue
    const part = count <= total / 10 ? 0 : 1
    highest.client[part] = Math.max(highest.client[part]!, process.memoryUsage.rss())
    highest.daemon[part] = Math.max(highest.daemon[part]!, await Daemon.residentBytes(pid))
    if (count % (total / 10) === 0) live.push(liveBytes())
  }
  assertSum(sum, total)
  return {
    rate: total / ((performance.now() - start) / 1000),
    liveGrowth: (Math.min(...live.slice(-3)) - Math.min(...live.slice(0, 3))) / mebibyte,
    clientGrowth: (highest.client[1]! - highest.client[0]!) / mebibyte,
    daemonGrowth: (highest.daemon[1]! - highest.daemon[0]!) / mebibyte,
    client: highest.client[1]! / mebibyte
  }
}
