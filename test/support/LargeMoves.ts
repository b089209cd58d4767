/** Something large on its way between a client and a node, in every way that there is. */
import * as fs from "node:fs"
import { join } from "node:path"
import { createJobCluster } from "../../src/promise.ts"

// Functions that jobs run are sent as source, so they must not use anything of this file.

/** Bytes of it: several times what may be under way before the other side acknowledges it. */
export const sizeBytes = 64_000_000

const quiet = { logLevel: "none", recoverFile: false } as const

/** Moves it with a cluster of its own, which has `directory` for its files; resolves to the bytes that arrived. */
export const moves: Readonly<Record<string, (node: string, directory: string) => Promise<number>>> = {
  "the arguments of a job": async (nodes) => {
    await using cluster = await createJobCluster((bytes: Uint8Array) => bytes.length, { nodes, ...quiet })
    return await cluster.run(new Uint8Array(sizeBytes))
  },
  "the result of a job": async (nodes) => {
    await using cluster = await createJobCluster((size: number) => new Uint8Array(size), { nodes, ...quiet })
    return (await cluster.run(sizeBytes)).length
  },
  "a file for the jobs": async (nodes, directory) => {
    const file = join(directory, "large")
    fs.writeFileSync(file, "")
    fs.truncateSync(file, sizeBytes)
    await using cluster = await createJobCluster(
      async () => (await import("node:fs")).statSync("large", { throwIfNoEntry: false })?.size ?? 0,
      { nodes, ...quiet }
    )
    // The node may be another's until it has run something.
    await cluster.run()
    await cluster.sendFile(file, nodes)
    return await cluster.run()
  },
  "a file of a job": async (nodes, directory) => {
    await using cluster = await createJobCluster(async (size: number) => {
      const { truncateSync, writeFileSync } = await import("node:fs")
      writeFileSync("large", "")
      truncateSync("large", size)
      return await dispy.sendFile("large")
    }, { nodes, filesDirectory: directory, ...quiet })
    await cluster.run(sizeBytes)
    return fs.statSync(join(directory, "large")).size
  }
}
