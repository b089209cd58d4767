/** 10,000 jobs with arguments and results of 1 MiB, all submitted at once; about 3 minutes on two cores. */
import { it } from "vitest"
import { createJobCluster } from "../../src/promise.ts"

const count = 10_000

it("carries 20 GiB through the queue, in bounded memory", async ({ expect }) => {
  await using cluster = await createJobCluster((bytes: Uint8Array) => bytes.map((byte) => byte ^ 255), { cpus: 2 })
  const argument = (n: number): Uint8Array => new Uint8Array(2 ** 20).fill(n % 251)
  let highest = 0
  let wrong = 0
  const jobs = Array.from({ length: count }, async (_, n) => {
    const result = await cluster.submit(argument(n)).result()
    if (result.length !== 2 ** 20 || result[0] !== ((n % 251) ^ 255) || result.at(-1) !== result[0]) wrong++
    highest = Math.max(highest, process.memoryUsage.rss())
  })
  await Promise.all(jobs)
  expect(wrong).toBe(0)
  expect(highest / 2 ** 20).toBeLessThan(2500)
})
