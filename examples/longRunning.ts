/** A job that runs for long: it tells how far it is, and when it is cancelled it answers with what it has. */
import type {} from "dispy/job"
import { createJobCluster } from "dispy/promise"

/** Runs on the nodes: the perfect numbers up to a limit that it would need hours to reach. */
async function perfectNumbers(limit: number) {
  const found: Array<number> = []
  let n = 2
  // Asking for `dispy.signal` is what gives the job its grace when it is cancelled.
  for (; n <= limit && !dispy.signal.aborted; n++) {
    let sum = 1
    for (let d = 2; d * d <= n; d++) if (n % d === 0) sum += d === n / d ? d : d + n / d
    if (sum === n) found.push(n)
    if (n % 2000 > 0) continue
    dispy.provisionalResult({ done: n, found: found.length })
    // The signal can fire only when the job lets go of its event loop now and then.
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { upTo: n - 1, found }
}

await using cluster = await createJobCluster(perfectNumbers, { grace: "5 seconds" })
const job = cluster.submit(1e9)

for await (const progress of job.provisional()) {
  const { done, found } = progress as { done: number; found: number }
  if (done % 4000 === 0) console.log(`${done} numbers, ${found} of them perfect`)
  if (done === 20_000) job.cancel()
}

await job.result().catch(({ _tag, partialResult }) => {
  console.log(`${_tag}; perfect up to ${partialResult.upTo}:`, partialResult.found)
})
