/**
 * Makes a node known: answers pings of clients and relays by UDP at the node's own
 * port, announces it when it starts and says goodbye when it ends. It is heard and
 * seen on the networks of the addresses that the node listens on and nowhere else.
 */
import { Clock, Effect, Layer, Queue, Random, Result, type Scope } from "effect"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as Inbox from "../../domain/discovery/Inbox.ts"
import * as Routes from "../../domain/discovery/Routes.ts"
import * as RateLimit from "../../domain/RateLimit.ts"
import { packageVersion } from "../../domain/Version.ts"
import { NodeConfig } from "../../services/NodeConfig.ts"
import { NodeEndpoints } from "../../services/NodeEndpoints.ts"
import { NodeOwner } from "../../services/NodeOwner.ts"
import * as DroppedLog from "./DroppedLog.ts"
import * as Interfaces from "./Interfaces.ts"
import * as Names from "./Names.ts"
import * as Sockets from "./Sockets.ts"
import * as Stamps from "./Stamps.ts"

/** How a node makes itself known. */
export interface NodeBeaconOptions {
  /** Signs datagrams, and those that are heeded must be signed with it. Default: none are signed. */
  readonly key: Uint8Array | undefined
  /** Addresses at which clients are to dial the node. Default: where its datagrams come from. */
  readonly extIpAddr: ReadonlyArray<string>
  /** Clients or schedulers on other networks that are told of the node again and again. */
  readonly schedulers: ReadonlyArray<Datagram.Place>
  /** How often the node announces itself while no client has it. Default: once, to `schedulers` every 10 seconds. */
  readonly pingIntervalMillis: number | undefined
  /** Multicast instead of broadcast also for IPv4. */
  readonly ipv4UdpMulticast: boolean
  /** Where announcements go on the node's own networks. Default 51347. */
  readonly clientPort?: number
}

/** Announcements at the start: a datagram may get lost. Gaps in milliseconds. */
const startGaps = [0, 1000, 3000]

/** How often `schedulers` are told of an idle node, by default. */
const schedulersMillis = 10_000

/** How often the interfaces are looked at: they come and go. */
const lookMillis = 10_000

/** Pings of each host that are answered, and of all. */
const answerRate = [{ burst: 50, perSecond: 20 }, { burst: 500, perSecond: 200 }] as const

/** Between answers to the same ping: what loses one datagram often loses those right behind it too. */
const againMillis = { minimum: 10, maximum: 50 }

/** The IP addresses that a node listens on, as discovery takes them. */
const hostsOf = (endpoints: NodeEndpoints["Service"]): ReadonlyArray<string> => {
  const hosts = endpoints.addresses.flatMap((address) => address._tag === "Tcp" ? [address.host] : [])
  // Alone it takes IPv4 connections too.
  return hosts.length === 1 && hosts[0] === "::" ? ["0.0.0.0", "::"] : hosts
}

const serve = Effect.fnUntraced(function*(
  options: NodeBeaconOptions,
  hosts: ReadonlyArray<string>,
  port: number
): Effect.fn.Return<void, never, Scope.Scope | NodeConfig | NodeOwner> {
  const { clientPort = Datagram.clientPort, pingIntervalMillis, schedulers } = options
  const config = yield* NodeConfig
  const owner = yield* NodeOwner
  const how = { isMulticast: options.ipv4UdpMulticast }
  const inbox = Inbox.make(Stamps.macOf(options.key))
  const answers = RateLimit.make(...answerRate)
  const [log, words] = [DroppedLog.make(), DroppedLog.makeWords()]
  const sockets = yield* Sockets.make({ isBackground: false })
  const node = Datagram.nodeBeacon({
    name: config.name,
    port,
    incarnation: config.incarnation,
    addresses: options.extIpAddr,
    version: packageVersion
  })
  let isWarned = false
  let lastSchedulers: ReadonlyArray<Routes.Route> = []

  /** Opens what is missing; where to send what is for everybody. */
  const prepare = Effect.gen(function*() {
    const interfaces = Interfaces.read()
    const routes = Routes.toEverybody(hosts, [clientPort], interfaces, how)
    const closed = yield* sockets.open([
      ...Routes.doors(hosts, port, interfaces, { ...how, isShared: false }),
      ...Routes.sendersOf([...routes, ...hosts.map((from) => ({ from, host: "", port: 0 }))])
    ])
    const own = closed.find(({ door }) => door.port === port && door.address === door.answerFrom)
    if (own !== undefined && !isWarned) {
      isWarned = true
      yield* Effect.logWarning("clients cannot find this node by themselves and must list it: its UDP port is taken")
        .pipe(
          Effect.annotateLogs({ address: own.door.address, udpPort: port, reason: own.code })
        )
    }
    return routes
  })

  /** A datagram of its own on each way: whoever hears several of them learns all addresses of the node. */
  const send = (message: Datagram.Message, routes: ReadonlyArray<Routes.Route>, fromPort: number) =>
    Effect.forEach(
      routes,
      (route) =>
        Effect.flatMap(
          Stamps.next,
          (stamp) => sockets.send(route, fromPort, Datagram.encode(message, stamp, inbox.mac))
        ),
      {
        concurrency: "unbounded",
        discard: true
      }
    )

  const toSchedulers = Effect.map(
    Names.places(schedulers),
    (places) => {
      lastSchedulers = places.flatMap(({ host, port: to }) => Routes.toOne(hosts, host, to) ?? [])
      return lastSchedulers
    }
  )

  const announce = Effect.gen(function*() {
    const routes = [...yield* prepare, ...yield* toSchedulers]
    yield* send({ _tag: "Announcement", node }, routes, 0)
  })

  /** Answers on these ways, several times if that is wanted; without a secret with no more bytes than the ping has. */
  const answer = Effect.fnUntraced(function*(
    inReplyTo: string,
    routes: ReadonlyArray<Routes.Route>,
    times: number,
    pingBytes: number,
    now: number
  ) {
    const allowed = routes.filter(({ host }) => RateLimit.take(answers, host, now))
    const datagrams = yield* Effect.forEach(allowed, (route) =>
      Effect.map(Stamps.next, (stamp) => ({
        route,
        bytes: Datagram.encode({ _tag: "Answer", inReplyTo, node }, stamp, inbox.mac)
      })))
    const lengths = datagrams.map(({ bytes }) => bytes.length)
    const rounds = Datagram.answersIn(lengths, times, inbox.mac === undefined ? pingBytes : Infinity)
    for (const [time, round] of rounds.entries()) {
      if (time > 0) yield* Effect.sleep(yield* Random.nextBetween(againMillis.minimum, againMillis.maximum))
      for (const index of round) yield* sockets.send(datagrams[index]!.route, port, datagrams[index]!.bytes)
    }
  }, (sending) => Effect.forkScoped(sending))

  const listen = Effect.gen(function*() {
    const { bytes, door, host, port: from } = yield* Queue.take(sockets.packets)
    const now = yield* Clock.currentTimeMillis
    const received = Inbox.take(inbox, bytes, host, now)
    const back: Routes.Route = { from: door.answerFrom, host, port: from }
    if (Result.isFailure(received)) {
      yield* DroppedLog.tell(log, received.failure, host, now)
      if (!DroppedLog.takeWord(words, bytes, received.failure, host, now)) return
      return yield* send({ _tag: "Unheeded" }, [back], port)
    }
    const { message, nonce } = received.success
    if (message._tag !== "Ping" && message._tag !== "RelayedPing") return
    const times = message.answers ?? 1
    if (message._tag === "Ping") return yield* answer(nonce, [back], times, bytes.length, now)
    // A name is not looked up for strangers. To the relay as well: it may reach a client that is not reached from here.
    const direct = message.answerAt.flatMap((place) => Routes.toOne(hosts, place.host, place.port) ?? [])
    yield* answer(message.inReplyTo, [...direct, back], times, bytes.length, now)
  })

  const isIdle = Effect.map(owner.report, ({ clients, endingBecause }) => clients.length === 0 && endingBecause === "")

  /** Announces while the node is idle, as long as anybody wants that. */
  const announceOften = Effect.gen(function*() {
    for (const gap of startGaps) yield* Effect.andThen(Effect.sleep(gap), announce)
    const millis = pingIntervalMillis ?? (schedulers.length > 0 ? schedulersMillis : undefined)
    if (millis === undefined) return
    while (true) {
      yield* Effect.sleep(millis)
      if (!(yield* isIdle)) continue
      if (pingIntervalMillis !== undefined) yield* announce
      else yield* send({ _tag: "Announcement", node }, yield* toSchedulers, 0)
    }
  })

  yield* prepare
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      // The end does not wait for a name service.
      const routes = [...Routes.toEverybody(hosts, [clientPort], Interfaces.read(), how), ...lastSchedulers]
      return send({ _tag: "Goodbye", incarnation: node.incarnation }, routes, 0)
    })
  )
  yield* listen.pipe(Effect.forever, Effect.forkScoped)
  yield* announceOften.pipe(Effect.forkScoped)
  yield* prepare.pipe(Effect.delay(lookMillis), Effect.forever, Effect.forkScoped)
})

const make = Effect.fnUntraced(function*(options: NodeBeaconOptions) {
  const endpoints = yield* NodeEndpoints
  const hosts = hostsOf(endpoints)
  const first = endpoints.addresses.find((address) => address._tag === "Tcp")
  // A node on a unix socket is one client's alone.
  if (first !== undefined) yield* serve(options, hosts, first.port)
})

/** Makes a node known on the networks that it listens on. */
export const layer = (options: NodeBeaconOptions): Layer.Layer<never, never, NodeConfig | NodeEndpoints | NodeOwner> =>
  Layer.effectDiscard(make(options))
