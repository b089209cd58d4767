/** Where nodes that dial out park connections, on real sockets: who may, and what becomes of everybody else. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Queue, Schedule, Scope } from "effect"
import { once } from "node:events"
import * as net from "node:net"
import * as Datagram from "../../../src/domain/discovery/Datagram.ts"
import type * as ParkingLot from "../../../src/domain/discovery/ParkingLot.ts"
import * as Preamble from "../../../src/domain/discovery/Preamble.ts"
import type { ParkedAddress } from "../../../src/domain/NodeAddress.ts"
import * as NodeAddress from "../../../src/domain/NodeAddress.ts"
import * as Refusal from "../../../src/domain/security/Refusal.ts"
import * as ParkingTcp from "../../../src/layers/discovery/ParkingTcp.ts"
import * as Stamps from "../../../src/layers/discovery/Stamps.ts"
import * as Beacons from "../../support/Beacons.ts"
import * as DialOut from "../../support/DialOut.ts"
import { sendAndAwaitClose } from "../../support/HostileFrames.ts"

const [key, otherKey] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]

const address: ParkedAddress = { _tag: "Parked", label: "alpha", host: "127.0.0.1", port: 51348 }

/** What a node says first. */
const announcement = (options: {
  readonly key?: Uint8Array
  readonly name?: string
  readonly incarnation?: string
  readonly sentAtMillis?: number
} = {}): Effect.Effect<Uint8Array> =>
  Effect.map(Stamps.next, (stamp) => {
    const { incarnation = "1", name = "alpha", sentAtMillis = stamp.sentAtMillis } = options
    const node = { name, port: 51348, incarnation, addresses: [], version: "0.1.0" }
    const message = { _tag: "Announcement", node } as const
    return Preamble.frame(Datagram.encode(message, { ...stamp, sentAtMillis }, Stamps.macOf(options.key)))
  })

/** A client, and a queue of the addresses of the nodes that it hears of. */
const aClient = Effect.fnUntraced(function*(options: Partial<ParkingTcp.ParkingTcpOptions> = {}) {
  const [port = 0] = yield* Beacons.freePorts(1)
  const nodes = yield* Queue.unbounded<string>()
  const parking = yield* DialOut.aClient({ port, ...options }, (node) => {
    Queue.offerUnsafe(nodes, NodeAddress.format(node.address))
  })
  return { port, parking, nodes, next: Queue.take(nodes) }
})

/** A node's end of a connection; tries until somebody listens. */
const dial = (port: number): Effect.Effect<net.Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<net.Socket, "refused">((resume) => {
      const socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
      socket.on("error", () => resume(Effect.fail("refused")))
      socket.once("connect", () => resume(Effect.succeed(socket)))
    }).pipe(Effect.retry(Schedule.spaced("20 millis"))),
    (socket) => Effect.sync(() => socket.destroy()),
    { interruptible: true }
  ).pipe(Effect.orDie)

const closed = (socket: net.Socket): Effect.Effect<unknown> =>
  Effect.suspend(() => socket.closed ? Effect.void : Effect.promise(() => once(socket.resume(), "close")))

/** Says something, and reads all that comes until the connection is closed. */
const say = (port: number, bytes: Uint8Array): Effect.Effect<Buffer, never, Scope.Scope> =>
  Effect.flatMap(dial(port), (socket) =>
    Effect.promise(async () => {
      const pieces: Array<Buffer> = []
      socket.on("data", (piece) => pieces.push(piece))
      socket.write(bytes)
      await once(socket, "close")
      return Buffer.concat(pieces)
    }))

describe("a connection that a node parks", () => {
  it.live("is found at once, waits, and is used as if the client had made it", () =>
    Effect.gen(function*() {
      const { next, parking, port } = yield* aClient({ key })
      const socket = yield* dial(port)
      socket.write(yield* announcement({ key }))
      expect(yield* next).toBe("alpha@127.0.0.1:51348")
      expect(parking.has("1")).toBe(true)
      const use = yield* Scope.make()
      const { hosts, stream } = yield* Scope.provide(parking.take(address), use)
      expect(parking.has("1")).toBe(false)
      expect(hosts).toEqual(["alpha", "127.0.0.1"])
      const own = stream as net.Socket
      own.write("hello")
      expect(String((yield* Effect.promise(() => once(socket, "data")))[0])).toBe("hello")
      socket.write("and back")
      expect(String((yield* Effect.promise(() => once(own.resume(), "data")))[0])).toBe("and back")
      yield* Scope.close(use, Exit.void)
      yield* closed(socket)
    }))

  it.live("is awaited by who needs one, and not for long", () =>
    Effect.gen(function*() {
      const { parking, port } = yield* aClient()
      const [taken] = yield* Effect.all([
        parking.take(address),
        Effect.flatMap(dial(port), (socket) => Effect.map(announcement(), (bytes) => socket.write(bytes)))
      ], { concurrency: 2 })
      expect(taken.hosts).toEqual(["alpha", "127.0.0.1"])
      const error = yield* Effect.flip(parking.take(address))
      expect(error).toMatchObject({
        address: "alpha@127.0.0.1:51348",
        reason: expect.stringContaining("no connection parked")
      })
    }), 20_000)

  it.live("is forgotten when its node has gone, or says something before it is asked", () =>
    Effect.gen(function*() {
      const { next, parking, port } = yield* aClient()
      for (const incarnation of ["1", "2"]) {
        const socket = yield* dial(port)
        socket.write(yield* announcement({ incarnation }))
        yield* next
        if (incarnation === "1") socket.end()
        else socket.write("hello?")
        yield* closed(socket)
        yield* Effect.yieldNow
        expect(parking.has(incarnation)).toBe(false)
      }
    }))

  it.live("ends with the client", () =>
    Effect.gen(function*() {
      const client = yield* Scope.make()
      const { next, port } = yield* Scope.provide(aClient(), client)
      const [socket, stranger] = [yield* dial(port), yield* dial(port)]
      socket.write(yield* announcement())
      yield* next
      yield* Scope.close(client, Exit.void)
      yield* closed(socket)
      yield* closed(stranger)
    }))
})

describe("whoever else connects", () => {
  it.live("is closed when it is no node: silent, junk, too long, or another message", () =>
    Effect.gen(function*() {
      const { nodes, port } = yield* aClient({ preambleMillis: 200 })
      yield* dial(port)
      const stamp = yield* Stamps.next
      const ping = Preamble.frame(Datagram.encode({ _tag: "Ping", answerAt: [] }, stamp, undefined))
      const long = new Uint8Array(100_000).fill(1)
      const [whole, http] = [yield* announcement(), Buffer.from("GET / HTTP/1.1\r\n\r\n")]
      for (const bytes of [new Uint8Array(0), http, long, ping, whole.subarray(0, 50), Buffer.concat([whole, whole])]) {
        yield* Effect.promise(() => sendAndAwaitClose(port, bytes))
      }
      expect(yield* Queue.size(nodes)).toBe(0)
    }))

  it.live("without the secret is closed, and hears why; so is what was said before", () =>
    Effect.gen(function*() {
      const { next, nodes, port } = yield* aClient({ key })
      const refusals = [
        [yield* announcement(), "an announcement without a signature"],
        [yield* announcement({ key: otherKey }), "an announcement signed with another secret"],
        [yield* announcement({ key, sentAtMillis: 1 }), "an announcement more than five minutes old"]
      ] as const
      for (const [bytes, why] of refusals) expect(Refusal.decode(yield* say(port, bytes))).toContain(why)
      const said = yield* announcement({ key })
      const socket = yield* dial(port)
      socket.write(said)
      yield* next
      expect(yield* say(port, said)).toHaveLength(0)
      expect(yield* Queue.size(nodes)).toBe(0)
    }))

  it.live("loses its place to the next, and so many nodes there are no more than that", () =>
    Effect.gen(function*() {
      const limits: ParkingLot.Limits = { strangers: 3, parked: 3, perSource: 3, perNode: 1 }
      const { next, nodes, port } = yield* aClient({ limits, preambleMillis: 60_000 })
      const strangers: Array<net.Socket> = []
      for (let i = 0; i < 4; i++) strangers.push(yield* dial(port))
      yield* closed(strangers[0]!)
      for (const name of ["a", "b", "c"]) {
        const socket = yield* dial(port)
        socket.write(yield* announcement({ name, incarnation: name }))
        expect(yield* next).toBe(`${name}@127.0.0.1:51348`)
      }
      const refused = yield* say(port, yield* announcement({ name: "d", incarnation: "d" }))
      expect(Refusal.decode(refused)).toBe("more than 3 parked connections")
      expect(yield* Queue.size(nodes)).toBe(0)
    }))
})

describe("the port of a client", () => {
  it.live("is not opened before somebody looks for nodes", () =>
    Effect.gen(function*() {
      const [port = 0] = yield* Beacons.freePorts(1)
      yield* Layer.build(ParkingTcp.layer({ port, isOpen: true }))
      const code = yield* Effect.callback<string>((resume) => {
        net.connect({ host: "127.0.0.1", port }).on("error", (error: NodeJS.ErrnoException) => {
          resume(Effect.succeed(error.code ?? ""))
        })
      })
      expect(code).toBe("ECONNREFUSED")
    }))

  it.live("is another client's until that ends", () =>
    Effect.gen(function*() {
      const first = yield* Scope.make()
      const { next, port } = yield* Scope.provide(aClient(), first)
      const socket = yield* dial(port)
      socket.write(yield* announcement())
      yield* next
      const second = yield* aClient({ port })
      yield* Effect.flip(second.parking.take(address))
      expect((yield* second.parking.means).join()).toContain("EADDRINUSE")
      yield* Scope.close(first, Exit.void)
      const other = yield* dial(port)
      other.write(yield* announcement())
      expect(yield* second.next).toBe("alpha@127.0.0.1:51348")
    }), 20_000)
})
