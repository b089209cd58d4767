/** Tests of a program against nodes that die, without sockets and processes: `npm exec -- node --test examples/testing.ts` */
import { createJobCluster, type NodeLost } from "dispy/promise"
import { createTestCluster, createTestNodes } from "dispy/testing"
import assert from "node:assert/strict"
import { test } from "node:test"

/** The program under test: it makes its cluster itself, and knows nothing of tests. */
async function sumOfSquares(limit: number): Promise<number> {
  const options = { nodes: ["alpha", "beta"], reentrant: true, logLevel: "error" } as const
  await using cluster = await createJobCluster((n: number) => n * n, options)
  let sum = 0
  for await (const square of cluster.map(Array.from({ length: limit }, (_, n) => n))) sum += square
  return sum
}

await test("the sum is right although a node dies that has done its part and not told", async () => {
  await using nodes = await createTestNodes({ nodes: ["alpha", "beta"] })
  await nodes.faults.hold("alpha")
  const sum = nodes.run(() => sumOfSquares(1000))
  await nodes.faults.awaitBusy("alpha")
  await nodes.faults.kill("alpha")
  assert.equal(await sum, 332_833_500)
})

await test("the sum is right although a node stands still, which takes a minute to notice, and none to test", async () => {
  await using nodes = await createTestNodes({ nodes: ["alpha", "beta"] })
  await nodes.faults.hold("alpha")
  const sum = nodes.run(() => sumOfSquares(1000))
  await nodes.faults.awaitBusy("alpha")
  await nodes.faults.freeze("alpha")
  await nodes.advance("1 minute")
  assert.equal(await sum, 332_833_500)
})

await test("a broken connection is not noticed", async () => {
  await using nodes = await createTestNodes({ nodes: ["alpha", "beta"] })
  await nodes.faults.hold("beta")
  const sum = nodes.run(() => sumOfSquares(1000))
  await nodes.faults.awaitBusy("beta")
  await nodes.faults.drop("beta")
  await nodes.faults.release("beta")
  assert.equal(await sum, 332_833_500)
})

await test("a job that must not run twice ends with its node, and says so", async () => {
  await using world = await createTestCluster((name: string) => `Hello, ${name}!`, { nodes: 1, logLevel: "error" })
  const { cluster, faults } = world
  await faults.hold("node-1")
  const job = cluster.submit("world")
  await faults.kill(await faults.awaitRunning(job))
  await assert.rejects(job.result(), (error: NodeLost) => error._tag === "NodeLost" && error.node === "node-1:51348")
})
