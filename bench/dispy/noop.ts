/** Jobs that do nothing, submitted one by one over TCP, each with its full outcome: the promise facade. */
import { createJobCluster } from "dispy/promise"
import * as Daemon from "../support/Daemon.ts"
import { drive, type Metrics, type StepOptions } from "../support/Drive.ts"
import { median } from "../support/Statistics.ts"

/** Jobs per second, and microseconds of CPU per job in the client and in the daemon (without its slots). */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using daemon = await Daemon.start(2)
  await using cluster = await createJobCluster((n: number) => n, { nodes: daemon.address })
  const call = (n: number): Promise<number> => cluster.submit(n).result()
  const total = isQuick ? 20_000 : 40_000
  await drive(call, total / 2, 1000)
  const clientBefore = process.cpuUsage()
  const daemonBefore = await Daemon.cpuSeconds(daemon.child.pid!)
  const window1000 = median([await drive(call, total, 1000), await drive(call, total, 1000)])
  const client = process.cpuUsage(clientBefore)
  const daemonSeconds = await Daemon.cpuSeconds(daemon.child.pid!) - daemonBefore
  const unbounded = await drive(call, total, total)
  const job = cluster.submit(7)
  await job.result()
  if (job.status !== "Finished" || job.endTime === undefined || job.stdout !== "") throw new Error("no full outcome")
  return {
    window1000,
    unbounded,
    clientMicros: (client.user + client.system) / (2 * total),
    daemonMicros: daemonSeconds * 1e6 / (2 * total)
  }
}
