/** Memory of a daemon without its slots. */
import { createJobCluster } from "dispy/promise"
import * as Daemon from "../support/Daemon.ts"
import { drive, type Metrics, pause, type StepOptions } from "../support/Drive.ts"

const mebibyte = 1024 * 1024

/** MiB resident: after the start, and after many jobs of a cluster that was closed. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(2)
  const pid = daemon.child.pid!
  await pause(2000)
  const idle = await Daemon.residentBytes(pid) / mebibyte
  {
    await using cluster = await createJobCluster((n: number) => n, { nodes: daemon.address })
    await drive((n) => cluster.submit(n).result(), isQuick ? 20_000 : 100_000, 1000)
  }
  await pause(2000)
  return { idle, afterJobs: await Daemon.residentBytes(pid) / mebibyte }
}
