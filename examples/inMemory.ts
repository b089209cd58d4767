/**
 * In-memory processing: `setup` makes large data once per node, and jobs on all of its slots search the one copy.
 *
 *   node examples/inMemory.ts [MEGABYTES]
 */
import type {} from "dispy/job"
import { createJobCluster } from "dispy/promise"

const size = Number(process.argv[2] ?? 500)
const pieces = 32

/** Runs once on every node: random numbers, in memory that the node's threads share. */
function makeNumbers(megabytes: number) {
  const numbers = new Uint32Array(new SharedArrayBuffer(megabytes * 2 ** 20))
  let state = 2_463_534_242
  for (let i = 0; i < numbers.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    numbers[i] = state
  }
  return numbers
}

/** Runs as jobs: how many numbers of one part of them end in these digits. */
function countEndings(digits: number, part: number, parts: number) {
  const numbers = dispy.shared as Uint32Array
  const end = Math.floor((numbers.length * (part + 1)) / parts)
  let count = 0
  for (let i = Math.floor((numbers.length * part) / parts); i < end; i++) if (numbers[i]! % 1000 === digits) count++
  return { count, process: process.pid, memory: process.memoryUsage.rss() }
}

const since = performance.now()
await using cluster = await createJobCluster(countEndings, {
  executor: "thread",
  setup: makeNumbers,
  setupArgs: [size],
  setupTimeout: "5 minutes"
})
const seconds = (from: number) => `${((performance.now() - from) / 1000).toFixed(1)} s`
console.log(`${(size * 2 ** 18).toLocaleString("en")} numbers made in ${seconds(since)}`)

const searched = performance.now()
const jobs = Array.from({ length: pieces }, (_, part) => cluster.submit(7, part, pieces))
const found = await Promise.all(jobs.map((job) => job.result()))
const count = found.reduce((total, one) => total + one.count, 0)
console.log(`${count.toLocaleString("en")} of them end in 007, found in ${seconds(searched)}`)

const memory = Math.max(...found.map((one) => one.memory)) / 2 ** 20
console.log(
  `${new Set(found.map((one) => one.process)).size} process with ${memory.toFixed(0)} MB searched ${size} MB`
)
