/** Runs a program once on every node: those that are there, and those that appear while it waits. */
import { createJobCluster } from "dispy/promise"

const nodes = process.argv.length > 2 ? process.argv.slice(2) : ["local"]

await using cluster = await createJobCluster("uname", {
  nodes,
  clusterStatus: (status, node) => {
    if (status === "Initialized") cluster.submitJobIdNode(node!.name, node!, "-sm")
  },
  callback: async (job) => {
    const exitStatus = await job.result().catch((error: Error) => error.message)
    console.log(`${String(job.id)}: ${job.stdout?.trim()} (exit status ${exitStatus})`)
  }
})
await cluster.wait()
for (const node of cluster.status().nodes) {
  if (node.state !== "ready") console.log(`${node.address}: ${node.state}, ${node.reason}`)
}
