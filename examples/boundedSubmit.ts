/** Bounded submission: of a hundred thousand jobs only some are in memory at a time. (`map` does this by itself.) */
import { createJobCluster, type DispyJob } from "dispy/promise"

/** Runs on the nodes: how many steps of the Collatz sequence lead from n to 1. */
const steps = (n: number): number => {
  let count = 0
  for (let m = n; m !== 1; m = m % 2 === 0 ? m / 2 : 3 * m + 1) count++
  return count
}

const [lower, upper, total] = [1000, 2000, 100_000]
let [pending, most, longest] = [0, 0, 0]
let room: (() => void) | undefined

const done = async (job: DispyJob<number>): Promise<void> => {
  if (--pending <= lower) room?.()
  const taken = await job.result()
  longest = Math.max(longest, taken)
}

await using cluster = await createJobCluster(steps, { callback: done })
for (let n = 1; n <= total; n++) {
  cluster.submit(n)
  most = Math.max(most, ++pending)
  // Up to the upper bound; then not before all but the lower bound are done.
  if (pending >= upper) await new Promise<void>((resolve) => (room = resolve))
}
await cluster.wait()
console.log(`The longest way to 1 from below ${total} takes ${longest} steps; at most ${most} jobs were pending.`)
