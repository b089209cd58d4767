/**
 * A node that clients cannot dial, behind NAT say, dials them: it keeps a connection parked with each client or
 * scheduler that it was told of, and dials the next as soon as that one is used. What comes on it is served as what
 * comes to the node's own port. Where no client listens the node tries again, quietly.
 */
import { Clock, Effect, FiberMap, FiberSet, Layer, Random, Result, type Scope } from "effect"
import type * as net from "node:net"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as Preamble from "../../domain/discovery/Preamble.ts"
import * as RedialSchedule from "../../domain/discovery/RedialSchedule.ts"
import * as Routes from "../../domain/discovery/Routes.ts"
import * as RateLimit from "../../domain/RateLimit.ts"
import * as Refusal from "../../domain/security/Refusal.ts"
import { packageVersion } from "../../domain/Version.ts"
import { NodeConfig } from "../../services/NodeConfig.ts"
import { NodeEndpoints } from "../../services/NodeEndpoints.ts"
import * as LocalDial from "../link/LocalDial.ts"
import * as OwnedSocket from "../link/OwnedSocket.ts"
import * as TlsServer from "../security/TlsServer.ts"
import * as Names from "./Names.ts"
import * as Stamps from "./Stamps.ts"

/** To whom a node dials out. */
export interface NodeDialOutOptions {
  /** Clients or schedulers, by name or address; all addresses of a name are dialled. */
  readonly schedulers: ReadonlyArray<Datagram.Place>
  /** Whether others than this machine are dialled: they authenticate themselves, or that was asked for. */
  readonly isOpen: boolean
  /** Signs announcements. */
  readonly key: Uint8Array | undefined
  /** Addresses that the node tells of itself. */
  readonly extIpAddr: ReadonlyArray<string>
}

/** How long a client may take to accept a connection. */
const openMillis = 5000

/** How often names are looked up again. */
const lookMillis = 10_000

/** Idle for so long, a connection is tested, which also keeps the tables of NAT gateways fresh. */
const keepAliveMillis = 15_000

/** How often a client may use connections: one that uses each at once is no client. */
const rate = [{ burst: 20, perSecond: 5 }, { burst: 200, perSecond: 50 }] as const

/** Sentences that are remembered, at most; clients make them. */
const maxWarned = 100

/** How a parked connection ended. */
type End =
  | { readonly _tag: "Used" }
  /** The client has closed it; `sentence` where it says why. */
  | { readonly _tag: "Closed"; readonly sentence: string | undefined }
  | { readonly _tag: "NotMade"; readonly reason: string }

const serve = Effect.fnUntraced(function*(
  options: NodeDialOutOptions,
  endpoints: NodeEndpoints["Service"],
  own: ReadonlyArray<string>,
  port: number
): Effect.fn.Return<void, never, Scope.Scope | NodeConfig> {
  const { extIpAddr, isOpen, schedulers } = options
  const { incarnation, name } = yield* NodeConfig
  const mac = Stamps.macOf(options.key)
  const uses = RateLimit.make(...rate)
  const node = Datagram.nodeBeacon({ name, port, incarnation, addresses: extIpAddr, version: packageVersion })
  const run = yield* FiberSet.makeRuntime()
  const parked = yield* FiberMap.make<string>()
  const warned = new Set<string>()

  const announce = Effect.map(
    Stamps.next,
    (stamp) => Preamble.frame(Datagram.encode({ _tag: "Announcement", node }, stamp, mac))
  )

  /** Takes what the client says instead of using the connection: why it does not want it. */
  const hear = (socket: net.Socket, first: number): string | undefined => {
    if (first !== Refusal.refusalByte) return undefined
    const bytes = socket.read() as Uint8Array | null
    return bytes === null ? undefined : Refusal.decode(bytes)
  }

  /** Parks one connection, until it is used or gone. */
  const park = Effect.fnUntraced(function*(place: Datagram.Place): Effect.fn.Return<End, never, Scope.Scope> {
    const opening = LocalDial.connect({ ...place, keepAliveInitialDelay: keepAliveMillis }, own).pipe(
      Effect.mapError(({ cause }) => cause.code ?? cause.message),
      Effect.timeoutOrElse({ duration: openMillis, orElse: () => Effect.fail("no answer in time") }),
      Effect.result
    )
    const opened = yield* opening
    if (Result.isFailure(opened)) return { _tag: "NotMade", reason: opened.failure }
    const socket = opened.success
    socket.write(yield* announce)
    yield* Effect.logDebug("a connection is parked").pipe(Effect.annotateLogs(place))
    const first = yield* TlsServer.firstByte(socket)
    if (first === undefined) return { _tag: "Closed", sentence: undefined }
    const sentence = hear(socket, first)
    if (sentence !== undefined) return { _tag: "Closed", sentence }
    // From here on it is its own server's.
    OwnedSocket.wrap(socket)
    run(endpoints.serve(socket))
    return { _tag: "Used" }
  })

  /** Says once what is wrong. */
  const say = (key: string, what: string, log: Effect.Effect<void>): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (warned.has(`${key} ${what}`)) return Effect.void
      if (warned.size >= maxWarned) warned.clear()
      warned.add(`${key} ${what}`)
      return log
    })

  const tell = (place: Datagram.Place, end: End): Effect.Effect<void> => {
    const key = `${place.host} ${place.port}`
    if (end._tag === "NotMade") {
      const log = Effect.logDebug("no client is there for this node to dial; it goes on trying")
      return say(key, "", log.pipe(Effect.annotateLogs({ ...place, reason: end.reason })))
    }
    // When it is gone again, that is news.
    warned.delete(`${key} `)
    if (end._tag === "Used" || end.sentence === undefined) return Effect.void
    const log = Effect.logWarning("a client does not take connections of this node")
    return say(key, end.sentence, log.pipe(Effect.annotateLogs({ ...place, reason: end.sentence })))
  }

  /** Keeps one connection parked. */
  const keep = Effect.fnUntraced(function*(place: Datagram.Place) {
    let failures = 0
    while (true) {
      const startedAt = yield* Clock.currentTimeMillis
      const end = yield* Effect.scoped(park(place))
      const now = yield* Clock.currentTimeMillis
      yield* tell(place, end)
      if (end._tag === "Used" && RateLimit.take(uses, `${place.host} ${place.port}`, now)) {
        failures = 0
        continue
      }
      const wasAccepted = end._tag === "Closed" && now - startedAt >= RedialSchedule.acceptedMillis
      failures = wasAccepted ? 1 : failures + 1
      yield* Effect.sleep(RedialSchedule.pauseMillis(failures, yield* Random.next))
    }
  })

  const start = Effect.fnUntraced(function*(place: Datagram.Place) {
    if (isOpen || Routes.isLoopback(place.host)) {
      yield* FiberMap.run(parked, `${place.host} ${place.port}`, keep(place), { onlyIfMissing: true })
      return
    }
    const log = Effect.logWarning(
      "not dialling a client on another machine: without a secret, a certificate or --insecure only this one is"
    )
    yield* say(place.host, "not open", log.pipe(Effect.annotateLogs(place)))
  })

  /** Addresses that a name has lost are not dialled any more; where it has none there may be no name service just now. */
  const look = Effect.gen(function*() {
    const places = yield* Names.places(schedulers)
    for (const place of places) yield* start(place)
    if (places.length < schedulers.length) return
    const wanted = new Set(places.map(({ host, port: to }) => `${host} ${to}`))
    for (const [key] of parked) if (!wanted.has(key)) yield* FiberMap.remove(parked, key)
  })
  yield* look.pipe(Effect.andThen(Effect.sleep(lookMillis)), Effect.forever, Effect.forkScoped)
})

const make = Effect.fnUntraced(function*(options: NodeDialOutOptions) {
  const endpoints = yield* NodeEndpoints
  const addresses = endpoints.addresses.flatMap((address) => address._tag === "Tcp" ? [address] : [])
  const [first] = addresses
  // A node on a unix socket is one client's alone.
  if (first === undefined || options.schedulers.length === 0) return
  yield* serve(options, endpoints, addresses.map(({ host }) => host), first.port)
})

/** Keeps connections of the node parked with clients. */
export const layer = (options: NodeDialOutOptions): Layer.Layer<never, never, NodeConfig | NodeEndpoints> =>
  Layer.effectDiscard(make(options))
