/**
 * The control connection over TCP, secured by the client's credentials, dialled or parked by the node, or over a socket in
 * the file system for the node embedded in this client: `effect/rpc` in its binary form, one connection per client and node.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { Duration, Effect, Layer, Schedule } from "effect"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { Socket } from "effect/socket"
import type * as net from "node:net"
import * as IpAddress from "../../domain/IpAddress.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import { maxFrameBytes, protocolVersion } from "../../domain/NodeInfo.ts"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import * as Refusal from "../../domain/security/Refusal.ts"
import { packageVersion } from "../../domain/Version.ts"
import { NodeLink } from "../../services/NodeLink.ts"
import * as TlsClient from "../security/TlsClient.ts"
import * as NodeConnectionRpc from "./NodeConnectionRpc.ts"
import * as NodeDial from "./NodeDial.ts"

/** How long a node may take to accept a connection, and then to say hello. */
const answerTimeout = Duration.seconds(5)

/** How often a connection is tried that is silent; without an answer until the next time it counts as broken. */
const pingInterval = Duration.seconds(5)

/** What becomes known of a connection while it is made. */
interface Told {
  /** Of a host's addresses the one that answered. */
  ipAddr: string
  /** Why the node does not let this client in. */
  refusal: string | undefined
}

const openSocket = (address: NodeAddress.NodeAddress, { dial, isBackground }: LinkOptions, told: Told) =>
  NodeSocket.fromDuplex(
    Effect.gen(function*() {
      const { ready, socket } = yield* dial.begin(address).pipe(
        Effect.mapError((error) => {
          const isParked = error._tag === "NodeUnreachable"
          if (isParked) told.refusal = error.reason
          return openError(isParked ? error : error.cause)
        })
      )
      return yield* Effect.callback<net.Socket, Socket.SocketError>((resume) => {
        if (isBackground) socket.unref()
        const onReady = (): void => {
          told.ipAddr = IpAddress.canonical(socket.remoteAddress ?? "127.0.0.1")
          TlsClient.hearRefusal(socket, (sentence) => {
            told.refusal ??= sentence
          })
          resume(Effect.succeed(socket))
        }
        if (ready === undefined) onReady()
        else socket.once(ready, onReady)
        socket.on("error", (cause) => {
          told.refusal ??= Refusal.explainToClient(cause)
          resume(Effect.fail(openError(cause)))
        })
      })
    }),
    { openTimeout: answerTimeout }
  )

const openError = (cause: unknown) =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

/** How to connect. */
interface LinkOptions {
  readonly dial: NodeDial.NodeDial
  /** Whether the connection leaves it to others to keep the process alive. */
  readonly isBackground: boolean
}

const connect = Effect.fn("NodeLink.connect")(function*(address: NodeAddress.NodeAddress, options: LinkOptions) {
  const name = NodeAddress.format(address)
  const told: Told = { ipAddr: "", refusal: undefined }
  const socket = yield* openSocket(address, options, told)
  const protocol = yield* RpcClient.makeProtocolSocket({ pingInterval, retryPolicy: Schedule.recurs(0) }).pipe(
    Effect.provideService(Socket.Socket, socket),
    Effect.provide(RpcSerialization.layerSchemaBinary({ maxFrameSize: maxFrameBytes }))
  )
  const rpc = yield* RpcClient.make(NodeRpcs, { disableTracing: true }).pipe(
    Effect.provideService(RpcClient.Protocol, protocol)
  )
  const info = yield* NodeConnectionRpc.written(
    rpc.Hello({ protocol: protocolVersion, version: packageVersion })
  ).pipe(
    Effect.catchTag(
      "RpcClientError",
      (error) => {
        const reason = told.refusal ?? NodeConnectionRpc.explain(error)
        const isGone = NodeConnectionRpc.isGone(error)
        return Effect.fail(new NodeUnreachable({ address: name, reason, ...(isGone ? { isGone } : {}) }))
      }
    ),
    Effect.timeoutOrElse({
      duration: answerTimeout,
      orElse: () => Effect.fail(new NodeUnreachable({ address: name, reason: told.refusal ?? "no answer in time" }))
    })
  )
  return NodeConnectionRpc.make(name, told.ipAddr, info, rpc)
})

const make = (isBackground: boolean): Layer.Layer<NodeLink> =>
  Layer.effect(
    NodeLink,
    Effect.map(
      NodeDial.make,
      (dial) => NodeLink.of({ connect: (address) => connect(address, { dial, isBackground }) })
    )
  )

/** The control connection over sockets. */
export const layer: Layer.Layer<NodeLink> = make(false)

/** The same, over sockets that do not keep the process alive. */
export const layerBackground: Layer.Layer<NodeLink> = make(true)
