import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as FileTransferMemory from "../../../src/layers/bulk/FileTransferMemory.ts"
import * as FileTransferSocket from "../../../src/layers/bulk/FileTransferSocket.ts"
import * as HostStatsFixed from "../../../src/layers/host/HostStatsFixed.ts"
import * as NodeLinkMemory from "../../../src/layers/link/NodeLinkMemory.ts"
import * as NodeLinkSocket from "../../../src/layers/link/NodeLinkSocket.ts"
import * as NodeListener from "../../../src/layers/node/NodeListener.ts"
import * as NodeServer from "../../../src/layers/node/NodeServer.ts"
import * as NodeConfig from "../../../src/services/NodeConfig.ts"
import { NodeEndpoints } from "../../../src/services/NodeEndpoints.ts"
import { suite } from "../../conformance/FileTransfer.ts"
import * as DialOut from "../../support/DialOut.ts"
import * as ScriptedExecutor from "../../support/ScriptedExecutor.ts"

const aNode = Effect.gen(function*() {
  const home = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-transfer-"))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  )
  const directory = path.join(home, "client")
  fs.mkdirSync(directory)
  const { layer: executor, script } = ScriptedExecutor.make()
  const config = NodeConfig.layer({
    name: "subject",
    incarnation: "1",
    addresses: ["127.0.0.1"],
    port: 0,
    directory: path.join(home, "prefix", "node", "run"),
    maxFileBytes: 10_000_000
  })
  const server = NodeServer.layer.pipe(
    Layer.provide(executor),
    Layer.provideMerge(Layer.mergeAll(HostStatsFixed.layer(), config))
  )
  const opened = (id: string) => {
    const { directory: work = "", onFile, valuesDirectory: values = "" } = script.computations.get(id)!.request
    return { directory: work, values, sendFile: onFile! }
  }
  return { server, opened, home: path.join(home, "prefix"), directory }
})

suite({
  name: "memory",
  make: Effect.gen(function*() {
    const { server, ...made } = yield* aNode
    const context = yield* Layer.build(
      Layer.mergeAll(NodeLinkMemory.layer, FileTransferMemory.layer).pipe(Layer.provide(server))
    )
    return { ...made, layer: Layer.succeedContext(context), address: { _tag: "Unix", path: "memory" } as const }
  })
})

suite({
  name: "TCP",
  make: Effect.gen(function*() {
    const { server, ...made } = yield* aNode
    const context = yield* Layer.build(NodeListener.layer.pipe(Layer.provide(server)))
    const { addresses } = yield* Effect.provideContext(NodeEndpoints, context)
    return { ...made, layer: Layer.mergeAll(NodeLinkSocket.layer, FileTransferSocket.layer), address: addresses[0]! }
  })
})

suite({
  name: "TCP that the node dialled",
  make: Effect.gen(function*() {
    const { server, ...made } = yield* aNode
    const context = yield* Layer.build(NodeListener.layer.pipe(Layer.provideMerge(server)))
    const { address, parking } = yield* Effect.provideContext(DialOut.reached, context)
    const layer = Layer.mergeAll(NodeLinkSocket.layer, FileTransferSocket.layer).pipe(Layer.provide(parking))
    return { ...made, layer, address }
  })
})
