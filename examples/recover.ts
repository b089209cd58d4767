/** A program that may die: started again, it first gets the results that its nodes have kept. Arguments: nodes. */
import { createJobCluster, recoverJobs } from "dispy/promise"
import { existsSync } from "node:fs"

const recoverFile = "recover-example"

/** Runs on the nodes: takes its time, however little it does. */
async function slowSquare(n: number) {
  await new Promise((resolve) => setTimeout(resolve, 2000))
  return { n, square: n * n }
}

// It is there when the program died: an orderly end removes it. Try kill -9, or a power switch.
if (existsSync(recoverFile)) {
  const jobs = await recoverJobs<{ n: number; square: number }>(recoverFile)
  for (const { exception, number, result } of jobs) {
    console.log(
      `job ${number}: ${result === undefined ? exception?.message : `${result.n} squared is ${result.square}`}`
    )
  }
  console.log(`recovered ${jobs.length} jobs`)
}

await using cluster = await createJobCluster(slowSquare, { nodes: process.argv.slice(2), recoverFile })
const jobs = Array.from({ length: 6 }, (_, n) => cluster.submit(n))
console.log("submitted 6 jobs")
for (const job of jobs) {
  const { n, square } = await job.result()
  console.log(`${n} squared is ${square}`)
}
