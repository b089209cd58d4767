/**
 * The control connection over TCP, or over a socket in the file system for the
 * node embedded in this client: `effect/rpc` in its binary form, one connection
 * per client and node.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { Duration, Effect, Layer, Schedule } from "effect"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { Socket } from "effect/socket"
import * as net from "node:net"
import * as IpAddress from "../../domain/IpAddress.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import { maxFrameBytes, protocolVersion } from "../../domain/NodeInfo.ts"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import { packageVersion } from "../../domain/Version.ts"
import { NodeLink } from "../../services/NodeLink.ts"
import * as NodeConnectionRpc from "./NodeConnectionRpc.ts"

/** How long a node may take to accept a connection, and then to say hello. */
const answerTimeout = Duration.seconds(5)

/** A node that answers no ping for this long is taken as gone. */
const pingInterval = Duration.seconds(10)

/** Connects, and tells where to: of a host's addresses the one that answered is known only then. */
const openSocket = (
  address: NodeAddress.NodeAddress,
  isBackground: boolean,
  onOpen: (ipAddr: string) => void
) =>
  NodeSocket.fromDuplex(
    Effect.gen(function*() {
      const connection = yield* Effect.acquireRelease(
        Effect.sync(() =>
          net.createConnection(
            address._tag === "Unix" ? { path: address.path } : { host: address.host, port: address.port, noDelay: true }
          )
        ),
        // What was written last is still to arrive: a lease that is released, say.
        (opened) => Effect.sync(() => opened.connecting ? opened.destroy() : opened.destroySoon())
      )
      return yield* Effect.callback<net.Socket, Socket.SocketError>((resume) => {
        if (isBackground) connection.unref()
        connection.once("connect", () => {
          onOpen(connection.remoteAddress ?? "127.0.0.1")
          resume(Effect.succeed(connection))
        })
        connection.on("error", (cause) => {
          const reason = new Socket.SocketOpenError({ kind: "Unknown", cause })
          resume(Effect.fail(new Socket.SocketError({ reason })))
        })
      })
    }),
    { openTimeout: answerTimeout }
  )

const connect = Effect.fn("NodeLink.connect")(function*(address: NodeAddress.NodeAddress, isBackground: boolean) {
  const name = NodeAddress.format(address)
  let ipAddr = ""
  const socket = yield* openSocket(address, isBackground, (connected) => (ipAddr = IpAddress.canonical(connected)))
  const protocol = yield* RpcClient.makeProtocolSocket({ pingInterval, retryPolicy: Schedule.recurs(0) }).pipe(
    Effect.provideService(Socket.Socket, socket),
    Effect.provide(RpcSerialization.layerSchemaBinary({ maxFrameSize: maxFrameBytes }))
  )
  const rpc = yield* RpcClient.make(NodeRpcs, { disableTracing: true }).pipe(
    Effect.provideService(RpcClient.Protocol, protocol)
  )
  const info = yield* rpc.Hello({ protocol: protocolVersion, version: packageVersion }).pipe(
    Effect.catchTag(
      "RpcClientError",
      (error) => Effect.fail(new NodeUnreachable({ address: name, reason: NodeConnectionRpc.explain(error) }))
    ),
    Effect.timeoutOrElse({
      duration: answerTimeout,
      orElse: () => Effect.fail(new NodeUnreachable({ address: name, reason: "no answer in time" }))
    })
  )
  return NodeConnectionRpc.make(name, ipAddr, info, rpc)
})

/** The control connection over sockets. */
export const layer: Layer.Layer<NodeLink> = Layer.succeed(
  NodeLink,
  NodeLink.of({ connect: (address) => connect(address, false) })
)

/** The same, over sockets that do not keep the process alive. */
export const layerBackground: Layer.Layer<NodeLink> = Layer.succeed(
  NodeLink,
  NodeLink.of({ connect: (address) => connect(address, true) })
)
