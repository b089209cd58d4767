/**
 * Opens a node's doors: TCP on each of its addresses, or a socket in the file
 * system for a node embedded in a client, and serves the control protocol on
 * every connection.
 */
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { Effect, Exit, Layer, Scope } from "effect"
import { NetAddress } from "effect/net"
import { type Rpc, type RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
import type { SocketServer } from "effect/socket"
import * as fs from "node:fs"
import type * as net from "node:net"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { CannotStart } from "../../domain/NodeError.ts"
import { maxFrameBytes } from "../../domain/NodeInfo.ts"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import { none } from "../../domain/security/Credentials.ts"
import { BulkDoor } from "../../services/BulkDoor.ts"
import { Credentials } from "../../services/Credentials.ts"
import { NodeConfig } from "../../services/NodeConfig.ts"
import { NodeEndpoints } from "../../services/NodeEndpoints.ts"
import { NodeLifecycle } from "../../services/NodeLifecycle.ts"
import * as TlsServer from "../security/TlsServer.ts"
import * as NodeConnections from "./NodeConnections.ts"

type Server = SocketServer.SocketServer["Service"]

/** How often a free port is looked for that all addresses have free. */
const portAttempts = 10

const codeOf = (error: SocketServer.SocketServerError): string => {
  const cause: unknown = error.reason.cause
  return typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : String(cause)
}

const explain = (where: string, code: string): string => {
  switch (code) {
    case "EADDRINUSE":
      return `${where} is in use, perhaps by another dispynode; stop that, or choose another port with --port (0 for` +
        " any free one)"
    case "EACCES":
      return `this user may not listen on ${where}; choose a port above 1023 with --port`
    case "EADDRNOTAVAIL":
    case "EAFNOSUPPORT":
    case "EINVAL":
      return `${where} is not an address of this machine; choose one that is with --ip-addr`
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `${where} is not known to the name service; choose an address with --ip-addr`
    default:
      return `it cannot listen on ${where} (${code})`
  }
}

/** Without `noDelay` every round trip waits 88 ms for a delayed acknowledgement. */
const openTcp = (host: string, port: number, ipv6Only: boolean) =>
  NodeSocketServer.make({ host, port, noDelay: true, keepAlive: true, ipv6Only })

const cannotListen = (host: string, port: number) => (error: SocketServer.SocketServerError) =>
  new CannotStart({
    program: "dispynode",
    reason: explain(NodeAddress.format({ _tag: "Tcp", host, port }), codeOf(error)),
    ...(codeOf(error) === "EADDRINUSE" ? { takenPort: port } : {})
  })

const openAll = Effect.fnUntraced(function*(addresses: ReadonlyArray<string>, port: number) {
  const servers: Array<Server> = []
  // "::" alone takes IPv4 too; next to other addresses it must leave them theirs.
  const ipv6Only = addresses.length > 1
  let chosen = port
  for (const host of addresses) {
    const server = yield* openTcp(host, chosen, ipv6Only).pipe(
      // A kernel without IPv6 has all addresses under another name.
      Effect.catchIf(
        (error) => host === "::" && codeOf(error) === "EAFNOSUPPORT",
        () => openTcp("0.0.0.0", chosen, false)
      ),
      // A machine without IPv6 has no ::1, which is no reason not to serve on the rest.
      Effect.catchIf(
        (error) => host === "::1" && servers.length > 0 && /^(EADDRNOTAVAIL|EAFNOSUPPORT)$/.test(codeOf(error)),
        () => Effect.as(Effect.logDebug("this machine has no ::1"), undefined)
      ),
      Effect.mapError((error) => ({ error, cannotStart: cannotListen(host, chosen)(error) }))
    )
    if (server === undefined) continue
    servers.push(server)
    chosen = (server.address as NetAddress.InetAddress).port
  }
  return servers
})

/** Listens on all addresses; a port of 0 is one that is free on all of them. */
const openPort = (
  addresses: ReadonlyArray<string>,
  port: number,
  attempt = 1
): Effect.Effect<ReadonlyArray<Server>, CannotStart, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const opened = yield* Effect.exit(Scope.provide(openAll(addresses, port), scope))
    if (Exit.isSuccess(opened)) return opened.value
    yield* Scope.close(scope, Exit.void)
    return yield* Effect.failCause(opened.cause).pipe(
      Effect.catch(({ cannotStart, error }) =>
        port === 0 && attempt < portAttempts && codeOf(error) === "EADDRINUSE"
          ? openPort(addresses, port, attempt + 1)
          : Effect.fail(cannotStart)
      )
    )
  })

const openPath = (path: string) =>
  NodeSocketServer.make({ path }).pipe(
    Effect.mapError((error) => new CannotStart({ program: "dispynode", reason: explain(path, codeOf(error)) })),
    Effect.tap(() => Effect.sync(() => fs.chmodSync(path, 0o600)))
  )

const addressOf = ({ address }: Server): NodeAddress.NodeAddress =>
  address._tag === "UnixPathAddress"
    ? { _tag: "Unix", path: address.path }
    : { _tag: "Tcp", host: NetAddress.formatIp(address.address), port: address.port }

const make = Effect.gen(function*() {
  const config = yield* NodeConfig
  const lifecycle = yield* NodeLifecycle
  const servers = config.socketPath === undefined
    ? yield* openPort(config.addresses, config.port)
    : [yield* openPath(config.socketPath)]
  // Only its own client reaches the socket of an embedded node.
  const credentials = config.socketPath === undefined ? yield* Credentials : none
  const door = TlsServer.make(credentials, config.maxFailures)
  const { protocol, serveOwn } = yield* NodeConnections.make(servers, config, yield* BulkDoor, door)
  yield* RpcServer.make(NodeRpcs, { disableTracing: true, onDisconnect: lifecycle.disconnected }).pipe(
    Effect.provideService(RpcServer.Protocol, protocol),
    Effect.forkScoped
  )
  return NodeEndpoints.of({ addresses: servers.map(addressOf), serve: (stream) => serveOwn(stream as net.Socket) })
})

/** Serves a node on its addresses. */
export const layer: Layer.Layer<
  NodeEndpoints,
  CannotStart,
  NodeConfig | NodeLifecycle | BulkDoor | Rpc.ToHandler<RpcGroup.Rpcs<typeof NodeRpcs>>
> = Layer.effect(NodeEndpoints, make).pipe(
  Layer.provide(RpcSerialization.layerSchemaBinary({ maxFrameSize: maxFrameBytes }))
)
