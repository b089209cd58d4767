/** A program as a computation: every job is a run with its own arguments; its result is the exit status. */
import { createJobCluster } from "dispy/promise"

// A command that every node has. A path ("./simulate.sh") would be sent to the nodes instead.
await using cluster = await createJobCluster("sh")

const script = "echo \"looking for $1\"; test -d \"$1\" || { echo \"$1 is not there\" >&2; exit 3; }"
const jobs = ["/usr", "/no/such/place"].map((place) => cluster.submit("-c", script, "sh", place))

for (const job of jobs) {
  const status = await job.result()
  console.log(`exit status ${status}`)
  process.stdout.write(`  stdout: ${job.stdout}`)
  if (job.stderr !== "") process.stdout.write(`  stderr: ${job.stderr}`)
}
