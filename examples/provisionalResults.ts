/** Intermediate results: many jobs search, and the first answer that is good enough ends them all. */
import { createJobCluster } from "dispy/promise"

/** Runs on the nodes: throws darts at a quarter of a circle, and tells whenever its estimate of pi gets better. */
function* estimate(darts: number) {
  let [hits, best, error] = [0, 0, 1]
  for (let thrown = 1; thrown <= darts; thrown++) {
    const [x, y] = [Math.random(), Math.random()]
    if (x * x + y * y < 1) hits++
    const pi = (4 * hits) / thrown
    if (thrown < 1000 || Math.abs(pi - Math.PI) >= error) continue
    error = Math.abs(pi - Math.PI)
    best = pi
    yield { thrown, pi }
  }
  return best
}

const goodEnough = 1e-5

await using cluster = await createJobCluster(estimate, {
  // Called for every provisional result, and for the end of every job.
  callback: (job) => {
    if (job.status !== "ProvisionalResult") return console.log("job", job.id, job.status)
    const { pi, thrown } = job.provisionalResult!
    if (Math.abs(pi - Math.PI) > goodEnough) return
    console.log(`${pi.toFixed(6)} after ${thrown} darts of job`, job.id)
    for (const other of jobs) cluster.cancel(other)
  }
})

const jobs = [1, 2, 3, 4].map((id) => cluster.with({ id }).submit(10_000_000_000))
