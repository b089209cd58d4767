/** Nodes that only make themselves known, on loopback, and clients that look for them. */
import { Effect, Layer, Random, type Scope, Stream } from "effect"
import * as dgram from "node:dgram"
import * as net from "node:net"
import type { NodeTarget } from "../../src/domain/NodeList.ts"
import * as DiscoveryUdp from "../../src/layers/discovery/DiscoveryUdp.ts"
import * as NodeBeacon from "../../src/layers/discovery/NodeBeacon.ts"
import { Discovery, type FoundNode } from "../../src/services/Discovery.ts"
import * as NodeConfig from "../../src/services/NodeConfig.ts"
import { NodeEndpoints } from "../../src/services/NodeEndpoints.ts"
import { NodeOwner, type NodeReport } from "../../src/services/NodeOwner.ts"

/** A UDP socket on loopback for tests that send what they like. */
export const aSocket = (address = "127.0.0.1", port = 0): Effect.Effect<dgram.Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<dgram.Socket>((resume) => {
      const socket = dgram.createSocket({ type: address.includes(":") ? "udp6" : "udp4" })
      socket.bind({ address, port }, () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.close())
  )

const isTcpFree = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const server = net.createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(true))))
  })

const isUdpFree = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = dgram.createSocket("udp4")
    socket.once("error", () => resume(Effect.succeed(false)))
    socket.bind(port, "127.0.0.1", () => socket.close(() => resume(Effect.succeed(true))))
  })

/** Below the ports that systems give to outgoing connections, which come and go in other tests. */
const aPort: Effect.Effect<number> = Effect.gen(function*() {
  while (true) {
    const port = yield* Random.nextIntBetween(10_000, 32_000)
    if ((yield* isTcpFree(port)) && (yield* isUdpFree(port))) return port
  }
})

/** Ports that are free for TCP and UDP, and different from each other. */
export const freePorts = (count: number): Effect.Effect<ReadonlyArray<number>> =>
  Effect.gen(function*() {
    const ports = new Set<number>()
    while (ports.size < count) ports.add(yield* aPort)
    return [...ports]
  })

const report: NodeReport = {
  cpus: 1,
  chosenCpus: 1,
  closedBecause: "",
  endingBecause: "",
  startedAt: 0,
  clients: [],
  computations: [],
  opened: 0,
  jobsDone: 0,
  cpuMillis: 0
}

/** An owner of a node that nobody uses. */
const owner = Layer.succeed(
  NodeOwner,
  NodeOwner.of({
    report: Effect.succeed(report),
    setCpus: () => Effect.void,
    stop: Effect.void,
    start: Effect.void,
    setInHours: () => Effect.void,
    release: Effect.succeed([]),
    refuseClients: () => Effect.void,
    untilFree: Effect.void,
    untilShutDown: Effect.never,
    untilServed: Effect.never
  })
)

/** A node that is known until the scope ends. */
export const aBeacon = (
  place: { readonly host: string; readonly port: number; readonly name?: string; readonly incarnation?: string },
  options: Partial<NodeBeacon.NodeBeaconOptions> = {}
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Layer.build(
    NodeBeacon.layer({
      key: undefined,
      extIpAddr: [],
      schedulers: [],
      pingIntervalMillis: undefined,
      ipv4UdpMulticast: false,
      ...options
    }).pipe(
      Layer.provide([
        owner,
        NodeConfig.layer({
          name: place.name ?? "alpha",
          incarnation: place.incarnation ?? `${place.host.replaceAll(/\W/g, "-")}-${place.port}`
        }),
        Layer.succeed(NodeEndpoints, {
          addresses: [{ _tag: "Tcp", host: place.host, port: place.port }],
          serve: () => Effect.void
        })
      ])
    )
  ))

/** A client that looks at loopback only, unless it is told otherwise. */
export const aClient = (options: DiscoveryUdp.DiscoveryUdpOptions): Effect.Effect<
  Discovery["Service"],
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const context = yield* Layer.build(DiscoveryUdp.layer({ ipAddr: ["127.0.0.1"], ...options }))
    return yield* Effect.provide(Discovery, context)
  })

/** An entry of a node list. */
export const pattern = (text: string): NodeTarget => ({ _tag: "Pattern", text, port: undefined })

/** The next nodes that are found, without this machine's own that is always told first. */
export const next = (
  discovery: Discovery["Service"],
  targets: ReadonlyArray<NodeTarget>,
  count: number
): Effect.Effect<ReadonlyArray<FoundNode>> =>
  discovery.found(targets).pipe(
    Stream.filter((one) => one._tag === "Tcp"),
    Stream.filter(({ host, listedAs }) => host !== "127.0.0.1" || listedAs !== undefined),
    Stream.take(count),
    Stream.runCollect
  )
