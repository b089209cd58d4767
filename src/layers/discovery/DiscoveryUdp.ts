/**
 * Finds nodes on the network: pings by broadcast and multicast on every interface,
 * asks hosts that are listed (where a relay may be), hears nodes that announce
 * themselves, takes those that park connections here, and looks up names that have
 * several addresses. No socket is opened before an entry of a node list means many nodes.
 */
import { Clock, Effect, FiberSet, Layer, Queue, Result, type Scope, Stream } from "effect"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as Inbox from "../../domain/discovery/Inbox.ts"
import * as PingSchedule from "../../domain/discovery/PingSchedule.ts"
import * as Rounds from "../../domain/discovery/Rounds.ts"
import * as Routes from "../../domain/discovery/Routes.ts"
import * as Sightings from "../../domain/discovery/Sightings.ts"
import * as IpAddress from "../../domain/IpAddress.ts"
import type { NodeTarget } from "../../domain/NodeList.ts"
import { Discovery, type FoundNode, type FoundRelay } from "../../services/Discovery.ts"
import { type ParkedNode, Parking } from "../../services/Parking.ts"
import * as Interfaces from "./Interfaces.ts"
import * as Names from "./Names.ts"
import * as Sockets from "./Sockets.ts"
import * as Stamps from "./Stamps.ts"

/** How nodes are looked for. */
export interface DiscoveryUdpOptions {
  /** Port of nodes, TCP and UDP, where an entry names none. Default 51348. */
  readonly nodePort: number
  /** Port that announcements come to. Default 51347. */
  readonly clientPort?: number
  /** Addresses of this machine whose networks are searched. Default: all. */
  readonly ipAddr?: ReadonlyArray<string>
  /** Addresses at which nodes behind a relay reach this machine, if not where pings come from. Default none. */
  readonly extIpAddr?: ReadonlyArray<string>
  /** Multicast instead of broadcast also for IPv4. Default false. */
  readonly ipv4UdpMulticast?: boolean
  /** How often to ping, and to look names up, after the first seconds. Default: not again. */
  readonly pingIntervalMillis?: number | undefined
  /** Signs datagrams, and those of others must be signed with it. Default: none are signed. */
  readonly key?: Uint8Array | undefined
  /** The sockets do not keep the process alive. Default false. */
  readonly isBackground?: boolean
  /** All addresses of a host name; none for one that is unknown. Default: the system's resolver. */
  readonly lookup?: (host: string) => Effect.Effect<ReadonlyArray<string>>
}

/** Nonces of our pings that answers may repeat, at most. */
const askedCapacity = 4096

/** Somebody who reads found nodes. */
interface Reader {
  /** A pattern without a port is for the usual one. */
  readonly targets: ReadonlyArray<NodeTarget>
  /** Hosts that are listed: where they were found, and the entry. */
  places: ReadonlyArray<Datagram.Place & { readonly entry: Datagram.Place }>
  readonly sightings: Sightings.Sightings
  /** "address port" of hosts that are listed and so are dialled anyway. */
  readonly listed: Set<string>
  /** Those of them that are known to be relays. */
  readonly relays: Set<string>
  readonly tell: (found: FoundNode | FoundRelay) => void
  readonly rounds: Rounds.Rounds
  /** Incarnations of nodes that dial out, which it was told. */
  readonly dialledOut: Set<string>
}

const placeKey = (host: string, port: number): string => `${IpAddress.canonical(host)} ${port}`

/** Hosts of a list that have to be looked up. */
const namesIn = (targets: ReadonlyArray<NodeTarget>) =>
  targets.filter((target) =>
    target._tag === "Tcp" && Routes.familyOf(target.host) === undefined && target.host !== "localhost"
  ) as ReadonlyArray<Extract<NodeTarget, { readonly _tag: "Tcp" }>>

const make = Effect.fnUntraced(function*(options: DiscoveryUdpOptions): Effect.fn.Return<
  Discovery["Service"],
  never,
  Scope.Scope
> {
  const { clientPort = Datagram.clientPort, lookup = Names.lookup, nodePort, pingIntervalMillis } = options
  const hosts = options.ipAddr === undefined || options.ipAddr.length === 0 ? ["0.0.0.0", "::"] : options.ipAddr
  const how = { isMulticast: options.ipv4UdpMulticast ?? false }
  const inbox = Inbox.make(Stamps.macOf(options.key))
  const parking = yield* Parking
  const sockets = yield* Sockets.make({ isBackground: options.isBackground ?? false })
  const readers = new Set<Reader>()
  /** By nonce of the ping: how to note who answered. */
  const asked = new Map<string, (incarnation: string) => void>()
  const lookedAt = { interfaces: new Set<string>(), ports: new Set<number>(), answers: 0 }
  let deaf: Sockets.Closed | undefined

  const see = (sighting: Sightings.Sighting, now: number): void => {
    lookedAt.answers++
    const isParked = parking.has(sighting.node.incarnation)
    for (const reader of readers) {
      // It dials out because it may not be reached at the address that the datagram comes from.
      if (isParked && reader.dialledOut.has(sighting.node.incarnation)) continue
      const found = Sightings.see(reader.sightings, reader.targets, sighting, now)
      if (found === undefined) continue
      if (!reader.listed.has(placeKey(found.host, found.port))) reader.tell({ _tag: "Tcp", ...found })
    }
  }

  const seeRelay = (place: string): void => {
    for (const { places, relays, tell } of readers) {
      if (relays.has(place)) continue
      for (const { entry, host, port } of places) {
        if (placeKey(host, port) !== place) continue
        relays.add(place)
        tell({ _tag: "Relay", ...entry })
      }
    }
  }

  const seeParked = (reader: Reader, parked: ParkedNode): void => {
    const host = Sightings.seeParked(reader.sightings, reader.targets, parked)
    if (host === undefined) return
    const { address, node } = parked
    reader.dialledOut.add(node.incarnation)
    if (reader.dialledOut.size > Sightings.capacity) reader.dialledOut.clear()
    // Known by its name and the address it comes from, so that it is the same one when it has started again.
    const { incarnation: _, ...place } = address
    reader.tell({ ...place, ...(host === address.host ? {} : { listedAs: host }) })
  }

  const act = (message: Datagram.Message, source: string, port: number, now: number): void => {
    switch (message._tag) {
      case "Answer":
        if (!asked.has(message.inReplyTo)) return
        asked.get(message.inReplyTo)?.(message.node.incarnation)
        return see({ source, node: message.node }, now)
      case "Announcement":
        return see({ source, node: message.node }, now)
      case "RelayedNode":
        if (message.inReplyTo !== undefined && asked.has(message.inReplyTo)) {
          asked.get(message.inReplyTo)?.(message.node.incarnation)
          seeRelay(placeKey(source, port))
        }
        return see({ source: message.host, node: message.node }, now)
      case "Goodbye":
        for (const { rounds, sightings } of readers) {
          Sightings.forget(sightings, message.incarnation)
          Rounds.forget(rounds, message.incarnation)
        }
        return
      case "Ping":
      case "RelayedPing":
      case "Unheeded":
        // Of other clients and of relays to nodes; the last, as it could be read, of a node whose clock is wrong.
        return
    }
  }

  const listen = Effect.gen(function*() {
    const { bytes, host, port } = yield* Queue.take(sockets.packets)
    const now = yield* Clock.currentTimeMillis
    const received = Inbox.take(inbox, bytes, host, now, (nonce) => asked.has(nonce))
    if (Result.isSuccess(received)) return act(received.success.message, host, port, now)
    yield* Effect.logDebug("datagram not heeded").pipe(Effect.annotateLogs({ host, reason: received.failure }))
  })
  yield* listen.pipe(Effect.forever, Effect.forkScoped)

  // Nodes look no names up for strangers.
  const answerAt = yield* Effect.cached(
    Effect.forEach(
      options.extIpAddr ?? [],
      (host) => Routes.familyOf(host) === undefined ? lookup(host) : Effect.succeed([host])
    ).pipe(
      Effect.map((found) => found.flat().slice(0, Datagram.maxAddresses).map((host) => ({ host, port: clientPort })))
    )
  )

  /** Opens what is missing, and says where pings of this round go. */
  const prepare = Effect.fnUntraced(function*(ports: ReadonlyArray<number>) {
    const interfaces = Interfaces.read()
    const routes = Routes.toEverybody(hosts, ports, interfaces, how)
    const heard = Routes.doors(hosts, clientPort, interfaces, { ...how, isShared: true })
    const anywhere = Routes.sendersOf(hosts.map((from) => ({ from, host: "", port: 0 })))
    const senders = Routes.sendersOf(routes).filter(({ address }) => !hosts.includes(address))
    const closed = yield* sockets.open([...heard, ...anywhere, ...senders])
    const unheard = closed.find(({ door }) => door.port === clientPort && door.address === door.answerFrom)
    if (unheard !== undefined && deaf?.code !== unheard.code) {
      yield* Effect.logDebug("nodes that announce themselves are not heard").pipe(
        Effect.annotateLogs({ address: unheard.door.address, udpPort: clientPort, reason: unheard.code })
      )
    }
    deaf = unheard
    for (const port of ports) lookedAt.ports.add(port)
    lookedAt.interfaces.clear()
    for (const { from } of routes) lookedAt.interfaces.add(from)
    return routes
  })

  const ping = Effect.fnUntraced(function*(reader: Reader, ports: ReadonlyArray<number>, answers: number) {
    const everybody = yield* prepare(ports)
    const single = reader.places.flatMap(({ host, port }) => Routes.toOne(hosts, host, port) ?? [])
    const message = { _tag: "Ping", answerAt: yield* answerAt, answers } as const
    const round = Rounds.begin(reader.rounds, yield* Clock.currentTimeMillis)
    // One of its own on each way: a node that hears several of them answers each, and is known by all its addresses.
    yield* Effect.forEach([...everybody, ...single], (route) =>
      Effect.flatMap(Stamps.next, (stamp) => {
        asked.set(stamp.nonce, (incarnation) => Rounds.hear(reader.rounds, round, incarnation))
        if (asked.size > askedCapacity) asked.delete(asked.keys().next().value!)
        return sockets.send(route, 0, Datagram.encode(message, stamp, inbox.mac))
      }), { concurrency: "unbounded", discard: true })
  })

  /** Addresses of the hosts that are listed; those of a name with several are nodes of their own. */
  const resolve = Effect.fnUntraced(function*(reader: Reader) {
    const places: Array<Reader["places"][number]> = []
    const list = (host: string, entry: Datagram.Place): void => {
      places.push({ host, port: entry.port, entry: { host: entry.host, port: entry.port } })
      reader.listed.add(placeKey(host, entry.port))
    }
    for (const target of reader.targets) {
      if (target._tag === "Tcp" && Routes.familyOf(target.host) !== undefined) list(target.host, target)
    }
    for (const { host, port } of namesIn(reader.targets)) {
      const addresses = yield* lookup(host)
      for (const address of addresses) {
        list(address, { host, port })
        if (addresses.length > 1) reader.tell({ _tag: "Tcp", host: address, port, listedAs: host })
      }
    }
    reader.places = places
  })

  const pingOften = Effect.fnUntraced(function*(reader: Reader, ports: ReadonlyArray<number>) {
    const startedAt = yield* Clock.currentTimeMillis
    let [gapMillis, answers] = [0, 1]
    while (true) {
      yield* ping(reader, ports, answers)
      const now = yield* Clock.currentTimeMillis
      const [isLossy, nodes] = [Rounds.isLossy(reader.rounds, now), reader.rounds.answered.size]
      const next = PingSchedule.next({ elapsedMillis: now - startedAt, gapMillis, isLossy, nodes }, pingIntervalMillis)
      if (next === undefined) return
      ;({ answers, gapMillis } = next)
      yield* Effect.sleep(next.afterMillis)
      if (gapMillis === PingSchedule.lastGapMillis) yield* resolve(reader)
    }
  })

  const found: Discovery["Service"]["found"] = (targets) =>
    Stream.callback<FoundNode | FoundRelay>((queue) =>
      Effect.gen(function*() {
        const ports = new Set(targets.flatMap((target) => target._tag === "Pattern" ? target.port ?? nodePort : []))
        const reader: Reader = {
          targets: targets.map((one) => one._tag === "Pattern" ? { ...one, port: one.port ?? nodePort } : one),
          places: [],
          sightings: Sightings.make(),
          listed: new Set(),
          relays: new Set(),
          dialledOut: new Set(),
          tell: (node) => Queue.offerUnsafe(queue, node),
          rounds: Rounds.make()
        }
        // This machine's own is dialled in any case: that needs no datagrams, which a firewall may drop.
        for (const port of ports) reader.tell({ _tag: "Tcp", host: "127.0.0.1", port })
        const run = yield* FiberSet.makeRuntime()
        if (ports.size > 0) {
          yield* Effect.acquireRelease(
            Effect.sync(() => readers.add(reader)),
            () => Effect.sync(() => readers.delete(reader))
          )
          // Names are slow to look up where there is no name service; the network does not wait for that.
          run(resolve(reader))
          run(pingOften(reader, [...ports]))
          run(Stream.runForEach(parking.nodes, (node) => Effect.sync(() => seeParked(reader, node))))
        } else if (namesIn(targets).length > 0) {
          const again = pingIntervalMillis === undefined ? Effect.never : Effect.sleep(pingIntervalMillis)
          run(Effect.forever(Effect.andThen(resolve(reader), again)))
        }
        return yield* Effect.never
      })
    )

  const means = Effect.map(parking.means, (ofParking) => {
    const from = [...lookedAt.interfaces].filter((address) => !Routes.isLoopback(address))
    const ports = [...lookedAt.ports].join(" and ")
    const others = [...new Set([...readers].flatMap(({ sightings }) => [...sightings.unmatched]))]
    return [
      `this machine's dispynode, and by UDP at port ${ports} of the networks of ${
        from.length === 0 ? "no interface" : from.join(", ")
      }`,
      ...(others.length === 0 ? [] : [`nodes that no pattern is for answered: ${others.join(", ")}`]),
      ...[...sockets.problems].map(([address, code]) => `${address} cannot be used: ${code}`),
      ...Inbox.describe(inbox),
      ...ofParking,
      "is dispynode running there, with --ip-addr, and is its UDP port open? If this network carries no broadcasts," +
      " start dispynode there with --scheduler-node and the name of this machine"
    ].join("; ")
  })

  return Discovery.of({ found, means })
})

/** Finds nodes by UDP and by name. */
export const layer = (options: DiscoveryUdpOptions): Layer.Layer<Discovery> => Layer.effect(Discovery, make(options))
