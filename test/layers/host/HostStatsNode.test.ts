/** What this machine tells of itself is in range, and changes with what it does. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as os from "node:os"
import * as HostStatsNode from "../../../src/layers/host/HostStatsNode.ts"
import { HostStats } from "../../../src/services/HostStats.ts"

describe("HostStatsNode", () => {
  it.live("tells name, cores and platform of this machine", () =>
    Effect.gen(function*() {
      const stats = yield* HostStats
      expect(stats.hostName).toBe(os.hostname())
      expect(stats.cpus).toBe(os.availableParallelism())
      expect(stats.platform).toBe(`${process.platform}-${process.arch} ${os.release()} node-${process.versions.node}`)
    }).pipe(Effect.provide(HostStatsNode.layer)))

  it.live("tells what is to spare, in percent and bytes", () =>
    Effect.gen(function*() {
      const { availInfo } = yield* HostStats
      const info = yield* availInfo(os.tmpdir())
      for (const percent of [info.cpu, info.swap]) {
        expect(percent).toBeGreaterThanOrEqual(0)
        expect(percent).toBeLessThanOrEqual(100)
      }
      expect(info.memory).toBeGreaterThan(1024 ** 2)
      expect(info.memory).toBeLessThanOrEqual(os.totalmem())
      expect(info.disk).toBeGreaterThan(0)
    }).pipe(Effect.provide(HostStatsNode.layer)))

  it.live("sees that this core was busy since the reading before", () =>
    Effect.gen(function*() {
      const { availInfo } = yield* HostStats
      yield* availInfo(os.tmpdir())
      const end = process.cpuUsage().user + 300_000
      while (process.cpuUsage().user < end);
      const { cpu } = yield* availInfo(os.tmpdir())
      expect(cpu).toBeLessThan(100 - 50 / os.cpus().length)
    }).pipe(Effect.provide(HostStatsNode.layer)))

  it.live("tells no disk where there is no directory", () =>
    Effect.gen(function*() {
      const { availInfo } = yield* HostStats
      expect((yield* availInfo("/no/such/directory")).disk).toBe(0)
    }).pipe(Effect.provide(HostStatsNode.layer)))
})
