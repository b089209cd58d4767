/** The control connection to handlers in the same process, without sockets: for tests and simulations. */
import { Effect, Layer } from "effect"
import { type Rpc, type RpcGroup, RpcTest } from "effect/rpc"
import { protocolVersion } from "../../domain/NodeInfo.ts"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import { packageVersion } from "../../domain/Version.ts"
import { NodeLink } from "../../services/NodeLink.ts"
import * as NodeConnectionRpc from "./NodeConnectionRpc.ts"

/** Connects every address to the handlers in the context. */
export const layer: Layer.Layer<NodeLink, never, Rpc.ToHandler<RpcGroup.Rpcs<typeof NodeRpcs>>> = Layer.effect(
  NodeLink,
  Effect.gen(function*() {
    const handlers = yield* Effect.context<Rpc.ToHandler<RpcGroup.Rpcs<typeof NodeRpcs>>>()
    const connect = Effect.fn("NodeLink.connect")(function*() {
      const rpc = yield* RpcTest.makeClient(NodeRpcs).pipe(Effect.provideContext(handlers))
      const info = yield* rpc.Hello({ protocol: protocolVersion, version: packageVersion })
      return NodeConnectionRpc.make("memory", "127.0.0.1", info, rpc)
    })
    return NodeLink.of({ connect })
  })
)
