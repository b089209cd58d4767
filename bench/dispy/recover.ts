/** What recover files cost: no-op jobs without one, with one, and with the jobs in it, by turns in the same process. */
import { createJobCluster } from "dispy/promise"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Daemon from "../support/Daemon.ts"
import { drive, type Metrics, type StepOptions } from "../support/Drive.ts"
import { quantile } from "../support/Statistics.ts"

/** Jobs that wait in the queue whose bytes and time are told. */
const queued = 100_000

/** Jobs per second of each kind, and what a queued job costs in the file. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const directory = fs.mkdtempSync(join(tmpdir(), "dispy-bench-"))
  try {
    const metrics: Metrics = {}
    const kinds = {
      none: { recoverFile: false },
      file: { recoverFile: join(directory, "file") },
      durable: { recoverFile: join(directory, "durable"), durable: true }
    } as const
    const rates = new Map(Object.keys(kinds).map((name) => [name, [] as Array<number>]))
    const total = isQuick ? 5000 : 20_000
    await using open = new AsyncDisposableStack()
    const calls: Array<readonly [string, (n: number) => Promise<number>]> = []
    for (const [name, options] of Object.entries(kinds)) {
      const daemon = open.use(await Daemon.start(2))
      const cluster = open.use(await createJobCluster((n: number) => n, { nodes: daemon.address, ...options }))
      const call = (n: number): Promise<number> => cluster.submit(n).result()
      await drive(call, total / 2, 1000)
      calls.push([name, call])
    }
    for (let round = 0; round < (isQuick ? 3 : 5); round++) {
      for (const [name, call] of calls) rates.get(name)!.push(await drive(call, total, 1000))
    }
    for (const [name, known] of rates) metrics[name] = quantile(known, 0.5)
    // A port where nothing is: the jobs stay in the queue.
    for (const name of ["none", "durable"] as const) {
      const file = join(directory, `queue-${name}`)
      const cluster = await createJobCluster((n: number) => n, {
        nodes: "127.0.0.1:1",
        recoverFile: name === "none" ? false : file,
        durable: name === "durable",
        logLevel: "none"
      })
      const start = performance.now()
      for (let n = 0; n < queued; n++) cluster.submit(n)
      metrics[`${name}QueueMicros`] = (performance.now() - start) * 1000 / queued
      if (name === "durable") {
        await new Promise((resolve) => setImmediate(resolve))
        metrics["queueBytes"] = fs.statSync(file).size / queued
      }
      await cluster.close({ timeout: 1, terminate: true })
    }
    return metrics
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}
