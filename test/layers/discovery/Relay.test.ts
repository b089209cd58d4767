/** A relay between nodes and clients, with real datagrams on loopback. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Queue, Result, Scope } from "effect"
import type { Socket } from "node:dgram"
import * as Datagram from "../../../src/domain/discovery/Datagram.ts"
import * as Relay from "../../../src/layers/discovery/Relay.ts"
import * as Stamps from "../../../src/layers/discovery/Stamps.ts"
import * as Beacons from "../../support/Beacons.ts"

const { aBeacon, aSocket, freePorts } = Beacons

const relayHost = "127.0.0.8"

const aRelay = (options: Partial<Relay.RelayOptions>) =>
  Layer.build(Relay.layer({
    key: undefined,
    hosts: [relayHost],
    relayPort: 0,
    nodePort: 0,
    clientPort: 0,
    schedulers: [],
    ipv4UdpMulticast: false,
    ...options
  }))

/** What a socket hears of a kind, with the node that it is about. */
const listen = Effect.fnUntraced(function*(socket: Socket) {
  const heard = yield* Queue.unbounded<{ readonly from: string; readonly message: Datagram.Message }>()
  socket.on("message", (bytes, { address }) => {
    const read = Datagram.decode(bytes, undefined)
    if (Result.isSuccess(read)) Queue.offerUnsafe(heard, { from: address, message: read.success.message })
  })
  const next = (tag: Datagram.Message["_tag"]): Effect.Effect<string> =>
    Effect.flatMap(Queue.take(heard), ({ from, message }) => {
      if (message._tag !== tag) return next(tag)
      if (message._tag === "RelayedNode") return Effect.succeed(`${from}: ${message.node.name} at ${message.host}`)
      return Effect.succeed(message._tag === "Answer" ? `${from}: ${message.node.name}` : `${from}: ${message._tag}`)
    })
  return next
})

const ping = Effect.fnUntraced(function*(socket: Socket, port: number) {
  const stamp = yield* Stamps.next
  yield* Effect.callback<void>((resume) =>
    socket.send(
      Datagram.encode({ _tag: "Ping", answerAt: [] }, stamp, undefined),
      port,
      relayHost,
      () => resume(Effect.void)
    )
  )
})

describe("a relay", () => {
  it.live("has nodes answer a client, passes their answers on, and tells it of nodes that start later", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0, relayPort = 0] = yield* freePorts(3)
      yield* aBeacon({ host: "127.0.0.2", port: nodePort }, { clientPort })
      yield* aRelay({ nodePort, clientPort, relayPort })
      const client = yield* aSocket("127.0.0.1")
      const next = yield* listen(client)
      yield* ping(client, relayPort)
      const both = [yield* next("Answer"), yield* next("RelayedNode")]
      expect(both).toEqual(["127.0.0.2: alpha", `${relayHost}: alpha at 127.0.0.2`])
      const scope = yield* Scope.make()
      yield* aBeacon({ host: "127.0.0.3", port: nodePort, name: "beta" }, { clientPort }).pipe(Scope.provide(scope))
      // The first node announces itself again after a second.
      let told = yield* next("RelayedNode")
      while (told.includes("alpha")) told = yield* next("RelayedNode")
      expect(told).toBe(`${relayHost}: beta at 127.0.0.3`)
      yield* Scope.close(scope, Exit.void)
      expect(yield* next("Goodbye")).toBe(`${relayHost}: Goodbye`)
    }))

  it.live("that starts again tells the schedulers it knows of all nodes, and clients that ping again", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0, relayPort = 0] = yield* freePorts(3)
      yield* aBeacon({ host: "127.0.0.2", port: nodePort }, { clientPort })
      const scheduler = yield* aSocket("127.0.0.1")
      const client = yield* aSocket("127.0.0.1")
      const [toScheduler, toClient] = [yield* listen(scheduler), yield* listen(client)]
      for (let i = 0; i < 2; i++) {
        const scope = yield* Scope.make()
        yield* aRelay({
          nodePort,
          clientPort,
          relayPort,
          schedulers: [{ host: "127.0.0.1", port: scheduler.address().port }]
        }).pipe(Scope.provide(scope))
        expect(yield* toScheduler("RelayedNode")).toBe(`${relayHost}: alpha at 127.0.0.2`)
        yield* ping(client, relayPort)
        expect(yield* toClient("RelayedNode")).toBe(`${relayHost}: alpha at 127.0.0.2`)
        yield* Scope.close(scope, Exit.void)
      }
    }))

  it.live("says to a client with another secret, or none, that it does not heed it", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0, relayPort = 0] = yield* freePorts(3)
      const key = new Uint8Array(32).fill(1)
      yield* aRelay({ nodePort, clientPort, relayPort, key })
      const client = yield* aSocket("127.0.0.1")
      const heard = yield* Queue.unbounded<Uint8Array>()
      client.on("message", (bytes) => Queue.offerUnsafe(heard, bytes))
      yield* ping(client, relayPort)
      const back = yield* Queue.take(heard)
      expect(Datagram.decode(back, undefined)).toEqual(Result.fail("signed"))
      expect(Result.getOrThrow(Datagram.decode(back, Stamps.macOf(key))).message).toEqual({ _tag: "Unheeded" })
      expect(back.length).toBeLessThan(200)
    }))

  it.live("says which port is taken, and what to do", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0, relayPort = 0] = yield* freePorts(3)
      yield* aSocket(relayHost, relayPort)
      const error = yield* Effect.flip(aRelay({ nodePort, clientPort, relayPort }))
      expect(error.message).toContain(`UDP port ${relayPort} of ${relayHost} is in use`)
      expect(error.message).toContain("--relay-port")
    }))
})
