/**
 * Makes the nodes of one network known on another: passes pings of clients on to
 * everybody there, with the client's address, and tells clients and schedulers of
 * the nodes that answer or announce themselves. Only this is relayed, never jobs.
 * A relay that restarts has forgotten nothing of importance: clients ping again,
 * and `schedulers` are told of all nodes at once.
 */
import { Clock, Effect, Layer, Queue, Result, type Scope } from "effect"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as Inbox from "../../domain/discovery/Inbox.ts"
import * as Routes from "../../domain/discovery/Routes.ts"
import { CannotStart } from "../../domain/NodeError.ts"
import * as RateLimit from "../../domain/RateLimit.ts"
import * as DroppedLog from "./DroppedLog.ts"
import * as Interfaces from "./Interfaces.ts"
import * as Names from "./Names.ts"
import * as Sockets from "./Sockets.ts"
import * as Stamps from "./Stamps.ts"

/** What is relayed, and where. */
export interface RelayOptions {
  /** Signs datagrams, and those that are heeded must be signed with it. Default: none are signed. */
  readonly key: Uint8Array | undefined
  /** IP addresses of this machine, on whose networks the nodes are and pings come in. */
  readonly hosts: ReadonlyArray<string>
  /** UDP port that clients ping. */
  readonly relayPort: number
  /** UDP port of the nodes. */
  readonly nodePort: number
  /** UDP port that nodes announce themselves to. */
  readonly clientPort: number
  /** Who is told of all nodes, asked or not. */
  readonly schedulers: ReadonlyArray<Datagram.Place>
  /** Multicast instead of broadcast also for IPv4. */
  readonly ipv4UdpMulticast: boolean
}

/** Clients and pings that are remembered, at most. */
const capacity = 1024

/** How long a client that pinged is told of nodes that announce themselves. */
const clientMillis = 3_600_000

/** How often the interfaces are looked at, and the names of schedulers looked up. */
const lookMillis = 10_000

/** Pings at the start, for the schedulers: a datagram may get lost. Gaps in milliseconds. */
const startGaps = [0, 1000, 3000]

/** Pings of one client, and of all: each is answered by every node of the network. */
const pingRate = [{ burst: 20, perSecond: 5 }, { burst: 100, perSecond: 50 }] as const

interface Client extends Datagram.Place {
  readonly door: string
  readonly at: number
}

/** Sets a key of a map that keeps the latest only. */
const remember = <A>(map: Map<string, A>, key: string, value: A): void => {
  map.delete(key)
  map.set(key, value)
  if (map.size > capacity) map.delete(map.keys().next().value!)
}

const explain = ({ code, door }: Sockets.Closed, port: number): string => {
  if (code === "EADDRINUSE") {
    return `UDP port ${port} of ${door.address} is in use, perhaps by a dispynode; choose another with --relay-port` +
      ", and list this relay in clients as \"host:port\""
  }
  return code === "EACCES"
    ? `this user may not listen on UDP port ${port}; choose one above 1023 with --relay-port`
    : `it cannot listen on UDP port ${port} of ${door.address} (${code}); choose an address of this machine with --ip-addr`
}

const make = Effect.fnUntraced(function*(options: RelayOptions): Effect.fn.Return<void, CannotStart, Scope.Scope> {
  const { clientPort, hosts, nodePort, relayPort } = options
  const how = { isMulticast: options.ipv4UdpMulticast }
  const inbox = Inbox.make(Stamps.macOf(options.key))
  const pings = RateLimit.make(...pingRate)
  const [log, words] = [DroppedLog.make(), DroppedLog.makeWords()]
  const sockets = yield* Sockets.make({ isBackground: false })
  /** By nonce of the ping. */
  const asked = new Map<string, Client>()
  const clients = new Map<string, Client>()
  /** Nonces of the pings of the start. */
  const own = new Set<string>()
  let schedulers: ReadonlyArray<Datagram.Place> = []

  const open = Effect.gen(function*() {
    const interfaces = Interfaces.read()
    const routes = Routes.toEverybody(hosts, [nodePort], interfaces, how)
    const closed = yield* sockets.open([
      ...Routes.doors(hosts, relayPort, interfaces, { ...how, isShared: false }),
      ...Routes.doors(hosts, clientPort, interfaces, { ...how, isShared: true }),
      ...Routes.sendersOf([...routes, ...hosts.map((from) => ({ from, host: "", port: 0 }))])
    ])
    return { closed, routes }
  })

  /** A datagram of its own on each way: nodes that hear several of them answer each. */
  const send = (message: Datagram.Message, routes: ReadonlyArray<Routes.Route>, fromPort: number) =>
    Effect.forEach(routes, (route) =>
      Effect.flatMap(Stamps.next, (stamp) => {
        if (message._tag === "Ping") own.add(stamp.nonce)
        return sockets.send(route, fromPort, Datagram.encode(message, stamp, inbox.mac))
      }), { concurrency: "unbounded", discard: true })

  /** Tells clients where the node is, as far as that can be told: not where only this machine or this link is. */
  const tell = (message: Extract<Datagram.Message, { readonly _tag: "RelayedNode" }>, to: ReadonlyArray<Client>) => {
    const isNear = message.node.addresses.length === 0 && Routes.isLoopback(message.host)
    const isLink = message.node.addresses.length === 0 && message.host.includes("%")
    const reached = to.filter(({ host }) => !isLink && (!isNear || Routes.isLoopback(host)))
    return Effect.forEach(reached, ({ door, host, port }) => send(message, [{ from: door, host, port }], relayPort), {
      discard: true
    })
  }

  const all = (now: number): ReadonlyArray<Client> => [
    ...schedulers.flatMap(({ host, port }) => {
      const route = Routes.toOne(hosts, host, port)
      return route === undefined ? [] : [{ host, port, door: route.from, at: now }]
    }),
    ...[...clients.values()].filter(({ at }) => now - at <= clientMillis)
  ]

  const passOn = Effect.fnUntraced(function*(
    client: Client,
    nonce: string,
    { answerAt, answers = 1 }: Extract<Datagram.Message, { readonly _tag: "Ping" }>
  ) {
    if (!RateLimit.take(pings, client.host, client.at)) return
    remember(asked, nonce, client)
    remember(clients, `${client.host} ${client.port}`, client)
    // A zone means something on this machine only; such a client hears of nodes through the relay.
    const direct = client.host.includes("%") ? [] : [{ host: client.host, port: client.port }]
    const { routes } = yield* open
    const places = answerAt.length > 0 ? answerAt : direct
    yield* send({ _tag: "RelayedPing", inReplyTo: nonce, answerAt: places, answers }, routes, 0)
  })

  const listen = Effect.gen(function*() {
    const { bytes, door, host, port } = yield* Queue.take(sockets.packets)
    const now = yield* Clock.currentTimeMillis
    const received = Inbox.take(inbox, bytes, host, now, (nonce) => asked.has(nonce) || own.has(nonce))
    if (Result.isFailure(received)) {
      yield* DroppedLog.tell(log, received.failure, host, now)
      if (door.port !== relayPort || !DroppedLog.takeWord(words, bytes, received.failure, host, now)) return
      return yield* send({ _tag: "Unheeded" }, [{ from: door.answerFrom, host, port }], relayPort)
    }
    const { message, nonce } = received.success
    switch (message._tag) {
      case "Ping":
        // Those that this relay sent itself come back where it hears broadcasts.
        if (own.has(nonce) || door.port !== relayPort) return
        return yield* passOn({ host, port, door: door.answerFrom, at: now }, nonce, message)
      case "Answer": {
        const client = asked.get(message.inReplyTo)
        if (client !== undefined) {
          return yield* tell(
            { _tag: "RelayedNode", inReplyTo: message.inReplyTo, host, node: message.node },
            [client]
          )
        }
        return own.has(message.inReplyTo)
          ? yield* tell({ _tag: "RelayedNode", host, node: message.node }, all(now))
          : undefined
      }
      case "Announcement":
        return yield* tell({ _tag: "RelayedNode", host, node: message.node }, all(now))
      case "Goodbye":
        return yield* Effect.forEach(
          all(now),
          (one) => send(message, [{ from: one.door, host: one.host, port: one.port }], relayPort),
          { discard: true }
        )
      case "RelayedPing":
      case "RelayedNode":
      case "Unheeded":
        // Relays do not relay for each other.
        return
    }
  })

  const opened = yield* open
  const failed = opened.closed.find(({ door }) => door.port === relayPort && door.address === door.answerFrom)
  if (failed !== undefined) {
    return yield* new CannotStart({ program: "dispynetrelay", reason: explain(failed, relayPort) })
  }
  const unheard = opened.closed.find(({ door }) => door.port === clientPort && door.address === door.answerFrom)
  if (unheard !== undefined) {
    yield* Effect.logWarning("nodes that announce themselves are not heard, those that are asked are found").pipe(
      Effect.annotateLogs({ address: unheard.door.address, udpPort: clientPort, reason: unheard.code })
    )
  }
  const resolve = Effect.map(Names.places(options.schedulers), (places) => {
    schedulers = places
  })
  yield* listen.pipe(Effect.forever, Effect.forkScoped)
  yield* Effect.gen(function*() {
    if (options.schedulers.length === 0) return
    yield* resolve
    for (const gap of startGaps) {
      yield* Effect.sleep(gap)
      yield* send({ _tag: "Ping", answerAt: [] }, (yield* open).routes, 0)
    }
  }).pipe(Effect.forkScoped)
  yield* Effect.andThen(open, resolve).pipe(Effect.delay(lookMillis), Effect.forever, Effect.forkScoped)
})

/** Relays until its scope ends; fails when the relay's port cannot be had. */
export const layer = (options: RelayOptions): Layer.Layer<never, CannotStart> => Layer.effectDiscard(make(options))
