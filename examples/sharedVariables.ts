/**
 * Variables that the jobs of a node share: `setup` makes them once per node, and `Atomics` change them from all slots.
 */
import type {} from "dispy/job"
import { createJobCluster } from "dispy/promise"

/** Runs once on every node: a counter, and how many jobs have added to it. */
function makeCounters() {
  return new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT))
}

/** Runs as jobs, several at the same time: no addition is lost. */
function add(amount: number, times: number) {
  const counters = dispy.shared as Int32Array
  for (let i = 0; i < times; i++) Atomics.add(counters, 0, amount)
  const jobs = Atomics.add(counters, 1, 1) + 1
  return { jobs, sum: Atomics.load(counters, 0) }
}

await using cluster = await createJobCluster(add, { executor: "thread", setup: makeCounters })

const times = 100_000
const amounts = Array.from({ length: 10 }, (_, i) => i + 1)
const results = await Promise.all(amounts.map((amount) => cluster.submit(amount, times).result()))
for (const { jobs, sum } of results.sort((a, b) => a.jobs - b.jobs)) console.log(`after ${jobs} jobs: at least ${sum}`)

const { sum } = await cluster.submit(0, 0).result()
const expected = times * amounts.reduce((total, amount) => total + amount, 0)
console.log(sum === expected ? `${sum}: nothing is lost` : `${sum} instead of ${expected}`)
