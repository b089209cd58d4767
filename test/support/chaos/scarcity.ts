/** Row E2: nodes without enough files, processes or memory. They do less for a while, say why, and do not die. */
import * as fs from "node:fs"
import * as net from "node:net"
import { join } from "node:path"
import { expect } from "vitest"
import { createJobCluster } from "../../../src/promise.ts"
import { eventually } from "../Eventually.ts"
import type { Chaos } from "./Chaos.ts"
import type { ChaosNode } from "./ChaosNode.ts"

const double = (n: number): number => n * 2

/** Jobs of a new cluster of the node; rejects when it has none of them. */
const works = async (node: ChaosNode): Promise<void> => {
  await using cluster = await createJobCluster(double, { nodes: node.address, recoverFile: false, logLevel: "none" })
  expect(await Promise.all([1, 2, 3].map((n) => cluster.run(n)))).toEqual([2, 4, 6])
}

/** Files that a node may have open: so few that strangers can take them all. */
const maxFiles = 64

/** EMFILE: strangers take all files that the node may open. Jobs of its client go on; when they are gone, all is well. */
export const files = async (chaos: Chaos, times: number): Promise<string> => {
  const node = await chaos.node("n0", { args: ["--cpus", "1"], command: ["prlimit", `--nofile=${maxFiles}`] })
  const open = (): number => fs.readdirSync(`/proc/${node.pid()}/fd`).length
  await using cluster = await createJobCluster(double, { nodes: node.address, recoverFile: false, logLevel: "none" })
  expect(await cluster.run(1)).toBe(2)
  let before = Infinity
  for (let time = 0; time < times; time++) {
    const strangers = Array.from({ length: maxFiles }, () => {
      const socket = net.connect(node.port, "127.0.0.1")
      return socket.on("error", () => {}).resume()
    })
    await eventually(() => expect(open()).toBeGreaterThanOrEqual(maxFiles - 1))
    expect(await cluster.run(time)).toBe(time * 2)
    for (const socket of strangers) socket.destroy()
    await eventually(() => expect(open()).toBeLessThan(maxFiles - 8))
    await works(node)
    // After the first time all slots there will be are there.
    if (time === 0) before = open()
    await eventually(() => expect(open()).toBeLessThanOrEqual(before))
  }
  return `E2 (EMFILE): ${times} times, ${before} files open before and ${open()} after`
}

/** A group of processes with a limit. */
interface Cgroup {
  /** Where its files are. */
  readonly directory: string
  readonly set: (file: string, value: string | number) => void
  readonly get: (file: string) => string
  /** What starts a program in it. */
  readonly command: ReadonlyArray<string>
  readonly remove: () => void
}

const root = "/sys/fs/cgroup"

/** Why there can be no groups with a limit of this kind; undefined when there can. Version 1 only, which can be nested here. */
export const missing = (controller: "pids" | "memory"): string | undefined => {
  try {
    fs.rmdirSync(fs.mkdtempSync(join(root, controller, "dispy-test-")))
    return undefined
  } catch {
    return `no ${controller} cgroup can be made below ${root}/${controller}`
  }
}

const cgroup = (controller: "pids" | "memory"): Cgroup => {
  const directory = fs.mkdtempSync(join(root, controller, "dispy-test-"))
  const get = (file: string): string => fs.readFileSync(join(directory, file), "utf8").trim()
  return {
    directory,
    get,
    set: (file, value) => fs.writeFileSync(join(directory, file), String(value)),
    command: ["sh", "-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"", directory],
    remove: () => fs.rmdirSync(directory)
  }
}

const inCgroup = async <A>(controller: "pids" | "memory", use: (group: Cgroup) => Promise<A>): Promise<A> => {
  const group = cgroup(controller)
  try {
    return await use(group)
  } finally {
    await eventually(() => group.remove())
  }
}

const stop = async (node: ChaosNode): Promise<void> => {
  node.signal("SIGTERM")
  await node.ended()
}

const exit = (): never => process.exit(3)

/** EAGAIN on fork: slots die and none can be started in their place. When there may be more processes, jobs go on. */
export const processes = (chaos: Chaos, times: number): Promise<string> =>
  inCgroup("pids", async (group) => {
    const node = await chaos.node("n0", { args: ["--cpus", "1"], command: group.command })
    try {
      for (let time = 0; time < times; time++) {
        await using cluster = await createJobCluster(exit, {
          nodes: node.address,
          recoverFile: false,
          logLevel: "none"
        })
        const crash = (): Promise<unknown> => cluster.run().then(() => undefined, (error: unknown) => error)
        expect(await crash()).toMatchObject({ _tag: "JobCrashed" })
        // Those that there are and no other, however many of them end.
        group.set("pids.max", 1)
        // More of them than slots that wait.
        const crashes = Array.from({ length: 5 }, crash)
        await eventually(() => expect(Number(group.get("pids.events").split(" ")[1])).toBeGreaterThan(time))
        group.set("pids.max", "max")
        for (const crashed of await Promise.all(crashes)) expect(crashed).toMatchObject({ _tag: "JobCrashed" })
      }
      await works(node)
      return `E2 (EAGAIN): ${times} times, ${group.get("pids.events").split(" ")[1]} forks refused`
    } finally {
      await stop(node)
    }
  })

const hoard = (mebibytes: number): number => {
  const all: Array<Uint8Array> = []
  for (let n = 0; n < mebibytes; n++) all.push(new Uint8Array(2 ** 20).fill(1))
  return all.length
}

/** ENOMEM: a job takes all memory of the node's group. The kernel kills the slot, not the daemon; other jobs go on. */
export const memory = (chaos: Chaos, times: number): Promise<string> =>
  inCgroup("memory", async (group) => {
    const node = await chaos.node("n0", { args: ["--cpus", "1"], command: group.command })
    try {
      await works(node)
      const spare = 256 * 2 ** 20
      group.set("memory.limit_in_bytes", Number(group.get("memory.usage_in_bytes")) + spare)
      const pid = node.pid()
      for (let time = 0; time < times; time++) {
        await using cluster = await createJobCluster(hoard, {
          nodes: node.address,
          recoverFile: false,
          logLevel: "none"
        })
        const error = await cluster.run(1024).then(() => undefined, (failed: unknown) => failed)
        expect(error).toMatchObject({ _tag: "JobCrashed", signal: "SIGKILL" })
        expect(await cluster.run(1)).toBe(1)
      }
      expect(node.pid()).toBe(pid)
      await works(node)
      return `E2 (ENOMEM): ${times} times, the daemon lives`
    } finally {
      await stop(node)
    }
  })
