/**
 * Connections of clients to a node, from one or more listening sockets, as one
 * RPC protocol, and the way in for bulk connections, which the first byte tells. Unlike the library's own it trusts no peer: whoever sends bytes
 * that are not frames, something else than Hello first, or nothing in time is
 * disconnected at once, before large buffers are made for it.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { Clock, Context, Duration, Effect, Queue } from "effect"
import { type RpcMessage, RpcSerialization, RpcServer } from "effect/rpc"
import type { Socket, SocketServer } from "effect/socket"
import type * as net from "node:net"
import { maxFrameBytes } from "../../domain/NodeInfo.ts"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import * as BulkFrames from "../../domain/transfer/BulkFrames.ts"
import * as Bytes from "../../domain/wire/Bytes.ts"
import { noBytes } from "../../domain/wire/Entries.ts"
import * as FrameAssembler from "../../domain/wire/FrameAssembler.ts"
import type { BulkDoor } from "../../services/BulkDoor.ts"
import type { NodeSettings } from "../../services/NodeConfig.ts"
import type * as TlsServer from "../security/TlsServer.ts"

/** Longest message from a connection that has not said Hello; a Hello has less than 200 bytes. */
const maxHelloBytes = 4096

/** How long a closed connection may take to send what was written to it. */
const flushTime = "500 millis"

/** The same is said again of a peer after this time, however often it offends. */
const complaintMillis = 60_000

/** Complaints that are remembered. */
const maxComplaints = 100

type Limits = Pick<NodeSettings, "helloDeadline" | "silenceLimit" | "maxConnections" | "maxStrangers">

interface Connection {
  readonly id: number
  /** What it is served on: the connection itself, or the TLS on it. */
  socket: net.Socket
  send: (response: RpcMessage.FromServerEncoded) => Effect.Effect<void>
  isGreeted: boolean
  wasHeard: boolean
  /** This end has closed it. */
  isDropped: boolean
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

/** What all messages begin with after their length: two whose difference is in the last byte have it in common. */
const framePrefix = (serialization: RpcSerialization.RpcSerialization["Service"]): Uint8Array => {
  const parser = serialization.makeUnsafe()
  const [ping, eof] = [parser.encode({ _tag: "Ping" }), parser.encode({ _tag: "Eof" })] as [Uint8Array, Uint8Array]
  let end = 1
  while (end < ping.length && ping[end] === eof[end]) end++
  return ping.subarray(1, end)
}

/** Of peers: those that break the protocol are worth a line each, and those that are not let in one for each reason. */
const makeComplaints = () => {
  const last = new Map<string, number>()
  const isDue = (about: string, now: number): boolean => {
    const before = last.get(about)
    if (before !== undefined && now - before < complaintMillis) return false
    if (last.size >= maxComplaints) {
      for (const [other, at] of last) if (now - at >= complaintMillis) last.delete(other)
      if (last.size >= maxComplaints) return false
    }
    last.set(about, now)
    return true
  }
  const hostOf = (peer: string): string => peer.slice(0, peer.lastIndexOf(":"))
  return {
    complain: Effect.fnUntraced(function*(peer: string, what: string) {
      if (!isDue(hostOf(peer), yield* Clock.currentTimeMillis)) return
      yield* Effect.logWarning("closed a connection that does not follow the protocol").pipe(
        Effect.annotateLogs({ peer, what })
      )
    }),
    explain: Effect.fnUntraced(function*(peer: string, reason: string) {
      if (!isDue(`${hostOf(peer)} ${reason}`, yield* Clock.currentTimeMillis)) return
      yield* Effect.logWarning("a client was not let in").pipe(Effect.annotateLogs({ peer, reason }))
    })
  }
}

/** Ends the connection unless it says Hello in time and something now and then. */
const watch = (
  connection: Connection,
  limits: Limits,
  refuse: (what: string) => Effect.Effect<void>
) =>
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

/** Closes when what was written is sent, but does not wait long for a peer that reads nothing. */
const closeSocket = (socket: net.Socket): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (socket.closed) return resume(Effect.void)
    socket.once("close", () => resume(Effect.void))
    socket.destroySoon()
  }).pipe(
    Effect.interruptible,
    Effect.timeoutOption(flushTime),
    Effect.andThen(Effect.sync(() => socket.destroy()))
  )

const peerOf = (socket: net.Socket): string =>
  socket.remoteAddress === undefined ? "local:" : `${socket.remoteAddress}:${socket.remotePort}`

type Parser = ReturnType<RpcSerialization.RpcSerialization["Service"]["makeUnsafe"]>

/** Hands a message on to the RPC server. */
type Receive = (connection: number, message: RpcMessage.FromClientEncoded) => Effect.Effect<void>

const makeSend = (socket: net.Socket, writer: Socket.Writer, parser: Parser): Connection["send"] => (response) =>
  Effect.suspend(() => {
    if (socket.destroyed) return Effect.void
    const bytes = parser.encode(response)
    return bytes === undefined ? Effect.void : Effect.ignore(writer.write(bytes))
  })

/** Takes what the peer sent: whole messages go on, anything else ends the connection. */
const makeTake = (options: {
  readonly connection: Connection
  readonly parser: Parser
  readonly prefix: Uint8Array
  readonly refuse: (what: string) => Effect.Effect<void>
  readonly greet: (connection: Connection) => void
  readonly receive: Receive
}) => {
  const { connection, greet, parser, prefix, receive, refuse } = options
  const rules = { prefix, limit: maxFrameBytes }
  const helloRules = { prefix, limit: maxHelloBytes }
  const assembler = FrameAssembler.make()
  return (bytes: Uint8Array): Effect.Effect<void> => {
    connection.wasHeard = true
    const runs = FrameAssembler.feed(assembler, bytes, connection.isGreeted ? rules : helloRules)
    if (runs === undefined) return refuse("bytes that are not a frame, or too long a one")
    const messages: Array<RpcMessage.FromClientEncoded> = []
    try {
      for (const run of runs) messages.push(...parser.decode(run) as ReadonlyArray<RpcMessage.FromClientEncoded>)
      // The parser keeps an error behind good messages to itself until it is asked again.
      parser.decode(noBytes)
    } catch {
      return refuse("a frame that is not a message")
    }
    let i = 0
    return Effect.whileLoop({
      while: () => i < messages.length && !connection.socket.destroyed,
      body: () => {
        const message = messages[i++]!
        const wrong = refusal(connection, message)
        if (wrong !== undefined) return refuse(wrong)
        if (!connection.isGreeted) greet(connection)
        return receive(connection.id, message)
      },
      step: () => {}
    })
  }
}

type Pull = Effect.Effect<ReadonlyArray<Uint8Array | string>, Socket.SocketError>

const bytesOf = (chunks: ReadonlyArray<Uint8Array | string>): Uint8Array =>
  chunks.length === 1 ? chunks[0] as Uint8Array : Bytes.concat(chunks as ReadonlyArray<Uint8Array>)

/** Reads the greeting of a bulk connection, whose first bytes are there. */
const readGreeting = Effect.fnUntraced(function*(first: Uint8Array, pull: Pull) {
  let bytes = first
  let greeting = BulkFrames.readGreeting(bytes)
  while (greeting._tag === "Incomplete") {
    bytes = Bytes.concat([bytes, bytesOf(yield* pull)])
    greeting = BulkFrames.readGreeting(bytes)
  }
  return greeting._tag === "Malformed"
    ? greeting
    : { _tag: "Greeted", leaseId: greeting.leaseId, rest: bytes.subarray(greeting.size) } as const
})

/** Until the socket is closed; whatever is heard on it counts as a sign of life. */
const untilClosed = (socket: net.Socket, connection: Pick<Connection, "wasHeard">): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const onData = (): void => {
      connection.wasHeard = true
    }
    const onClose = (): void => resume(Effect.void)
    socket.on("data", onData)
    socket.once("close", onClose)
    if (socket.closed) onClose()
    return Effect.sync(() => {
      socket.off("data", onData)
      socket.off("close", onClose)
    })
  })

/** What the RPC server sends, and what it needs to know of the connections. */
const makeProtocol = (
  connections: ReadonlyMap<number, Connection>,
  disconnects: Queue.Queue<number>,
  codecFor: RpcSerialization.CodecFor
): Omit<RpcServer.Protocol["Service"], "run"> => ({
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
  codecFor
})

/** The RPC protocol over all connections that these servers accept, or that `serveOwn` is given. */
export const make = Effect.fnUntraced(function*(
  servers: ReadonlyArray<SocketServer.SocketServer["Service"]>,
  limits: Limits,
  bulk: BulkDoor["Service"],
  door: TlsServer.Door
) {
  const serialization = yield* RpcSerialization.RpcSerialization
  const prefix = framePrefix(serialization)
  const disconnects = yield* Queue.unbounded<number>()
  const connections = new Map<number, Connection>()
  /** Those that have not introduced themselves, the oldest first. */
  const strangers = new Set<Connection>()
  const greet = (connection: Connection): void => {
    connection.isGreeted = true
    strangers.delete(connection)
  }
  const { complain, explain } = makeComplaints()
  let lastId = 0
  let receive!: Receive

  const serveBulk = Effect.fnUntraced(function*(
    connection: Connection,
    start: Uint8Array,
    pull: Pull,
    refuse: (what: string) => Effect.Effect<void>
  ) {
    const greeting = yield* Effect.option(readGreeting(start, pull))
    if (greeting._tag === "None") return
    if (greeting.value._tag === "Malformed") return yield* refuse(greeting.value.reason)
    // The reader would keep the stream from flowing; closing its scope would close the socket as well.
    connection.socket.removeAllListeners("readable")
    greet(connection)
    const { leaseId, rest } = greeting.value
    const reason = bulk.serve(connection.socket, leaseId, rest)
    // The sentence is on its way; whoever asks with a wrong lease is worth a line.
    if (reason !== undefined) return yield* complain(peerOf(connection.socket), reason)
    yield* untilClosed(connection.socket, connection)
  })

  /** Serves a stream that was let in, until it ends. */
  const serve = Effect.fnUntraced(function*(connection: Connection, refuse: (what: string) => Effect.Effect<void>) {
    const stream = connection.socket
    const socket = yield* NodeSocket.fromDuplex(Effect.succeed(stream))
    const { pull } = yield* socket.reader
    const first = yield* Effect.option(pull)
    if (first._tag === "None") return
    const start = bytesOf(first.value)
    if (start[0] === 0) return yield* serveBulk(connection, start, pull, refuse)
    const parser = serialization.makeUnsafe()
    connection.send = makeSend(stream, yield* socket.writer, parser)
    const take = makeTake({ connection, parser, prefix, refuse, greet, receive })
    yield* take(start).pipe(
      Effect.andThen(
        pull.pipe(
          Effect.flatMap((chunks) => Effect.forEach(chunks as ReadonlyArray<Uint8Array>, take, { discard: true })),
          Effect.forever
        )
      ),
      // A connection that ends or breaks is everyday; its client is told apart by its lease.
      Effect.catchTag("SocketError", () => Effect.void),
      Effect.catchCause(() => refuse("messages out of order"))
    )
  })

  const onSocket = Effect.fnUntraced(function*(accepted: net.Socket) {
    const peer = peerOf(accepted)
    if (connections.size - strangers.size >= limits.maxConnections) {
      accepted.destroy()
      return yield* complain(peer, `more than ${limits.maxConnections} connections at a time`)
    }
    // Whoever means it has introduced himself in milliseconds; those who only hold a place lose it to the next.
    const [oldest] = strangers
    if (oldest !== undefined && strangers.size >= limits.maxStrangers) {
      strangers.delete(oldest)
      // Afterwards nobody knows who it was.
      const itsPeer = peerOf(oldest.socket)
      oldest.isDropped = true
      oldest.socket.destroy()
      yield* complain(itsPeer, `more than ${limits.maxStrangers} connections without a Hello`)
    }
    const connection: Connection = {
      id: ++lastId,
      socket: accepted,
      send: () => Effect.void,
      isGreeted: false,
      wasHeard: true,
      isDropped: false
    }
    // Gone at once: a half-closed socket would stay for as long as its peer likes.
    const refuse = (what: string) =>
      Effect.suspend(() => {
        connection.isDropped = true
        accepted.destroy()
        return complain(peer, what)
      })
    connections.set(connection.id, connection)
    strangers.add(connection)
    yield* Effect.addFinalizer(() => {
      connections.delete(connection.id)
      strangers.delete(connection)
      return Effect.andThen(Queue.offer(disconnects, connection.id), closeSocket(connection.socket))
    })
    yield* Effect.forkScoped(watch(connection, limits, refuse))
    yield* Effect.logDebug("a connection is open").pipe(Effect.annotateLogs({ peer }))
    const entered = yield* door(accepted)
    if (entered === undefined) return
    if ("_tag" in entered) {
      if (!connection.isDropped) yield* explain(peer, entered.reason)
      return yield* untilClosed(accepted, connection)
    }
    connection.socket = entered
    yield* serve(connection, refuse)
  })

  const protocol = yield* RpcServer.Protocol.make((write) => {
    receive = write
    return Effect.succeed(makeProtocol(connections, disconnects, serialization.codecFor))
  })
  for (const server of servers) {
    // The socket behind is provided to every handler, which its type does not tell.
    const accept = Effect.flatMap(
      Effect.context(),
      (context) => onSocket(Context.getUnsafe(context, NodeSocket.NetSocket))
    )
    yield* Effect.forkScoped(server.run(() => Effect.scoped(accept)))
  }
  /** Serves a connection that this node has made; one that breaks is everyday, as those that are accepted. */
  const serveOwn = (socket: net.Socket): Effect.Effect<void> => Effect.ignore(Effect.scoped(onSocket(socket)))
  return { protocol, serveOwn }
})
