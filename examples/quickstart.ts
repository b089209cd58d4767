/** A function on every core of this machine: the first example of the README. */
import { createJobCluster } from "dispy/promise"

// Runs on the nodes, in processes of its own.
function countPrimes(limit: number): number {
  let primes = 0
  for (let n = 2; n < limit; n++) {
    let isPrime = true
    for (let d = 2; d * d <= n && isPrime; d++) isPrime = n % d !== 0
    if (isPrime) primes++
  }
  return primes
}

await using cluster = await createJobCluster(countPrimes)
for await (const primes of cluster.map([10, 1_000, 100_000, 1_000_000])) {
  console.log(primes)
}
