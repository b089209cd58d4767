/**
 * A flood of connections for a minute, and 2,000 slow ones for ten (SLOW_SECONDS); about 12 minutes on two cores, on which
 * nothing else is to run: delays are compared.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import { setTimeout as pause } from "node:timers/promises"
import { createJobCluster } from "../../src/promise.ts"
import * as DaemonClient from "../support/DaemonClient.ts"

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
        const alone = p99(yield* Effect.promise(() => timeJobs(run, 5000)))
        const until = performance.now() + slowMillis
        let longest = 0
        let dropped = 0
        const one = async (): Promise<void> => {
          while (performance.now() < until) {
            const start = performance.now()
            const socket = net.connect(port, "127.0.0.1", () => socket.write(Uint8Array.of(0x80)))
            await new Promise<void>((resolve) => socket.on("error", () => {}).once("close", () => resolve()).resume())
            longest = Math.max(longest, performance.now() - start)
            dropped++
            // A new one in place of it, but no flood.
            await pause(5000)
          }
        }
        const slow = Promise.all(Array.from({ length: 2000 }, one))
        const times: Array<number> = []
        yield* Effect.promise(async () => {
          while (performance.now() < until) {
            times.push(...await timeJobs(run, 50))
            await pause(1000)
          }
          await slow
        })
        process.stdout.write(
          `${dropped} dropped, the slowest after ${(longest / 1000).toFixed(1)} s; p99 ${alone.toFixed(1)} and` +
            ` ${p99(times).toFixed(1)} ms\n`
        )
        expect(longest).toBeLessThan(6000)
        expect(p99(times)).toBeLessThan(Math.max(2 * alone, 10))
      }),
    900_000
  )
})
