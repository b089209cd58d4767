/** What a secret costs: jobs and files with one (TLS with a pre-shared key) and without, by turns in the same process. */
import type { DispyGlobal } from "dispy/job"
import { createJobCluster } from "dispy/promise"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Daemon from "../support/Daemon.ts"
import { drive, type Metrics, type StepOptions } from "../support/Drive.ts"
import { quantile } from "../support/Statistics.ts"

const memory = fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir()

/** Jobs per second one by one, and MiB per second of files there and back. */
interface Speeds {
  readonly jobs: () => Promise<number>
  readonly put: () => Promise<number>
  readonly get: () => Promise<number>
}

const open = async (address: string, directory: string, size: number, secretFile: string | undefined) => {
  const options = { nodes: address, secretFile }
  const jobs = await createJobCluster((n: number) => n, options)
  const files = await createJobCluster(
    async (name: string) => await (globalThis as unknown as { readonly dispy: DispyGlobal }).dispy.sendFile(name),
    { ...options, filesDirectory: join(directory, "got") }
  )
  const rate = async (run: () => Promise<unknown>): Promise<number> => {
    const start = performance.now()
    await run()
    return size / 2 ** 20 / ((performance.now() - start) / 1000)
  }
  const speeds: Speeds = {
    jobs: () => drive((n) => jobs.submit(n).result(), 20_000, 1000),
    put: () => rate(() => files.sendFile(join(directory, "sent"), address)),
    get: () => rate(() => files.run("sent"))
  }
  return { speeds, close: () => Promise.all([jobs.close(), files.close()]) }
}

/** Speeds with and without a secret. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const directory = fs.mkdtempSync(join(memory, "dispy-bench-"))
  process.env["TMPDIR"] = directory
  try {
    const size = (isQuick ? 100 : 300) * 2 ** 20
    fs.writeFileSync(join(directory, "sent"), Buffer.alloc(size, "dispy"))
    const secretFile = join(directory, "secret")
    fs.writeFileSync(secretFile, "a secret for the benchmark", { mode: 0o600 })
    await using plain = await Daemon.start(2)
    await using secured = await Daemon.start(2, ["--secret-file", secretFile, "--ip-addr", "127.0.0.1"])
    const without = await open(plain.address, directory, size, undefined)
    const withSecret = await open(secured.address, directory, size, secretFile)
    const metrics: Metrics = {}
    for (const [name, { speeds }] of Object.entries({ plain: without, secret: withSecret })) {
      for (const [what, run] of Object.entries(speeds)) {
        await run()
        metrics[`${name}-${what}`] = 0
      }
    }
    const rounds = isQuick ? 2 : 4
    const all = new Map(Object.keys(metrics).map((key) => [key, [] as Array<number>]))
    for (let i = 0; i < rounds; i++) {
      for (const what of ["jobs", "put", "get"] as const) {
        all.get(`plain-${what}`)!.push(await without.speeds[what]())
        all.get(`secret-${what}`)!.push(await withSecret.speeds[what]())
      }
    }
    for (const [key, values] of all) metrics[key] = quantile(values, 0.5)
    await Promise.all([without.close(), withSecret.close()])
    process.env["TMPDIR"] = "/tmp"
    return metrics
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}
