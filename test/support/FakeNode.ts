/** Something that speaks the control protocol and is no node. */
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { Effect, Layer } from "effect"
import { RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
import { SocketServer } from "effect/socket"
import { VersionMismatch } from "../../src/domain/NodeError.ts"
import { maxFrameBytes } from "../../src/domain/NodeInfo.ts"
import { Hello } from "../../src/domain/NodeRpcs.ts"

const greeting = RpcGroup.make(Hello)

/** Listens on a free port of 127.0.0.1, and refuses every greeting as a node of another version does; yields the port. */
export const ofVersion = Effect.fnUntraced(function*(nodeVersion: string) {
  const server = yield* NodeSocketServer.make({ host: "127.0.0.1", port: 0 })
  const handlers = greeting.toLayer({
    Hello: ({ version }) => Effect.fail(new VersionMismatch({ node: "fake", nodeVersion, clientVersion: version }))
  })
  yield* Layer.build(
    RpcServer.layer(greeting).pipe(
      Layer.provide(handlers),
      Layer.provide(RpcServer.layerProtocolSocketServer),
      Layer.provide(Layer.succeed(SocketServer.SocketServer, server)),
      Layer.provide(RpcSerialization.layerSchemaBinary({ maxFrameSize: maxFrameBytes }))
    )
  )
  return server.address._tag === "UnixPathAddress" ? 0 : server.address.port
})
