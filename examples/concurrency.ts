/**
 * Jobs that wait rather than compute: with `concurrency` a slot runs many of them at a time.
 *
 *   node examples/concurrency.ts [JOBS]
 */
import { createJobCluster } from "dispy/promise"

const count = Number(process.argv[2] ?? 60)

/** Runs on the nodes: asks a slow service, here a timer of a tenth of a second. */
async function ask(question: number) {
  await new Promise((resolve) => setTimeout(resolve, 100))
  console.log(`question ${question} has an answer`)
  return question * question
}

const run = async (concurrency: number) => {
  await using cluster = await createJobCluster(ask, { cpus: 1, concurrency })
  const since = performance.now()
  const jobs = Array.from({ length: count }, (_, question) => cluster.submit(question))
  const answers = await Promise.all(jobs.map((job) => job.result()))
  const seconds = (performance.now() - since) / 1000
  // What a job prints belongs to it, however many run at the same time.
  const isOwn = jobs.every((job, question) => job.stdout === `question ${question} has an answer\n`)
  const sum = answers.reduce((total, answer) => total + answer, 0)
  console.log(`${concurrency} at a time: ${seconds.toFixed(1)} s, sum ${sum}, prints ${isOwn ? "apart" : "mixed up"}`)
  return seconds
}

const alone = await run(1)
const together = await run(20)
console.log(`${(alone / together).toFixed(1)} times as fast on the same cpu`)
