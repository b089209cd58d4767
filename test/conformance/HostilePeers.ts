/**
 * What every listener of a node, of a relay and of a client does when strangers, and those who were let in, send what
 * makes no sense: it shows them out and goes on. The same suite runs with a few messages and with many.
 */
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Queue, References, Result } from "effect"
import type { Socket as UdpSocket } from "node:dgram"
import * as net from "node:net"
import { PassThrough } from "node:stream"
import * as Datagram from "../../src/domain/discovery/Datagram.ts"
import type { NodeAddress } from "../../src/domain/NodeAddress.ts"
import type { Secret } from "../../src/domain/security/Credentials.ts"
import * as BulkFrames from "../../src/domain/transfer/BulkFrames.ts"
import * as BulkClient from "../../src/layers/bulk/BulkClient.ts"
import * as BulkPeer from "../../src/layers/bulk/BulkPeer.ts"
import * as Sink from "../../src/layers/bulk/Sink.ts"
import * as Relay from "../../src/layers/discovery/Relay.ts"
import * as Stamps from "../../src/layers/discovery/Stamps.ts"
import * as NodeLinkSocket from "../../src/layers/link/NodeLinkSocket.ts"
import * as TlsClient from "../../src/layers/security/TlsClient.ts"
import * as Credentials from "../../src/services/Credentials.ts"
import { NodeLink } from "../../src/services/NodeLink.ts"
import * as Beacons from "../support/Beacons.ts"
import * as HostileFrames from "../support/HostileFrames.ts"
import { aListeningNode } from "../support/ListeningNode.ts"
import * as LoopTime from "../support/LoopTime.ts"

const { inParallel, makeRandom, mutate } = HostileFrames

/** A frame is refused within so many milliseconds of this process's own time; the deadline is later. */
const patience = 1000

const secret: Secret = { _tag: "Secret", tlsKey: new Uint8Array(32).fill(7), datagramKey: new Uint8Array(32).fill(8) }

const lease = { clientId: "hostile", clientName: "nobody@nowhere", sessionId: "1" }

const tcp = (port: number): NodeAddress => ({ _tag: "Tcp", host: "127.0.0.1", port })

const connectTo = (port: number): Promise<net.Socket> =>
  new Promise((resolve, reject) => {
    const socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
    socket.once("error", reject).once("connect", () => resolve(socket))
  })

const secured = (port: number): Promise<net.Socket> =>
  new Promise((resolve, reject) => {
    const { ready, socket } = TlsClient.dial(secret, { host: "127.0.0.1", port, noDelay: true })
    socket.once("error", reject).once(ready, () => resolve(socket))
  })

/** A connection, and what is sent on it. */
type Attack = readonly [socket: net.Socket, parts: ReadonlyArray<Uint8Array>]

/** Sends what is given one after the other, hangs up, and resolves when the other side has, too. */
const attack = async ([socket, parts]: Attack): Promise<void> => {
  socket.on("error", () => {})
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
  socket.resume()
  for (const part of parts) socket.write(part)
  socket.end()
  await closed
}

/** A node that is still what it was: it greets, gives a lease, and takes it back. */
const stillServes = (port: number, credentials?: Secret) =>
  Effect.gen(function*() {
    const connection = yield* (yield* NodeLink).connect(tcp(port))
    expect(connection.info.name).toBe("n1")
  }).pipe(
    Effect.scoped,
    Effect.provide(NodeLinkSocket.layer),
    credentials === undefined ? (same) => same : Effect.provideService(Credentials.Credentials, credentials)
  )

/** Attacks with messages of a seed, so many at a time; none may hold a connection: returns the longest that one did. */
const attackMany = (
  count: number,
  valid: ReadonlyArray<Uint8Array>,
  connect: (bytes: Uint8Array, n: number) => Promise<Attack>
) =>
  Effect.promise(async () => {
    using clock = LoopTime.start()
    const random = makeRandom(20_261_124)
    const messages = Array.from({ length: count }, (_, n) => mutate(valid, random, n))
    let slowest = 0
    await inParallel(count, 50, async (n) => {
      const connected = await connect(messages[n]!, n)
      const start = clock.now()
      await attack(connected)
      slowest = Math.max(slowest, clock.now() - start)
    })
    return slowest
  })

const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, References.MinimumLogLevel, "None")

const controlFrames = (count: number): void => {
  it.live("before Hello, also those that only nodes send", () =>
    Effect.gen(function*() {
      const { port } = yield* aListeningNode()
      const valid = [...yield* HostileFrames.validFrames, ...yield* HostileFrames.framesOfNode(port)]
      const slowest = yield* attackMany(count, valid, async (bytes) => [await connectTo(port), [bytes]])
      expect(slowest).toBeLessThan(patience)
      yield* stillServes(port)
    }).pipe(quiet, Effect.scoped))

  it.live("after Hello, and with a lease, in any order", () =>
    Effect.gen(function*() {
      const { port } = yield* aListeningNode()
      const [hello, acquire] = yield* HostileFrames.validFrames
      const connection = yield* (yield* NodeLink).connect(tcp(port)).pipe(Effect.provide(NodeLinkSocket.layer))
      const { leaseId } = yield* connection.acquire(lease, "1")
      // Whoever ends the lease or the node by a message that is still one has the right to.
      const own = (yield* HostileFrames.framesWith(leaseId)).slice(0, -2)
      const slowest = yield* attackMany(count, own, async (bytes, n) => [
        await connectTo(port),
        n % 2 === 0 ? [hello!, bytes] : [hello!, acquire!, own[n % own.length]!, bytes]
      ])
      expect(slowest).toBeLessThan(patience)
      yield* connection.dispatch(leaseId, "", new Uint8Array(0), 0)
      yield* stillServes(port)
    }).pipe(quiet, Effect.scoped, Effect.provide(NodeLinkSocket.layer)))

  it.live("on bulk connections, before and after the greeting", () =>
    Effect.gen(function*() {
      const { port } = yield* aListeningNode()
      const connection = yield* (yield* NodeLink).connect(tcp(port))
      const { leaseId } = yield* connection.acquire(lease, "1")
      const greeting = BulkFrames.greeting(leaseId)
      const slowest = yield* attackMany(count, [...HostileFrames.bulkFrames, greeting], async (bytes, n) => [
        await connectTo(port),
        n % 3 === 0 ? [Uint8Array.of(0), bytes] : [greeting, bytes]
      ])
      expect(slowest).toBeLessThan(patience)
      yield* stillServes(port)
    }).pipe(quiet, Effect.scoped, Effect.provide(NodeLinkSocket.layer)))
}

const securedFrames = (count: number): void => {
  // On a busy machine the handshakes of all who attack at a time may take longer than the deadline has.
  const node = aListeningNode({ maxFailures: 1_000_000, helloDeadline: "2 minutes" }, secret)

  it.live("in place of a handshake, and after its beginning", () =>
    Effect.gen(function*() {
      const { port } = yield* node
      const first = yield* Effect.promise(HostileFrames.clientHello)
      const slowest = yield* attackMany(count, [first], async (bytes, n) => {
        const socket = await connectTo(port)
        return [socket, n % 3 === 0 ? [first, bytes] : [Uint8Array.of(0x16, 3, n % 5), bytes]]
      })
      expect(slowest).toBeLessThan(patience)
      yield* stillServes(port, secret)
    }).pipe(quiet, Effect.scoped))

  it.live("inside of TLS", () =>
    Effect.gen(function*() {
      const { port } = yield* node
      const valid = yield* HostileFrames.validFrames
      const slowest = yield* attackMany(count, valid, async (bytes, n) => [
        await secured(port),
        n % 2 === 0 ? [bytes] : [valid[0]!, bytes]
      ])
      expect(slowest).toBeLessThan(patience)
      yield* stillServes(port, secret)
    }).pipe(quiet, Effect.scoped))
}

/** Datagrams that make no sense, every second with a signature that is right. */
const hostileDatagrams = (count: number): ReadonlyArray<Uint8Array> => {
  const random = makeRandom(19)
  const mac = Stamps.macOf(secret.datagramKey)
  const valid = HostileFrames.datagrams(mac)
  return Array.from({ length: count }, (_, n) => {
    const bytes = mutate(valid, random, n)
    return n % 2 === 0 || bytes.length < 39 ? bytes : HostileFrames.signAgain(bytes, mac!)
  })
}

/** Sends datagrams as fast as the other side reads them: it shares this process. */
const sendAll = (socket: UdpSocket, datagrams: ReadonlyArray<Uint8Array>, to: { host: string; port: number }) =>
  Effect.forEach(
    datagrams,
    (bytes) =>
      Effect.callback<void>((resume) =>
        socket.send(bytes, to.port, to.host, () => setImmediate(() => resume(Effect.void)))
      ),
    { discard: true }
  )

const datagramTests = (count: number): void => {
  const key = secret.datagramKey
  /** From an address of its own: others may have used up their pings. */
  const answered = Effect.fnUntraced(function*(to: { host: string; port: number }) {
    const socket = yield* Beacons.aSocket("127.0.0.77")
    const heard = yield* Queue.unbounded<Datagram.Message["_tag"]>()
    socket.on("message", (bytes) => {
      const read = Datagram.decode(bytes, Stamps.macOf(key))
      if (Result.isSuccess(read)) Queue.offerUnsafe(heard, read.success.message._tag)
    })
    const bytes = Datagram.encode({ _tag: "Ping", answerAt: [] }, yield* Stamps.next, Stamps.macOf(key))
    yield* sendAll(socket, [bytes], to)
    return yield* Queue.take(heard)
  })

  it.live("as datagrams, to a node", () =>
    Effect.gen(function*() {
      const [port = 0, clientPort = 0] = yield* Beacons.freePorts(2)
      const to = { host: "127.0.0.2", port }
      yield* Beacons.aBeacon(to, { clientPort, key })
      yield* sendAll(yield* Beacons.aSocket(), hostileDatagrams(count), to)
      expect(yield* answered(to)).toBe("Answer")
    }).pipe(quiet, Effect.scoped))

  it.live("as datagrams, to a relay", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0, relayPort = 0] = yield* Beacons.freePorts(3)
      const to = { host: "127.0.0.8", port: relayPort }
      yield* Beacons.aBeacon({ host: "127.0.0.3", port: nodePort }, { clientPort, key })
      yield* Layer.build(Relay.layer({
        key,
        hosts: [to.host],
        relayPort,
        nodePort,
        clientPort,
        schedulers: [],
        ipv4UdpMulticast: false
      }))
      const socket = yield* Beacons.aSocket()
      yield* sendAll(socket, hostileDatagrams(count), to)
      yield* sendAll(socket, hostileDatagrams(count), { host: to.host, port: clientPort })
      expect(["Answer", "RelayedNode"]).toContain(yield* answered(to))
    }).pipe(quiet, Effect.scoped))
}

/** Something at which a client connects, and that answers the first bytes with these and ends. */
const aHostileNode = Effect.fnUntraced(function*(answer: () => ReadonlyArray<Uint8Array>) {
  const server = yield* NodeSocketServer.make({ host: "127.0.0.1", port: 0 })
  const port = server.address._tag === "UnixPathAddress" ? 0 : server.address.port
  yield* Effect.forkScoped(server.run((socket) =>
    Effect.gen(function*() {
      const { pull } = yield* socket.reader
      const writer = yield* socket.writer
      yield* pull
      for (const bytes of answer()) yield* writer.write(bytes)
    }).pipe(Effect.scoped, Effect.ignore)
  ))
  return port
})

const clientTests = (count: number): void => {
  it.live("in place of a node's greeting: the client gives the node up, and says why", () =>
    Effect.gen(function*() {
      const valid = yield* HostileFrames.framesOfNode((yield* aListeningNode()).port)
      const random = makeRandom(77)
      let n = 0
      const port = yield* aHostileNode(() => [mutate(valid, random, n++)])
      const link = yield* NodeLink
      using clock = LoopTime.start()
      let slowest = 0
      yield* Effect.forEach(Array.from({ length: count }), () =>
        Effect.gen(function*() {
          const start = clock.now()
          const exit = yield* Effect.exit(Effect.scoped(link.connect(tcp(port))))
          slowest = Math.max(slowest, clock.now() - start)
          // A greeting with another bit may still be one.
          if (Exit.isFailure(exit)) expect(String(exit.cause)).toMatch(/NodeUnreachable|VersionMismatch/)
        }), { concurrency: 20, discard: true })
      expect(slowest).toBeLessThan(patience + 500)
    }).pipe(quiet, Effect.scoped, Effect.provide(NodeLinkSocket.layer)))

  it.live("on a bulk connection of a client: the transfer fails, or is what was announced", () =>
    Effect.promise(async () => {
      const random = makeRandom(78)
      const outcomes = { failed: 0, right: 0 }
      await inParallel(count, Math.min(count, 1000), async (n) => {
        const valid = HostileFrames.bulkAnswers(1, n % 2 === 0)
        const client = BulkClient.make("lease", () => {
          const [toNode, toClient] = [new PassThrough(), new PassThrough()]
          toNode.resume()
          toNode.once("data", () => {
            for (const bytes of n % 4 === 0 ? valid.toReversed() : valid) {
              toClient.write(mutate([bytes], random, n + random(4)))
            }
            toClient.end()
          })
          const stream = Object.assign(toClient, {
            write: toNode.write.bind(toNode),
            cork: () => {},
            uncork: () => {}
          })
          return Promise.resolve(BulkPeer.wireOf(stream))
        })
        const controller = new AbortController()
        const request = {
          computationId: "c",
          source: { _tag: "JobFile", fileId: 1 },
          sizeBytes: 4,
          what: "it"
        } as const
        try {
          const bytes = await BulkClient.get(client, request, (size) => {
            expect(size).toBe(4)
            return Sink.toMemory(size)
          }, controller.signal)
          expect(Buffer.from(bytes).toString()).toBe("good")
          outcomes.right++
        } catch (error) {
          expect(error).toBeInstanceOf(BulkClient.Refused)
          outcomes.failed++
        }
        BulkClient.close(client)
      })
      expect(outcomes.failed).toBeGreaterThan(count / 2)
    }))
}

/** Registers the suite with so many messages for each listener and state. */
export const suite = (count: number): void => {
  describe(`malformed messages, ${count} of each kind`, () => {
    controlFrames(count)
    securedFrames(count)
    datagramTests(count)
    clientTests(count)
  })
}
