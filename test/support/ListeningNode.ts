/** A node on a free port of 127.0.0.1 in this process, over a scripted executor. */
import { Effect, Layer, References } from "effect"
import { type Credentials as DomainCredentials, none } from "../../src/domain/security/Credentials.ts"
import * as HostStatsFixed from "../../src/layers/host/HostStatsFixed.ts"
import * as NodeListener from "../../src/layers/node/NodeListener.ts"
import * as NodeServer from "../../src/layers/node/NodeServer.ts"
import * as Credentials from "../../src/services/Credentials.ts"
import type * as NodeConfig from "../../src/services/NodeConfig.ts"
import { NodeEndpoints } from "../../src/services/NodeEndpoints.ts"
import * as NodeSettings from "./NodeSettings.ts"
import * as ScriptedExecutor from "./ScriptedExecutor.ts"

/** A node that listens with these settings and credentials: its addresses, the first port, and what its jobs do. */
export const aListeningNode = Effect.fnUntraced(function*(
  settings: Partial<NodeConfig.NodeSettings> = {},
  credentials: DomainCredentials = none
) {
  const { layer: executor, script } = ScriptedExecutor.make()
  const context = yield* Layer.build(
    NodeListener.layer.pipe(
      Layer.provide(NodeServer.layer),
      Layer.provide([
        executor,
        HostStatsFixed.layer(),
        NodeSettings.layer({ name: "n1", port: 0, addresses: ["127.0.0.1"], ...settings }),
        Credentials.layer(credentials)
      ])
    )
  ).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  const { addresses } = yield* Effect.provideContext(NodeEndpoints, context)
  const [first] = addresses
  return { addresses, port: first?._tag === "Tcp" ? first.port : 0, script }
})
