/**
 * Connections of clients to a node, from one or more listening sockets, as one
 * RPC protocol. Unlike the library's own it trusts no peer: whoever sends bytes
 * that are not frames, something else than Hello first, or nothing in time is
 * disconnected at once, before large buffers are made for it.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { Clock, Context, Duration, Effect, Queue } from "effect"
import { type RpcMessage, RpcSerialization, RpcServer } from "effect/rpc"
import type { Socket, SocketServer } from "effect/socket"
import type * as net from "node:net"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import type { NodeSettings } from "../../services/NodeConfig.ts"

/** What a connection may send before its Hello was read; a Hello has less than 200 bytes. */
const maxBytesBeforeHello = 16 * 1024

/** One line per peer in this time, however often it offends. */
const complaintMillis = 60_000

/** Peers that complaints are remembered of. */
const maxComplaints = 100

type Limits = Pick<NodeSettings, "helloDeadline" | "silenceLimit" | "maxConnections">

interface Connection {
  readonly id: number
  readonly socket: net.Socket
  readonly peer: string
  readonly send: (response: RpcMessage.FromServerEncoded) => Effect.Effect<void>
  isGreeted: boolean
  wasHeard: boolean
  bytesBeforeHello: number
}

/** Why a message from a client is refused; undefined when it is not. */
const refusal = (connection: Connection, message: RpcMessage.FromClientEncoded): string | undefined => {
  switch (message._tag) {
    case "Request":
      if (!connection.isGreeted && message.tag !== "Hello") return "a request before Hello"
      return NodeRpcs.requests.has(message.tag) ? undefined : "an unknown request"
    case "Ping":
    case "Ack":
    case "Interrupt":
    case "Eof":
      return connection.isGreeted ? undefined : "a message before Hello"
    default:
      return "a message that only nodes send"
  }
}

/** Logs what was wrong with a peer, but no more than a line a minute for each and for few. */
const makeComplain = () => {
  const last = new Map<string, number>()
  return Effect.fnUntraced(function*(peer: string, what: string) {
    const now = yield* Clock.currentTimeMillis
    const host = peer.slice(0, peer.lastIndexOf(":"))
    const before = last.get(host)
    if (before !== undefined && now - before < complaintMillis) return
    if (last.size >= maxComplaints) {
      for (const [other, at] of last) if (now - at >= complaintMillis) last.delete(other)
      if (last.size >= maxComplaints) return
    }
    last.set(host, now)
    yield* Effect.logWarning("closed a connection that does not follow the protocol").pipe(
      Effect.annotateLogs({ peer, what })
    )
  })
}

/** Ends the connection unless it says Hello in time and something now and then. */
const watch = (connection: Connection, limits: Limits, refuse: (what: string) => Effect.Effect<void>) =>
  Effect.gen(function*() {
    yield* Effect.sleep(limits.helloDeadline)
    if (!connection.isGreeted) return yield* refuse("no Hello in time")
    while (true) {
      connection.wasHeard = false
      yield* Effect.sleep(limits.silenceLimit)
      if (!connection.wasHeard) {
        return yield* refuse(`silence for ${Duration.format(Duration.fromInputUnsafe(limits.silenceLimit))}`)
      }
    }
  })

const peerOf = (socket: net.Socket): string =>
  socket.remoteAddress === undefined ? "local:" : `${socket.remoteAddress}:${socket.remotePort}`

/** The RPC protocol over all connections that these servers accept. */
export const make = Effect.fnUntraced(function*(
  servers: ReadonlyArray<SocketServer.SocketServer["Service"]>,
  limits: Limits
) {
  const serialization = yield* RpcSerialization.RpcSerialization
  const disconnects = yield* Queue.unbounded<number>()
  const connections = new Map<number, Connection>()
  const complain = makeComplain()
  let lastId = 0
  let receive!: (connection: number, message: RpcMessage.FromClientEncoded) => Effect.Effect<void>

  const onSocket = Effect.fnUntraced(function*(socket: Socket.Socket) {
    // Provided by the server to every handler, which its type does not tell.
    const netSocket = Context.getUnsafe(yield* Effect.context(), NodeSocket.NetSocket)
    const peer = peerOf(netSocket)
    // Gone at once: a half-closed socket would stay for as long as its peer likes.
    const refuse = (what: string) => Effect.andThen(Effect.sync(() => netSocket.destroy()), complain(peer, what))
    if (connections.size >= limits.maxConnections) {
      return yield* refuse(`more than ${limits.maxConnections} connections at a time`)
    }
    const id = ++lastId
    const parser = serialization.makeUnsafe()
    const writer = yield* socket.writer
    const send = (response: RpcMessage.FromServerEncoded): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (netSocket.destroyed) return Effect.void
        const bytes = parser.encode(response)
        return bytes === undefined ? Effect.void : Effect.ignore(writer.write(bytes))
      })
    const connection: Connection = {
      id,
      socket: netSocket,
      peer,
      send,
      isGreeted: false,
      wasHeard: true,
      bytesBeforeHello: 0
    }
    connections.set(id, connection)
    yield* Effect.addFinalizer(() => {
      connections.delete(id)
      netSocket.destroySoon()
      return Queue.offer(disconnects, id)
    })
    yield* Effect.forkScoped(watch(connection, limits, refuse))

    const process = (bytes: Uint8Array | string): Effect.Effect<void> => {
      connection.wasHeard = true
      if (!connection.isGreeted) {
        connection.bytesBeforeHello += bytes.length
        if (connection.bytesBeforeHello > maxBytesBeforeHello) return refuse("too much before Hello")
      }
      let messages: ReadonlyArray<RpcMessage.FromClientEncoded>
      try {
        messages = parser.decode(bytes) as ReadonlyArray<RpcMessage.FromClientEncoded>
      } catch {
        return refuse("bytes that are not a frame")
      }
      let i = 0
      return Effect.whileLoop({
        while: () => i < messages.length && !netSocket.destroyed,
        body: () => {
          const message = messages[i++]!
          const wrong = refusal(connection, message)
          if (wrong !== undefined) return refuse(wrong)
          connection.isGreeted = true
          return receive(id, message)
        },
        step: () => {}
      })
    }

    const { pull } = yield* socket.reader
    yield* pull.pipe(
      Effect.flatMap((chunks) => Effect.forEach(chunks, process, { discard: true })),
      Effect.forever,
      // A connection that ends or breaks is everyday; its client is told apart by its lease.
      Effect.catchTag("SocketError", () => Effect.void),
      Effect.catchCause(() => refuse("messages out of order"))
    )
  })

  for (const server of servers) {
    yield* Effect.forkScoped(server.run((socket) => Effect.scoped(onSocket(socket))))
  }

  return yield* RpcServer.Protocol.make((write) => {
    receive = write
    return Effect.succeed({
      disconnects,
      send: (id, response) => {
        const connection = connections.get(id)
        if (connection === undefined) return Effect.void
        // A defect ends all requests of the connection, so nothing more can come of it.
        return response._tag === "Defect"
          ? Effect.andThen(connection.send(response), Effect.sync(() => connection.socket.destroySoon()))
          : connection.send(response)
      },
      end: (id) => Effect.sync(() => connections.get(id)?.socket.destroySoon()),
      clientIds: Effect.sync(() => new Set(connections.keys())),
      initialMessage: Effect.succeedNone,
      supportsAck: true,
      supportsTransferables: false,
      supportsSpanPropagation: false,
      supportsNotifications: false,
      codecFor: serialization.codecFor
    })
  })
})
