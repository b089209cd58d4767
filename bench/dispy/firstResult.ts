/** A program with one cluster and one job, then another cluster; prints how long each took. */
import { createJobCluster } from "dispy/promise"

/** What it prints, in milliseconds. */
export interface FirstResult {
  /** Moment of the first result, since 1970. */
  readonly at: number
  /** From `createJobCluster` to the first result. */
  readonly first: number
  /** The same for another cluster in the same process; 0 for a local node, which is not started twice. */
  readonly next: number
}

const nodes = process.argv[2] ?? "local"

const run = async (): Promise<readonly [millis: number, at: number]> => {
  const start = performance.now()
  await using cluster = await createJobCluster((n: number) => n * n, { nodes })
  const result = await cluster.submit(12).result()
  const end = performance.now()
  if (result !== 144) throw new Error(`12 * 12 is ${result}`)
  return [end - start, performance.timeOrigin + end]
}

const [first, at] = await run()
const next = nodes === "local" ? 0 : (await run())[0]
process.stdout.write(JSON.stringify({ at, first, next } satisfies FirstResult))
