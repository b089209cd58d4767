/** Jobs that compute: what two slots bring over one, and over the same loop without a cluster. */
import { createJobCluster, type PromiseJobCluster } from "dispy/promise"
import { fork } from "node:child_process"
import { once } from "node:events"
import * as Daemon from "../support/Daemon.ts"
import type { Metrics, StepOptions } from "../support/Drive.ts"
import { spin, spinsPerMilli } from "./spin.ts"

type Cluster = PromiseJobCluster<[spins: number], number>

/** Jobs per second, all submitted at once. */
const rate = async (cluster: Cluster, spins: number, count: number): Promise<number> => {
  const start = performance.now()
  await Promise.all(Array.from({ length: count }, () => cluster.submit(spins).result()))
  return count / ((performance.now() - start) / 1000)
}

/** Loops of `spins` per second in this many processes, without a cluster. */
const bareRate = async (processes: number, spins: number, millis: number): Promise<number> => {
  const peers = Array.from(
    { length: processes },
    () => fork(new URL("./spinPeer.ts", import.meta.url), { execArgv: [] })
  )
  await Promise.all(peers.map((peer) => once(peer, "message")))
  const rates = peers.map(async (peer) => {
    const [perSecond] = await once(peer, "message") as [number]
    peer.disconnect()
    await once(peer, "exit")
    return perSecond
  })
  for (const peer of peers) peer.send([spins, millis])
  return (await Promise.all(rates)).reduce((sum, one) => sum + one, 0)
}

/** Jobs per second on one slot and on two, by the length of the job. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await using oneDaemon = await Daemon.start(1)
  await using twoDaemon = await Daemon.start(2)
  await using one: Cluster = await createJobCluster(spin, { nodes: oneDaemon.address })
  await using two: Cluster = await createJobCluster(spin, { nodes: twoDaemon.address })
  const perMilli = spinsPerMilli()
  const millis = isQuick ? 400 : 1000
  const metrics: Metrics = {}
  // The shortest first: a hundred long jobs alone would run on code that no compiler has looked at yet.
  for (const [name, jobMillis] of [["100us", 0.1], ["1ms", 1], ["10ms", 10]] as const) {
    const spins = Math.round(perMilli * jobMillis)
    const perSlot = Math.round(millis / jobMillis)
    await rate(one, spins, Math.ceil(perSlot / 5))
    await rate(two, spins, Math.ceil(perSlot / 5))
    metrics[`bareOne${name}`] = await bareRate(1, spins, millis / 2)
    metrics[`one${name}`] = await rate(one, spins, perSlot)
    metrics[`two${name}`] = await rate(two, spins, 2 * perSlot)
  }
  metrics["bareTwo10ms"] = await bareRate(2, Math.round(perMilli * 10), millis)
  return metrics
}
