/** What a node does that dials out: to clients that are there, that are not, and to what is none. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Queue, References, Scope } from "effect"
import * as net from "node:net"
import type * as Datagram from "../../../src/domain/discovery/Datagram.ts"
import * as NodeDialOut from "../../../src/layers/discovery/NodeDialOut.ts"
import * as NodeConfig from "../../../src/services/NodeConfig.ts"
import { NodeEndpoints } from "../../../src/services/NodeEndpoints.ts"
import * as Beacons from "../../support/Beacons.ts"

/** A node that dials out; what it logs, and the connections that it serves. */
const aNode = Effect.fnUntraced(function*(schedulers: ReadonlyArray<Datagram.Place>) {
  const logged = yield* Queue.unbounded<string>()
  const served = yield* Queue.unbounded<net.Socket>()
  const logger = Logger.make(({ message }) => void Queue.offerUnsafe(logged, String(message)))
  yield* Layer.build(
    NodeDialOut.layer({ schedulers, isOpen: false, key: undefined, extIpAddr: [] }).pipe(
      Layer.provide([
        NodeConfig.layer({ name: "alpha", incarnation: "1" }),
        Layer.succeed(NodeEndpoints, {
          addresses: [{ _tag: "Tcp", host: "127.0.0.1", port: 51348 }],
          serve: (stream) =>
            Effect.andThen(Queue.offer(served, stream as net.Socket), Effect.sync(() => stream.destroy()))
        }),
        Logger.layer([logger]),
        Layer.succeed(References.MinimumLogLevel, "Debug")
      ])
    )
  )
  return { logged, served }
})

/** Somebody who listens, and does this with each connection. */
const aListener = (onConnection: (socket: net.Socket) => void): Effect.Effect<number, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<net.Server>((resume) => {
        const server = net.createServer((socket) => {
          socket.on("error", () => {})
          onConnection(socket)
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => (server.address() as net.AddressInfo).port
  )

describe("a node that dials out", () => {
  it.live("says once that nobody is there, and then nothing until somebody is", () =>
    Effect.gen(function*() {
      const [port = 0] = yield* Beacons.freePorts(1)
      const { logged } = yield* aNode([{ host: "127.0.0.1", port }])
      expect(yield* Queue.take(logged)).toContain("no client is there")
      // In this time it tries another two times at least.
      yield* Effect.sleep(1500)
      expect(yield* Queue.size(logged)).toBe(0)
    }))

  it.live("dials the next when a connection is used, but none too often", () =>
    Effect.gen(function*() {
      const connections = yield* Queue.unbounded<number>()
      const port = yield* aListener((socket) => {
        Queue.offerUnsafe(connections, performance.now())
        // Not a client: it speaks first to everybody.
        socket.write("SSH-2.0-test\r\n")
      })
      const { served } = yield* aNode([{ host: "127.0.0.1", port }])
      const times: Array<number> = []
      while (times.length < 24) times.push(yield* Queue.take(connections))
      yield* Queue.take(served)
      expect(times.at(-1)! - times[0]!).toBeGreaterThan(300)
    }), 20_000)

  it.live("closes the connections that it has parked when it ends", () =>
    Effect.gen(function*() {
      const ends = yield* Queue.unbounded<string>()
      const port = yield* aListener((socket) => {
        socket.once("data", () => Queue.offerUnsafe(ends, "announced"))
        socket.on("close", () => Queue.offerUnsafe(ends, "closed"))
      })
      const life = yield* Scope.make()
      yield* Scope.provide(aNode([{ host: "127.0.0.1", port }]), life)
      expect(yield* Queue.take(ends)).toBe("announced")
      yield* Scope.close(life, Exit.void)
      expect(yield* Queue.take(ends)).toBe("closed")
    }))

  it.live("does not dial other machines unless it is open to them, and says so once", () =>
    Effect.gen(function*() {
      const { logged } = yield* aNode([{ host: "192.0.2.1", port: 51347 }])
      expect(yield* Queue.take(logged)).toContain("--insecure")
      yield* Effect.sleep(200)
      expect(yield* Queue.size(logged)).toBe(0)
    }))
})
