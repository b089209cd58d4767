/** Jobs beside a file on their way over a link of 1 MB/s. Needs root, `ip` and `tc`. */
import { createJobCluster } from "dispy/promise"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as SlowLink from "../../test/support/SlowLink.ts"
import * as Daemon from "../support/Daemon.ts"
import type { Metrics, StepOptions } from "../support/Drive.ts"
import { quantile } from "../support/Statistics.ts"

/** Round trips of jobs in milliseconds while the file is sent, and MB of it per second. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const directory = fs.mkdtempSync(join(tmpdir(), "dispy-bench-"))
  const node = await SlowLink.start("8mbit", directory, Daemon.program)
  try {
    const size = isQuick ? 3_000_000 : 8_000_000
    const file = join(directory, "sent")
    fs.writeFileSync(file, randomBytes(size))
    await using cluster = await createJobCluster(() => 0, { nodes: node.address })
    await cluster.run()
    const state = { isDone: false }
    const start = performance.now()
    const sending = cluster.sendFile(file, node.address).then(() => {
      state.isDone = true
    })
    const trips: Array<number> = []
    while (!state.isDone) {
      const since = performance.now()
      await cluster.run()
      trips.push(performance.now() - since)
    }
    await sending
    const seconds = (performance.now() - start) / 1000
    return { rate: size / 2 ** 20 / seconds, p50: quantile(trips, 0.5), longest: Math.max(...trips) }
  } finally {
    await node.stop()
    fs.rmSync(directory, { recursive: true, force: true })
  }
}
