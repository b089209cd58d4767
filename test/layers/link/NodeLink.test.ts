import { Effect, Layer } from "effect"
import type { NodeAddress } from "../../../src/domain/NodeAddress.ts"
import * as JobExecutorMemory from "../../../src/layers/executor/JobExecutorMemory.ts"
import * as HostStatsFixed from "../../../src/layers/host/HostStatsFixed.ts"
import * as NodeLinkLasting from "../../../src/layers/link/NodeLinkLasting.ts"
import * as NodeLinkMemory from "../../../src/layers/link/NodeLinkMemory.ts"
import * as NodeLinkSocket from "../../../src/layers/link/NodeLinkSocket.ts"
import * as NodeListener from "../../../src/layers/node/NodeListener.ts"
import * as NodeServer from "../../../src/layers/node/NodeServer.ts"
import * as FaultsMemory from "../../../src/layers/testing/FaultsMemory.ts"
import * as ExecutorConfig from "../../../src/services/ExecutorConfig.ts"
import { NodeEndpoints } from "../../../src/services/NodeEndpoints.ts"
import type { NodeLink } from "../../../src/services/NodeLink.ts"
import { suite } from "../../conformance/NodeLink.ts"
import * as DialOut from "../../support/DialOut.ts"
import * as NodeSettings from "../../support/NodeSettings.ts"

const server = NodeServer.layer.pipe(
  Layer.provide(JobExecutorMemory.layer),
  Layer.provideMerge(Layer.mergeAll(
    HostStatsFixed.layer(),
    NodeSettings.layer({ name: "subject", incarnation: "1", addresses: ["127.0.0.1"], port: 0 }),
    ExecutorConfig.layer({ cpus: 2, environment: {} })
  ))
)

const inMemory: NodeAddress = { _tag: "Unix", path: "memory" }

suite({
  name: "memory",
  make: Effect.map(Layer.build(NodeLinkMemory.layer.pipe(Layer.provide(server))), (context) => ({
    link: Layer.succeedContext(context),
    address: inMemory
  }))
})

const overTcp = (link: Layer.Layer<NodeLink>) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(NodeListener.layer.pipe(Layer.provide(server)))
    const { addresses } = yield* Effect.provideContext(NodeEndpoints, context)
    return { link, address: addresses[0]! }
  })

suite({ name: "TCP", make: overTcp(NodeLinkSocket.layer) })

suite({ name: "TCP, lasting", make: overTcp(Layer.provide(NodeLinkLasting.layer, NodeLinkSocket.layer)) })

suite({
  name: "TCP that the node dialled",
  make: Effect.gen(function*() {
    const context = yield* Layer.build(NodeListener.layer.pipe(Layer.provideMerge(server)))
    const { address, parking } = yield* Effect.provideContext(DialOut.reached, context)
    return { link: NodeLinkSocket.layer.pipe(Layer.provide(parking)), address }
  })
})

suite({
  name: "memory, with faults",
  make: Effect.map(FaultsMemory.make([{ name: "subject", cpus: 2 }]), ({ network }) => ({
    link: Layer.succeedContext(network.services),
    address: { _tag: "Tcp", host: "subject", port: 51348 } as const
  }))
})
