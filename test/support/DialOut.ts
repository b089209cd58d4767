/** Nodes that dial out, and clients that they dial, in the same process. */
import { Effect, Layer, type Scope, Stream } from "effect"
import type { ParkedAddress } from "../../src/domain/NodeAddress.ts"
import * as NodeDialOut from "../../src/layers/discovery/NodeDialOut.ts"
import * as ParkingTcp from "../../src/layers/discovery/ParkingTcp.ts"
import { NodeConfig } from "../../src/services/NodeConfig.ts"
import { NodeEndpoints } from "../../src/services/NodeEndpoints.ts"
import { type ParkedNode, Parking } from "../../src/services/Parking.ts"
import * as Beacons from "./Beacons.ts"

/** Where nodes park connections, on loopback; `onNode` hears of them. */
export const aClient = (
  options: Partial<ParkingTcp.ParkingTcpOptions>,
  onNode: (node: ParkedNode) => void = () => {}
): Effect.Effect<typeof Parking.Service, never, Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Layer.build(ParkingTcp.layer({ ipAddr: ["127.0.0.1"], isOpen: false, ...options }))
    const parking = yield* Effect.provideContext(Parking, context)
    yield* parking.nodes.pipe(Stream.runForEach((node) => Effect.sync(() => onNode(node))), Effect.forkScoped)
    return parking
  })

/** Has the node in the context dial out; what a client reaches it with, and its address there. */
export const reached: Effect.Effect<
  { readonly parking: Layer.Layer<never>; readonly address: ParkedAddress },
  never,
  NodeEndpoints | NodeConfig | Scope.Scope
> = Effect.gen(function*() {
  const [port = 0] = yield* Beacons.freePorts(1)
  const { addresses } = yield* NodeEndpoints
  const { name } = yield* NodeConfig
  const parking = yield* aClient({ port })
  yield* Layer.build(
    NodeDialOut.layer({ schedulers: [{ host: "127.0.0.1", port }], isOpen: false, key: undefined, extIpAddr: [] })
  )
  const own = addresses[0]?._tag === "Tcp" ? addresses[0].port : 0
  return {
    parking: Layer.succeed(Parking, parking),
    address: { _tag: "Parked", label: name, host: "127.0.0.1", port: own }
  }
})
