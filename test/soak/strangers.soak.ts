/**
 * A flood of connections for a minute, and 2,000 slow ones for ten (SLOW_SECONDS), every other time; about 12 minutes on two
 * cores. Delays are compared between rounds with and without them, so that what else the machine does is in both.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import { createInterface } from "node:readline"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { createJobCluster } from "../../src/promise.ts"
import * as DaemonClient from "../support/DaemonClient.ts"

const fixture = fileURLToPath(new URL("../fixtures/integration/slowStrangers.ts", import.meta.url))

/** So long strangers are there, and so long they are not. */
const roundMillis = 15_000

const slowMillis = 1000 * Number(process.env["SLOW_SECONDS"] ?? 600)

const aDaemon = Effect.gen(function*() {
  const { address, daemon } = yield* DaemonClient.startReady()
  const port = address._tag === "Tcp" ? address.port : 0
  const cluster = yield* Effect.acquireRelease(
    Effect.promise(() => createJobCluster((n: number) => n * 2, { nodes: `127.0.0.1:${port}` })),
    (made) => Effect.promise(() => made.close())
  )
  const descriptors = (): number => fs.readdirSync(`/proc/${daemon.child.pid}/fd`).length
  const residentMiB = (): number => {
    const status = fs.readFileSync(`/proc/${daemon.child.pid}/status`, "latin1")
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
  }
  return { port, cluster, descriptors, residentMiB }
})

const timeJobs = async (run: (n: number) => Promise<number>, count: number): Promise<ReadonlyArray<number>> => {
  const times: Array<number> = []
  for (let n = 0; n < count; n++) {
    const start = performance.now()
    expect(await run(n)).toBe(n * 2)
    times.push(performance.now() - start)
  }
  return times
}

const p99 = (times: ReadonlyArray<number>): number => times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)]!

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}

/** They are on other machines in life: here in a process of their own that takes no time from those that work. */
const slowStrangers = (port: number, count: number) => {
  const child = spawn("nice", ["-n", "19", process.execPath, fixture, String(port), String(count)], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return {
    made: lines.next(),
    end: async (): Promise<{ readonly dropped: number; readonly longestMillis: number }> => {
      child.stdin.end()
      return JSON.parse((await lines.next()).value ?? "{}")
    }
  }
}

describe("strangers", () => {
  it.live(
    "that connect 1,000 times a second for a minute are bounded, and gone in five seconds",
    () =>
      Effect.gen(function*() {
        const { cluster, descriptors, port, residentMiB } = yield* aDaemon
        expect(yield* Effect.promise(() => cluster.run(1))).toBe(2)
        const before = descriptors()
        let most = before
        let made = 0
        const startMiB = residentMiB()
        const open = new Set<net.Socket>()
        const until = performance.now() + 60_000
        const flood = async (): Promise<void> => {
          for (let next = performance.now(); next < until; next += 50) {
            for (let n = 0; n < 50; n++) {
              const socket = net.connect(port, "127.0.0.1")
              open.add(socket)
              made++
              socket.on("error", () => {}).once("close", () => open.delete(socket)).resume()
              // Some say something, some hang up, and the others stay for as long as they may.
              if (n % 5 === 0) socket.write(Uint8Array.of(n))
              if (n % 5 === 1) socket.once("connect", () => socket.destroy())
            }
            most = Math.max(most, descriptors())
            await pause(Math.max(0, next + 50 - performance.now()))
          }
        }
        const work = async (): Promise<number> => {
          let done = 0
          while (performance.now() < until) {
            await cluster.run(done++)
            await pause(100)
          }
          return done
        }
        const [, done] = yield* Effect.promise(() => Promise.all([flood(), work()]))
        const end = performance.now()
        for (const socket of open) socket.destroy()
        yield* Effect.promise(async () => {
          while (descriptors() > before + 2 && performance.now() - end < 20_000) await pause(50)
        })
        const seconds = (performance.now() - end) / 1000
        process.stdout.write(
          `${made} connections, ${done} jobs meanwhile; descriptors ${before}, at most ${most}; recovered in` +
            ` ${seconds.toFixed(1)} s; RSS ${startMiB.toFixed(0)} and ${residentMiB().toFixed(0)} MiB\n`
        )
        expect(made).toBeGreaterThan(50_000)
        expect(most).toBeLessThan(before + 256 + 128)
        expect(seconds).toBeLessThan(5)
        expect(done).toBeGreaterThan(100)
        expect(yield* Effect.promise(() => cluster.run(21))).toBe(42)
      }),
    300_000
  )

  it.live(
    "that keep 2,000 slow connections for ten minutes are each dropped at the deadline, and delay no job",
    () =>
      Effect.gen(function*() {
        const { cluster, port } = yield* aDaemon
        const run = (n: number): Promise<number> => cluster.run(n)
        yield* Effect.promise(() => timeJobs(run, 500))
        let [dropped, longest] = [0, 0]
        const crowded = async (work: () => Promise<number>): Promise<number> => {
          const strangers = slowStrangers(port, 2000)
          await strangers.made
          const value = await work()
          const told = await strangers.end()
          dropped += told.dropped
          longest = Math.max(longest, told.longestMillis)
          return value
        }
        const aRound = async (): Promise<number> => {
          const times: Array<number> = []
          const until = performance.now() + roundMillis
          while (performance.now() < until || times.length < 1000) {
            times.push(...await timeJobs(run, 50))
            await pause(100)
          }
          return p99(times)
        }
        const [alone, together]: [Array<number>, Array<number>] = [[], []]
        for (let spent = 0, n = 0; spent < slowMillis || n < 6; spent += roundMillis, n++) {
          // Without, with, with, without: what changes slowly is in both alike.
          const isAlone = n % 4 === 0 || n % 4 === 3
          if (isAlone) alone.push(yield* Effect.promise(aRound))
          else together.push(yield* Effect.promise(() => crowded(aRound)))
        }
        const ratio = median(together) / median(alone)
        process.stdout.write(
          `${dropped} dropped, the slowest after ${
            (longest / 1000).toFixed(1)
          } s; p99 in ${alone.length} rounds without` +
            ` ${alone.map((one) => one.toFixed(1)).join(", ")} ms, with ${
              together.map((one) => one.toFixed(1)).join(", ")
            }` +
            ` ms; ratio of the medians ${ratio.toFixed(2)}\n`
        )
        expect(dropped).toBeGreaterThan(2000)
        expect(longest).toBeLessThan(6000)
        expect(ratio).toBeLessThan(2)
      }),
    1_800_000
  )
})
