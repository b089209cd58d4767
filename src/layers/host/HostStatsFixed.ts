/** A machine made up for tests. */
import { Effect, Layer } from "effect"
import type { AvailInfo } from "../../domain/NodeInfo.ts"
import { HostStats } from "../../services/HostStats.ts"

/** What an idle, made-up machine has to spare. */
const idle: AvailInfo = { cpu: 100, memory: 8 * 1024 ** 3, disk: 100 * 1024 ** 3, swap: 100 }

/** A machine that always tells the same. */
export const layer = (stats?: {
  readonly hostName?: string
  readonly cpus?: number
  readonly platform?: string
  readonly availInfo?: Partial<AvailInfo>
}): Layer.Layer<HostStats> =>
  Layer.succeed(
    HostStats,
    HostStats.of({
      hostName: stats?.hostName ?? "testhost",
      cpus: stats?.cpus ?? 2,
      platform: stats?.platform ?? "test-x64 1.0 node-24",
      availInfo: () => Effect.succeed({ ...idle, ...stats?.availInfo })
    })
  )
