/** `setup`: every node reads its data once, before any job; jobs find it in memory. */
import type {} from "dispy/job"
import { createJobCluster } from "dispy/promise"

/** Runs once on every node: stands for a large file that is read, or a model that is loaded. */
async function setup(words: number) {
  const { hostname } = await import("node:os")
  const lengths = new Map<string, number>()
  for (let i = 0; i < words; i++) lengths.set(`word-${i}`, i % 17)
  console.log(`${hostname()} has read ${words} words`)
  return lengths
}

/** Runs on the nodes, many times: uses what `setup` has returned. */
function lookUp(word: string) {
  const lengths = dispy.shared as Map<string, number>
  return lengths.get(word)
}

/** Runs once on every node at the end. */
function cleanup() {
  const lengths = dispy.shared as Map<string, number>
  console.log(`done with ${lengths.size} words`)
}

await using cluster = await createJobCluster(lookUp, { setup, cleanup, setupArgs: [100_000] })
let sum = 0
for await (const length of cluster.map(Array.from({ length: 50_000 }, (_, i) => `word-${i}`))) sum += length ?? 0
console.log(`the words have ${sum} letters`)
