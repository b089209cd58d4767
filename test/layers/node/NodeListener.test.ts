/** The node's doors on real sockets: where they are, and who is shown out. */
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import type { NodeAddress } from "../../../src/domain/NodeAddress.ts"
import { maxFrameBytes } from "../../../src/domain/NodeInfo.ts"
import * as NodeLinkSocket from "../../../src/layers/link/NodeLinkSocket.ts"
import * as NodeConfig from "../../../src/services/NodeConfig.ts"
import { NodeLink } from "../../../src/services/NodeLink.ts"
import * as HostileFrames from "../../support/HostileFrames.ts"
import { aListeningNode } from "../../support/ListeningNode.ts"

const { sendAndAwaitClose } = HostileFrames

/** The addresses of a node that listens with these settings. */
const listening = (settings: Partial<NodeConfig.NodeSettings> = {}) =>
  Effect.map(aListeningNode(settings), ({ addresses }) => addresses)

const portOf = (addresses: ReadonlyArray<NodeAddress>): number => {
  const [first] = addresses
  return first?._tag === "Tcp" ? first.port : 0
}

const hello = (address: NodeAddress) =>
  NodeLink.pipe(
    Effect.flatMap((link) => link.connect(address)),
    Effect.map((connection) => connection.info.name),
    Effect.scoped,
    Effect.provide(NodeLinkSocket.layer)
  )

const connectRaw = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<net.Socket>((resume) => {
      const socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
      socket.on("error", () => {})
      socket.once("connect", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const closed = (socket: net.Socket) =>
  Effect.callback<void>((resume) => {
    if (socket.closed) resume(Effect.void)
    socket.once("close", () => resume(Effect.void))
    socket.resume()
  })

describe("addresses", () => {
  it.live("are loopback only unless told otherwise, with one port for all", () =>
    Effect.gen(function*() {
      const addresses = yield* listening({ addresses: NodeConfig.defaults.addresses })
      expect(addresses.map((address) => address._tag === "Tcp" && address.host)).toEqual(["127.0.0.1", "::1"])
      expect(new Set(addresses.map((address) => address._tag === "Tcp" && address.port)).size).toBe(1)
      for (const address of addresses) expect(yield* hello(address)).toBe("n1")
      const outside = Object.values(os.networkInterfaces()).flat().find((each) => each?.internal === false)
      if (outside !== undefined) {
        const refused = yield* Effect.promise(() =>
          new Promise<boolean>((resolve) => {
            const socket = net.connect({ host: outside.address, port: portOf(addresses) })
            socket.on("connect", () => resolve(false)).on("error", () => resolve(true))
          })
        )
        expect(refused).toBe(true)
      }
    }))

  it.live("that are in use are named, with what to do", () =>
    Effect.gen(function*() {
      const addresses = yield* listening()
      const error = yield* Effect.flip(listening({ port: portOf(addresses) }))
      expect(error._tag).toBe("CannotStart")
      expect(error.message).toContain(`127.0.0.1:${portOf(addresses)} is in use`)
      expect(error.message).toContain("--port")
    }))

  it.live("that are not of this machine are named", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(listening({ addresses: ["192.0.2.1"] }))
      expect(error.message).toContain("192.0.2.1")
      expect(error.message).toContain("--ip-addr")
    }))

  it.live("are given up again when one of them fails", () =>
    Effect.gen(function*() {
      const taken = yield* NodeSocketServer.make({ host: "::1", port: 0 })
      const port = taken.address._tag === "InetAddressV6" ? taken.address.port : 0
      yield* Effect.flip(listening({ addresses: ["127.0.0.1", "::1"], port }))
      yield* listening({ port })
    }))

  it.live("can be a socket in the file system that only its owner may use", () =>
    Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-"))),
        (made) => Effect.sync(() => fs.rmSync(made, { recursive: true }))
      )
      const socketPath = path.join(directory, "node.sock")
      const addresses = yield* listening({ socketPath })
      expect(addresses).toEqual([{ _tag: "Unix", path: socketPath }])
      expect(fs.statSync(socketPath).mode & 0o777).toBe(0o600)
      expect(yield* hello(addresses[0]!)).toBe("n1")
    }))
})

describe("a peer", () => {
  it.live("that sends what is no frame is disconnected long before its time to introduce itself is over", () =>
    Effect.gen(function*() {
      const port = portOf(yield* listening({ helloDeadline: "10 minutes" }))
      for (const text of ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\0\0", "\xFF\xFF\xFF\xFF\xFF\xFF"]) {
        const millis = yield* Effect.promise(() => sendAndAwaitClose(port, Buffer.from(text, "latin1")))
        expect(millis).toBeLessThan(60_000)
      }
    }))

  it.live("that announces a frame over the limit is disconnected before it sent it", () =>
    Effect.gen(function*() {
      const port = portOf(yield* listening({ helloDeadline: "10 minutes" }))
      const [validHello] = yield* HostileFrames.validFrames
      const length = maxFrameBytes + 1
      const header = [0, 7, 14, 21].map((shift) => (length >> shift & 0x7F) | (shift < 21 ? 0x80 : 0))
      const before = process.memoryUsage().arrayBuffers
      const millis = yield* Effect.promise(() =>
        sendAndAwaitClose(port, new Uint8Array(Buffer.concat([validHello!, new Uint8Array(header)])))
      )
      expect(millis).toBeLessThan(60_000)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024)
    }))

  it.live("that sends more than a Hello before it said Hello is disconnected", () =>
    Effect.gen(function*() {
      const port = portOf(yield* listening({ helloDeadline: "1 minute" }))
      yield* Effect.promise(() => sendAndAwaitClose(port, new Uint8Array([0x80, 0x80, 0x40])))
    }))

  it.live("that asks for anything before Hello is disconnected", () =>
    Effect.gen(function*() {
      const port = portOf(yield* listening({ helloDeadline: "1 minute" }))
      const [, acquire] = yield* HostileFrames.validFrames
      yield* Effect.promise(() => sendAndAwaitClose(port, acquire!))
    }))

  it.live("that says nothing is disconnected at the deadline", () =>
    Effect.gen(function*() {
      const port = portOf(yield* listening({ helloDeadline: "100 millis" }))
      const [validHello] = yield* HostileFrames.validFrames
      for (const bytes of [new Uint8Array(0), validHello!.subarray(0, 5)]) {
        const millis = yield* Effect.promise(() => sendAndAwaitClose(port, bytes))
        expect(millis).toBeGreaterThan(90)
      }
    }))

  it.effect("that sends a byte now and then is disconnected at the deadline all the same, 1,000 of them", () =>
    Effect.gen(function*() {
      const addresses = yield* listening({ maxStrangers: 1001 })
      const [validHello] = yield* HostileFrames.validFrames
      const slow = yield* Effect.forEach(Array.from({ length: 1000 }), () => connectRaw(portOf(addresses)))
      for (const [at, byte] of [...validHello!.subarray(0, 4)].entries()) {
        for (const socket of slow) socket.write(Uint8Array.of(byte))
        if (at === 0) expect(yield* hello(addresses[0]!)).toBe("n1")
        yield* TestClock.adjust("1 second")
      }
      expect(slow.filter(({ closed: isClosed }) => isClosed)).toEqual([])
      yield* TestClock.adjust("1 second")
      yield* Effect.forEach(slow, closed)
      expect(yield* hello(addresses[0]!)).toBe("n1")
    }))

  it.live("of thousands that connect at once leaves no socket open, and others are served meanwhile", () =>
    Effect.gen(function*() {
      const addresses = yield* listening()
      const descriptors = () => fs.readdirSync("/proc/self/fd").length
      const before = descriptors()
      let most = 0
      yield* Effect.forEach(Array.from({ length: 40 }), (_, round) =>
        Effect.gen(function*() {
          const sockets = yield* Effect.forEach(Array.from({ length: 50 }), () => connectRaw(portOf(addresses)))
          if (round % 10 === 0) expect(yield* hello(addresses[0]!)).toBe("n1")
          most = Math.max(most, descriptors())
          expect(sockets).toHaveLength(50)
        }).pipe(Effect.scoped), { discard: true })
      // Both ends are in this process: those of this round, and the node's of rounds before.
      expect(most - before).toBeLessThan(2 * NodeConfig.defaults.maxStrangers + 50)
      expect(yield* hello(addresses[0]!)).toBe("n1")
    }).pipe(Effect.scoped))

  it.live("that falls silent after Hello is disconnected", () =>
    Effect.gen(function*() {
      const port = portOf(yield* listening({ helloDeadline: "20 millis", silenceLimit: "50 millis" }))
      const [validHello] = yield* HostileFrames.validFrames
      yield* Effect.promise(() => sendAndAwaitClose(port, validHello!))
    }))

  it.live("is disconnected when there are too many, without harm to the others", () =>
    Effect.gen(function*() {
      const addresses = yield* listening({ maxConnections: 2, helloDeadline: "1 minute" })
      const [validHello] = yield* HostileFrames.validFrames
      const greeted = Effect.gen(function*() {
        const socket = yield* connectRaw(portOf(addresses))
        socket.write(validHello!)
        yield* Effect.promise(() => once(socket, "data"))
        return socket
      })
      const [first, second] = [yield* greeted, yield* greeted]
      const third = yield* connectRaw(portOf(addresses))
      yield* closed(third)
      expect([first.readyState, second.readyState]).toEqual(["open", "open"])
      first.destroy()
      yield* closed(first)
      // The node hears of it a moment later than this end.
      const name = yield* hello(addresses[0]!).pipe(Effect.eventually)
      expect(name).toBe("n1")
    }))

  it.live("that has not said Hello loses its place to the next when there are too many", () =>
    Effect.gen(function*() {
      const addresses = yield* listening({ maxStrangers: 2, helloDeadline: "1 minute" })
      const first = yield* connectRaw(portOf(addresses))
      const second = yield* connectRaw(portOf(addresses))
      const third = yield* connectRaw(portOf(addresses))
      yield* closed(first)
      expect(yield* hello(addresses[0]!)).toBe("n1")
      yield* closed(second)
      expect(third.readyState).toBe("open")
    }))

  it.live("of a thousand that send random, truncated and bit-flipped messages leaves the node serving", () =>
    Effect.gen(function*() {
      const addresses = yield* listening({ helloDeadline: "100 millis", silenceLimit: "100 millis" })
      const valid = yield* HostileFrames.validFrames
      const random = HostileFrames.makeRandom(20260802)
      const messages = Array.from({ length: 1000 }, (_, n) => HostileFrames.hostileBytes(valid, random, n))
      yield* Effect.promise(() =>
        HostileFrames.inParallel(messages.length, 100, (n) => sendAndAwaitClose(portOf(addresses), messages[n]!))
      )
      expect(yield* hello(addresses[0]!)).toBe("n1")
    }))
})
