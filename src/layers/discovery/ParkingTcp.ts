/**
 * Where nodes that dial out park connections: TCP at the client's port, at the addresses where announcements are heard
 * by UDP. Nothing is opened before somebody wants to know of nodes. A port that another client of this machine has is
 * taken over when that ends.
 *
 * ```
 * node                                            client
 *   connects, announcement               ──▶        parked: neither says anything
 *                                        ◀──        takes it: TLS or first message, as on a connection that it made
 *   connects, announcement (the next)    ──▶        parked …
 * ```
 */
import { Clock, Effect, FiberSet, Layer, Option, Queue, Result, type Scope, Stream } from "effect"
import * as net from "node:net"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as Inbox from "../../domain/discovery/Inbox.ts"
import * as ParkingLot from "../../domain/discovery/ParkingLot.ts"
import * as Routes from "../../domain/discovery/Routes.ts"
import * as IpAddress from "../../domain/IpAddress.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import * as Refusal from "../../domain/security/Refusal.ts"
import { type ParkedNode, Parking } from "../../services/Parking.ts"
import * as OwnedSocket from "../link/OwnedSocket.ts"
import * as DroppedLog from "./DroppedLog.ts"
import * as PreambleReader from "./PreambleReader.ts"
import * as Stamps from "./Stamps.ts"

/** Where and how nodes park connections. */
export interface ParkingTcpOptions {
  /** TCP port. Default 51347. */
  readonly port?: number
  /** Addresses of this machine. Default: all. */
  readonly ipAddr?: ReadonlyArray<string>
  /** Whether to listen on others than loopback addresses: nodes authenticate themselves, or that was asked for. */
  readonly isOpen: boolean
  /** Announcements must be signed with it. Default: none are signed. */
  readonly key?: Uint8Array | undefined
  /** The sockets do not keep the process alive. Default false. */
  readonly isBackground?: boolean
  /** How many connections there may be. */
  readonly limits?: ParkingLot.Limits
  /** How long a connection may take to announce its node. Default 5 seconds. */
  readonly preambleMillis?: number
}

/** How long somebody who needs a connection of a node waits for the next: a node dials it when it has used the last. */
const waitMillis = 4000

/** How often a port that was taken is tried again. */
const lookMillis = 5000

/** A peer that answers nothing for so long and ten seconds is gone; it also keeps the tables of NAT gateways fresh. */
export const keepAliveMillis = 15_000

/** Addresses to listen on: with doors closed, those that only this machine reaches. */
const addressesOf = ({ ipAddr = [], isOpen }: ParkingTcpOptions): ReadonlyArray<string> => {
  const hosts = ipAddr.length === 0 ? ["0.0.0.0", "::"] : ipAddr
  if (isOpen) return hosts
  const near = hosts.flatMap((host) =>
    Routes.isLoopback(host) ? [host] : Routes.isAny(host) ? [Routes.familyOf(host) === 6 ? "::1" : "127.0.0.1"] : []
  )
  return [...new Set(near)]
}

const codeOf = (error: NodeJS.ErrnoException): string => error.code ?? error.message

const make = Effect.fnUntraced(function*(options: ParkingTcpOptions): Effect.fn.Return<
  typeof Parking.Service,
  never,
  Scope.Scope
> {
  const { isBackground = false, port = Datagram.clientPort, preambleMillis = 5000 } = options
  const hosts = addressesOf(options)
  const lot = ParkingLot.make<net.Socket>(options.limits)
  const inbox = Inbox.make(Stamps.macOf(options.key))
  const log = DroppedLog.make()
  const run = yield* FiberSet.makeRuntime()
  const readers = new Set<(node: ParkedNode) => void>()
  /** Who waits for a connection; asked to look again when one comes. */
  const waiting = new Set<() => void>()
  const servers = new Map<string, net.Server>()
  /** Addresses that cannot be listened on, and the codes of the errors. */
  const closed = new Map<string, string>()
  /** What ends a parked connection when it goes, or says something. */
  const guards = new WeakMap<net.Socket, () => void>()

  const tell = (why: DroppedLog.NotParked, host: string) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => DroppedLog.tellClosed(log, why, host, now))

  /** Closes a connection, with a sentence for a node whose owner can do something about it. */
  const refuse = (socket: net.Socket, why: DroppedLog.NotParked, host: string) =>
    Effect.suspend(() => {
      if (why === "junk" || why === "replayed") socket.destroy()
      else socket.end(Refusal.encode(DroppedLog.explain(why)), () => socket.destroy())
      return tell(why, host)
    })

  /** A connection that waits for its use ends when its node does; that says nothing by itself. */
  const guard = (socket: net.Socket): void => {
    const onClose = (): void => ParkingLot.leave(lot, socket)
    const onData = (): void => void socket.destroy()
    guards.set(socket, () => {
      socket.off("close", onClose)
      socket.off("data", onData)
      socket.pause()
    })
    socket.on("close", onClose)
    socket.on("data", onData)
    socket.resume()
  }

  const park = Effect.fnUntraced(function*(socket: net.Socket, host: string, datagram: Uint8Array) {
    const received = Inbox.take(inbox, datagram, host, yield* Clock.currentTimeMillis)
    if (Result.isFailure(received)) return yield* refuse(socket, received.failure, host)
    const { message } = received.success
    if (message._tag !== "Announcement") return yield* refuse(socket, "junk", host)
    const parked = ParkingLot.park(lot, socket, host, message.node)
    if (parked._tag === "Full") return yield* refuse(socket, parked, host)
    parked.evicted?.destroy()
    guard(socket)
    const { address, node } = parked.spot
    yield* Effect.logDebug("a node has parked a connection").pipe(
      Effect.annotateLogs({ node: NodeAddress.format(address) })
    )
    for (const reader of readers) reader({ address, node })
    // Whoever comes away empty waits again at once, and must not be asked for ever.
    const asking = [...waiting]
    for (const look of asking) look()
  })

  const welcome = Effect.fnUntraced(function*(socket: net.Socket) {
    const host = IpAddress.canonical(socket.remoteAddress ?? "")
    socket.on("error", () => {})
    if (isBackground) socket.unref()
    const evicted = ParkingLot.enter(lot, socket)
    if (evicted !== undefined) {
      evicted.destroy()
      yield* tell({ reason: `more than ${lot.limits.strangers} connections without an announcement` }, host)
    }
    const read = yield* Effect.timeoutOption(PreambleReader.read(socket), preambleMillis)
    if (Option.isNone(read) || read.value === undefined) {
      ParkingLot.leave(lot, socket)
      socket.destroy()
    } else if (Result.isFailure(read.value)) {
      ParkingLot.leave(lot, socket)
      yield* refuse(socket, read.value.failure, host)
    } else {
      yield* park(socket, host, read.value.success)
    }
  })

  const open = (host: string): Effect.Effect<string | undefined> =>
    Effect.callback((resume) => {
      const server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMillis })
      if (isBackground) server.unref()
      server.on("connection", (socket) => run(welcome(socket)))
      server.on("error", (error) => {
        servers.delete(host)
        resume(Effect.succeed(codeOf(error)))
      })
      server.listen({ host, port, ipv6Only: host.includes(":"), exclusive: true }, () => {
        servers.set(host, server)
        resume(Effect.succeed(undefined))
      })
      return Effect.sync(() => server.close())
    })

  const openAll = Effect.gen(function*() {
    for (const host of hosts.filter((one) => !servers.has(one))) {
      const code = yield* open(host)
      if (code === undefined) closed.delete(host)
      else if (closed.get(host) !== code) {
        closed.set(host, code)
        yield* Effect.logDebug("nodes that dial out are not heard").pipe(
          Effect.annotateLogs({ address: host, tcpPort: port, reason: code })
        )
      }
    }
  })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const server of servers.values()) server.close()
      for (const socket of [...lot.strangers, ...lot.spotOf.keys()]) socket.destroy()
    })
  )
  let isListening = false
  const listen = (): void => {
    if (isListening) return
    isListening = true
    run(Effect.forever(Effect.andThen(openAll, Effect.sleep(lookMillis))))
  }

  const nodes = Stream.callback<ParkedNode>((queue) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const reader = (node: ParkedNode): void => void Queue.offerUnsafe(queue, node)
        for (const spot of ParkingLot.here(lot)) reader(spot)
        readers.add(reader)
        listen()
        return reader
      }),
      (reader) => Effect.sync(() => readers.delete(reader))
    ).pipe(Effect.andThen(Effect.never))
  )

  /** Takes one if there is one: it belongs to the scope then. */
  const takeNow = (address: NodeAddress.ParkedAddress) =>
    Effect.gen(function*() {
      const taken = ParkingLot.take(lot, address)
      if (taken === undefined) return undefined
      const { connection, spot: { address: { host }, node } } = taken
      guards.get(connection)?.()
      const stream = yield* OwnedSocket.make(() => connection)
      return { stream, hosts: [...node.addresses, node.name, host] }
    })

  const next = Effect.callback<void>((resume) => {
    const look = (): void => {
      waiting.delete(look)
      resume(Effect.void)
    }
    waiting.add(look)
    return Effect.sync(() => waiting.delete(look))
  })

  const take: (typeof Parking.Service)["take"] = (address) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        while (true) {
          const taken = yield* takeNow(address)
          if (taken !== undefined) return taken
          const isThere = yield* restore(Effect.timeoutOption(next, waitMillis))
          if (Option.isSome(isThere)) continue
          return yield* new NodeUnreachable({
            address: NodeAddress.format(address),
            reason: "it dials out, and has no connection parked here now"
          })
        }
      })
    )

  const means = Effect.sync(() => {
    if (!isListening) return []
    const rule = options.isOpen ? "" : " (this machine only, for there is neither a secret nor a certificate)"
    const at = [...servers.keys()].map((host) => NodeAddress.format({ _tag: "Tcp", host, port }))
    return [
      ...(at.length === 0 ? [] : [`nodes that dial out are heard at TCP ${at.join(", ")}${rule}`]),
      ...[...closed].map(([host, code]) => `no node that dials out is heard at TCP port ${port} of ${host}: ${code}`),
      ...Inbox.describe(inbox)
    ]
  })

  return {
    nodes,
    has: (incarnation) => ParkingLot.here(lot).some(({ address }) => address.incarnation === incarnation),
    take,
    means
  }
})

/** Has nodes park connections with this client. */
export const layer = (options: ParkingTcpOptions): Layer.Layer<never> => Layer.effect(Parking, make(options))
