/** A node on a free port of 127.0.0.1 in this process, over a scripted executor. */
import { Effect, Layer, References, type Scope } from "effect"
import type { NodeAddress } from "../../src/domain/NodeAddress.ts"
import { type Credentials as DomainCredentials, none } from "../../src/domain/security/Credentials.ts"
import * as HostStatsFixed from "../../src/layers/host/HostStatsFixed.ts"
import * as NodeListener from "../../src/layers/node/NodeListener.ts"
import * as NodeServer from "../../src/layers/node/NodeServer.ts"
import * as Credentials from "../../src/services/Credentials.ts"
import type * as NodeConfig from "../../src/services/NodeConfig.ts"
import { NodeEndpoints } from "../../src/services/NodeEndpoints.ts"
import * as NodeSettings from "./NodeSettings.ts"
import * as ScriptedExecutor from "./ScriptedExecutor.ts"

/** A node that listens with these settings and credentials; its addresses. */
export const listening = (
  settings: Partial<NodeConfig.NodeSettings> = {},
  credentials: DomainCredentials = none
): Effect.Effect<ReadonlyArray<NodeAddress>, never, Scope.Scope> =>
  Layer.build(
    NodeListener.layer.pipe(
      Layer.provide(NodeServer.layer),
      Layer.provide([
        ScriptedExecutor.make().layer,
        HostStatsFixed.layer(),
        NodeSettings.layer({ name: "n1", port: 0, addresses: ["127.0.0.1"], ...settings }),
        Credentials.layer(credentials)
      ])
    )
  ).pipe(
    Effect.flatMap((context) => Effect.provideContext(NodeEndpoints, context)),
    Effect.map(({ addresses }) => addresses),
    Effect.provideService(References.MinimumLogLevel, "None"),
    Effect.orDie
  )

/** The port of the first address. */
export const portOf = (addresses: ReadonlyArray<NodeAddress>): number => {
  const [first] = addresses
  return first?._tag === "Tcp" ? first.port : 0
}
