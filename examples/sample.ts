/** The first example of dispy's documentation: jobs that take their time, on whatever node has room for them. */
import { createJobCluster } from "dispy/promise"

/** Runs on the nodes. */
async function compute(seconds: number) {
  const { hostname } = await import("node:os")
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  return [hostname(), seconds] as const
}

await using cluster = await createJobCluster(compute)
const jobs = Array.from({ length: 10 }, (_, i) => cluster.with({ id: i }).submit(0.1 + Math.random() / 2))
for (const job of jobs) {
  const [host, seconds] = await job.result()
  const start = new Date(job.startTime!).toISOString()
  console.log(`${host} executed job ${String(job.id)} at ${start} with ${seconds.toFixed(2)}`)
}
cluster.printStatus()
