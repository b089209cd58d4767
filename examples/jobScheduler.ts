/** A scheduler of one's own: each node has its own share of the work, and gets its next job when it has done one. */
import { createJobCluster, type DispyNode } from "dispy/promise"

/** Runs on the nodes: how many numbers below the limit are prime. */
function countPrimes(limit: number): number {
  let primes = 0
  for (let n = 2; n < limit; n++) {
    let isPrime = true
    for (let d = 2; d * d <= n && isPrime; d++) isPrime = n % d !== 0
    if (isPrime) primes++
  }
  return primes
}

const nodes = process.argv.length > 2 ? process.argv.slice(2) : ["local"]
const limits = Array.from({ length: 12 }, (_, i) => (i + 1) * 10_000)

/** The largest first: so no node is left with a long job at the end. */
const give = (node: DispyNode): void => {
  const limit = limits.pop()
  if (limit !== undefined) cluster.submitJobIdNode(limit, node, limit)
}

await using cluster = await createJobCluster(countPrimes, {
  nodes,
  clusterStatus: async (status, node, job) => {
    if (status === "Initialized") { for (let cpu = 0; cpu < node!.cpus; cpu++) give(node!) }
    if (status !== "Finished" || job === undefined || node === undefined) return
    console.log(`${node.name}: ${await job.result()} primes below ${String(job.id)}`)
    give(node)
  }
})
await cluster.wait()
