/** Daemons and clusters of one test file: started by tests, gone after each of them, with nothing left. */
import { readdirSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeEach, expect } from "vitest"
import { createJobCluster, type PromiseJobCluster } from "../../src/promise.ts"
import { type Daemon, startDaemon } from "./Daemons.ts"
import { eventually } from "./Eventually.ts"
import { untilIdle } from "./Leftovers.ts"

/** Until every listed node has answered: a cluster starts without those that take their time. */
export const settled = (made: Pick<PromiseJobCluster<never, unknown>, "status">): Promise<void> =>
  eventually(() => expect(made.status().nodes.map(({ state }) => state)).not.toContain("connecting"))

/** Registers the hooks of a test file; returns what its tests start nodes and clusters with. */
export const forTests = () => {
  let directory = ""
  const daemons: Array<Daemon> = []
  const clusters: Array<PromiseJobCluster<never, unknown>> = []

  /** Starts a daemon of two cpus, unless something else is said. */
  const daemon = async (...args: ReadonlyArray<string>): Promise<Daemon> => {
    const started = await startDaemon([
      ...(args.includes("--cpus") ? [] : ["--cpus", "2"]),
      "--dest-path-prefix",
      directory,
      ...args
    ])
    daemons.push(started)
    return started
  }

  const cluster: typeof createJobCluster = async (computation, options) => {
    const made = await createJobCluster(computation, { logLevel: "none", ...options })
    clusters.push(made)
    return made
  }

  /** What daemons have in their directory: a directory of its own for each that runs. */
  const ofDaemons = (): ReadonlyArray<string> =>
    readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => /\/node\/\d+-\d+/.test(name))

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "dispy-nodes-test-"))
  })

  afterEach(async () => {
    await Promise.all(clusters.splice(0).map((one) => one.close({ timeout: 0, terminate: true })))
    await Promise.all(daemons.splice(0).map((one) => one.stop()))
    // What a killed daemon leaves is removed by its guardian.
    await eventually(() => expect(ofDaemons()).toEqual([]))
    await rm(directory, { recursive: true })
  })

  afterAll(untilIdle)

  return { daemon, cluster, ofDaemons, directory: () => directory }
}
