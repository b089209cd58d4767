/** Row E1: disks of nodes and clients that are full or read-only, wherever something is written there. */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs"
import { join } from "node:path"
import { expect } from "vitest"
import { createJobCluster, type PromiseJobCluster } from "../../../src/promise.ts"
import * as SmallDisk from "../SmallDisk.ts"
import type { Chaos } from "./Chaos.ts"
import type { ChaosNode } from "./ChaosNode.ts"

const mebibyte = 2 ** 20

/**
 * What is written while there is room; and while there is none: more than all that is still to be removed of what was
 * written before, so that there is no room for it by chance.
 */
const [fineBytes, largeBytes] = [20 * mebibyte, 48 * mebibyte]
const diskMebibytes = 160

/** Runs on the node. */
const write = async (what: "file" | "result" | "sent" | "nothing", bytes: number, argument?: Uint8Array) => {
  const files = process.getBuiltinModule("node:fs")
  if (what === "file") {
    files.writeFileSync("own", new Uint8Array(bytes))
    files.rmSync("own")
  }
  if (what === "sent") await dispy.sendFile("sent")
  return what === "result" ? new Uint8Array(bytes) : argument?.length ?? 0
}

type Cluster = PromiseJobCluster<Parameters<typeof write>, Awaited<ReturnType<typeof write>>>

/** What is written, and where it cannot be. */
interface Site {
  readonly disk: "node" | "client"
  readonly attempt: (cluster: Cluster, node: ChaosNode, big: string, bytes: number) => Promise<unknown>
  /** `_tag` of the error that it ends with while there is no room. */
  readonly error: string
}

const opened = async (options: Parameters<typeof createJobCluster>[1]): Promise<void> => {
  const cluster = await createJobCluster(write, { logLevel: "none", recoverFile: false, ...options } as never)
  await cluster.close()
}

/** Everything that a node writes for a client, and a client for a job. */
const sites: Readonly<Record<string, Site>> = {
  "a file that the client sends": {
    disk: "node",
    attempt: (cluster, node, big) => cluster.sendFile(big, node.address),
    error: "TransferFailed"
  },
  "a large argument": {
    disk: "node",
    attempt: (cluster, _node, _big, bytes) => cluster.run("nothing", 0, new Uint8Array(bytes)),
    error: "ValueNotTransferred"
  },
  "a large result": {
    disk: "node",
    attempt: (cluster, _node, _big, bytes) => cluster.run("result", bytes),
    error: "ValueNotTransferred"
  },
  "a job's own file": {
    disk: "node",
    attempt: (cluster, _node, _big, bytes) => cluster.run("file", bytes),
    error: "JobFailed"
  },
  "files of a computation": {
    disk: "node",
    attempt: (_cluster, node, big) => opened({ nodes: node.address, depends: [big] }),
    error: "ComputationRefused"
  },
  "what setup returns": {
    disk: "node",
    attempt: (_cluster, node, _big, bytes) =>
      opened({ nodes: node.address, setup: (size: number) => new Uint8Array(size), setupArgs: [bytes] }),
    error: "ComputationRefused"
  },
  "a file that a job sends": {
    disk: "client",
    attempt: (cluster) => cluster.run("sent", 0),
    error: "JobFailed"
  }
}

/** Takes all room that there is; what it returns gives it back. */
const fill = (disk: string): () => void => {
  const ballast = join(disk, "ballast")
  const file = fs.openSync(ballast, "w")
  for (const size of [mebibyte, 65_536, 4096]) {
    try {
      for (;;) fs.writeSync(file, new Uint8Array(size))
    } catch {
      // There is no room for so much.
    }
  }
  fs.closeSync(file)
  return () => fs.rmSync(ballast)
}

/** Makes a disk useless; what it returns gives it back. */
export const waysToFail = {
  full: (disk: string) =>
    Effect.sync(() => {
      const free = fill(disk)
      return Effect.sync(free)
    }),
  "read-only": (disk: string) => Effect.as(SmallDisk.setReadOnly(disk, true), SmallDisk.setReadOnly(disk, false))
} as const

/** What an error says, with its causes. */
const said = (error: unknown): string =>
  error instanceof Error ? `${error.message} ${error.cause === undefined ? "" : said(error.cause)}` : String(error)

/** What each site said. */
export type Told = Readonly<Record<string, string>>

/** Fails each site so many times, each time once more with room. Undefined where this user can mount nothing. */
export const failing = Effect.fnUntraced(function*(
  chaos: Chaos,
  way: keyof typeof waysToFail,
  times: number
): Effect.fn.Return<Told | undefined, never, Scope.Scope> {
  const [nodeDisk, clientDisk] = [yield* SmallDisk.make(diskMebibytes), yield* SmallDisk.make(diskMebibytes)]
  if (nodeDisk === undefined || clientDisk === undefined) return undefined
  const big = join(chaos.directory(), "big")
  const node = yield* Effect.promise(() => chaos.node("n0", { prefix: nodeDisk, args: ["--cpus", "1"] }))
  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      node.signal("SIGTERM")
      await node.ended()
    })
  )
  const cluster: Cluster = yield* Effect.acquireRelease(
    Effect.promise(() =>
      createJobCluster(write, {
        nodes: node.address,
        filesDirectory: clientDisk,
        recoverFile: false,
        logLevel: "none"
      })
    ),
    (made) => Effect.promise(() => made.close({ timeout: 0, terminate: true }))
  )
  const sent = join(chaos.directory(), "sent")
  fs.writeFileSync(sent, new Uint8Array(fineBytes))
  yield* Effect.promise(() => cluster.sendFile(sent, node.address))
  const told: Record<string, string> = {}
  for (const [name, { attempt, disk, error }] of Object.entries(sites)) {
    // While a daemon has files open for writing, its disk cannot be made read-only; see `SpoolDisk.test.ts` for that.
    if (way === "read-only" && disk === "node") continue
    for (let time = 0; time < times; time++) {
      // Content that the node has already is not sent again.
      fs.writeFileSync(big, Buffer.alloc(largeBytes, `${name} ${time} large`))
      const directory = disk === "node" ? nodeDisk : clientDisk
      const restore = yield* waysToFail[way](directory)
      const failed = yield* Effect.promise(() =>
        attempt(cluster, node, big, largeBytes).then(() => undefined, (thrown: unknown) => thrown)
      )
      told[name] = said(failed)
      expect.soft(failed, `${name}: ${told[name]}`).toMatchObject({ _tag: error })
      expect.soft(told[name], name).toMatch(way === "full" ? /ENOSPC|no space/ : /EROFS|read-only/)
      if (name !== "a job's own file") expect.soft(told[name], name).toContain(directory)
      // Small ones need no disk, and the node is as well as before.
      expect(yield* Effect.promise(() => cluster.run("nothing", 0))).toBe(0)
      yield* restore
      fs.writeFileSync(big, Buffer.alloc(fineBytes, `${name} ${time}`))
      const again = yield* Effect.promise(() => attempt(cluster, node, big, fineBytes).then(() => undefined, said))
      expect.soft(again, `${name}, with room again`).toBe(undefined)
    }
  }
  return told
})
