/** Nodes and counted clients of one test file in which things fail; nothing of them is left after each test. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeEach, expect } from "vitest"
import type { Request } from "../../fixtures/chaos/client.ts"
import { eventually } from "../Eventually.ts"
import { untilIdle } from "../Leftovers.ts"
import * as ChaosNode from "./ChaosNode.ts"
import * as CountedClient from "./CountedClient.ts"

/** What the rows of a file are run with. */
export interface Chaos {
  readonly directory: () => string
  /** Starts a node of two cpus, unless something else is said. */
  readonly node: (name: string, options?: Omit<Partial<ChaosNode.NodeOptions>, "name">) => Promise<ChaosNode.ChaosNode>
  /** Starts so many. */
  readonly nodes: (count: number, ...args: ReadonlyArray<string>) => Promise<ReadonlyArray<ChaosNode.ChaosNode>>
  /** Starts a client of these nodes. */
  readonly client: (
    addresses: ReadonlyArray<string>,
    request: Omit<Request, "ledger" | "report" | "options"> & { readonly options?: Request["options"] },
    env?: Record<string, string>
  ) => Promise<CountedClient.CountedClient>
  /** Does harm again and again until all jobs of a client have ended; resolves when the last harm is done. */
  readonly until: (done: Promise<void>, harm: () => Promise<void>) => Promise<void>
}

/** Registers the hooks of a test file. */
export const forTests = (): Chaos => {
  let directory = ""
  const nodes: Array<ChaosNode.ChaosNode> = []
  const clients: Array<CountedClient.CountedClient> = []
  /** What goes on when a test has failed stops. */
  const tests = { ended: 0 }

  const node: Chaos["node"] = async (name, options = {}) => {
    const { args = [], ...rest } = options
    const cpus = args.includes("--cpus") ? [] : ["--cpus", "2"]
    const made = await ChaosNode.make({ name, prefix: directory, ...rest, args: [...cpus, ...args] })
    nodes.push(made)
    return made
  }

  /** What daemons have in their directory: a directory of its own for each that runs. */
  const ofDaemons = (): ReadonlyArray<string> =>
    readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => /\/node\/\d+-\d+/.test(name))

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "dispy-chaos-"))
  })

  afterEach(async () => {
    tests.ended++
    for (const one of clients.splice(0)) one.signal("SIGKILL")
    await Promise.all(
      nodes.splice(0).map(async (one) => {
        one.signal("SIGCONT")
        one.signal("SIGTERM")
        await one.ended()
      })
    )
    // What a killed daemon leaves is removed by its guardian.
    await eventually(() => expect(ofDaemons()).toEqual([]))
    await untilIdle()
    rmSync(directory, { recursive: true })
  })

  afterAll(untilIdle)

  return {
    directory: () => directory,
    node,
    nodes: (count, ...args) => Promise.all(Array.from({ length: count }, (_, n) => node(`n${n}`, { args }))),
    client: async (addresses, { options = {}, ...request }, env = {}) => {
      const made = await CountedClient.start(CountedClient.here(directory), directory, {
        nodeCount: addresses.length,
        ...request,
        options: { nodes: [...addresses], logLevel: "warning", ...options }
      }, env)
      clients.push(made)
      return made
    },
    until: async (done, harm) => {
      const [mine, over] = [tests.ended, { is: false }]
      const harming = (async () => {
        while (!over.is && tests.ended === mine) await harm()
      })()
      try {
        await Promise.race([done, harming])
      } finally {
        over.is = true
      }
      await harming
    }
  }
}
