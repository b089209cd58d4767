/** Clients and nodes that find each other, with real datagrams on loopback. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Queue, Result, Schedule, Scope, Stream } from "effect"
import type { Socket } from "node:dgram"
import * as Datagram from "../../../src/domain/discovery/Datagram.ts"
import * as Stamps from "../../../src/layers/discovery/Stamps.ts"
import * as Beacons from "../../support/Beacons.ts"
import * as LoopTime from "../../support/LoopTime.ts"
import * as UdpSockets from "../../support/UdpSockets.ts"

const { aBeacon, aClient, aSocket, freePorts, next, pattern } = Beacons

const keyA = new Uint8Array(32).fill(1)
const keyB = new Uint8Array(32).fill(2)

const places = (found: ReadonlyArray<{ readonly host: string; readonly port: number }>) =>
  found.map(({ host, port }) => `${host}:${port}`).toSorted()

describe("clients and nodes", () => {
  it.live("find each other whoever starts first", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0] = yield* freePorts(2)
      yield* aBeacon({ host: "127.0.0.2", port: nodePort }, { clientPort })
      const client = yield* aClient({ nodePort, clientPort })
      expect(places(yield* next(client, [pattern("*")], 1))).toEqual([`127.0.0.2:${nodePort}`])

      const late = yield* aClient({ nodePort, clientPort })
      const told = yield* Queue.unbounded<string>()
      yield* late.found([pattern("127.0.0.*")]).pipe(
        Stream.runForEach(({ host }) => Queue.offer(told, host)),
        Effect.forkScoped
      )
      expect(yield* Queue.take(told)).toBe("127.0.0.1")
      expect(yield* Queue.take(told)).toBe("127.0.0.2")
      yield* aBeacon({ host: "127.0.0.3", port: nodePort }, { clientPort })
      expect(yield* Queue.take(told)).toBe("127.0.0.3")
    }))

  it.live("are told where nodes want to be dialled, and by which name a pattern means them", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0] = yield* freePorts(2)
      yield* aBeacon({ host: "127.0.0.2", port: nodePort, name: "render-7" }, {
        clientPort,
        extIpAddr: ["203.0.113.9", "node.example"]
      })
      const client = yield* aClient({ nodePort, clientPort })
      const found = yield* Effect.forEach(
        ["render-*", "203.0.*", "node.ex*"],
        (text) => next(client, [pattern(text)], 1),
        { concurrency: "unbounded" }
      )
      expect(found.flat().map(({ host }) => host)).toEqual(["203.0.113.9", "203.0.113.9", "node.example"])
      expect(yield* client.means).toContain(`by UDP at port ${nodePort}`)
    }))

  it.live("with different secrets do not see each other, and are told why", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0] = yield* freePorts(2)
      yield* aBeacon({ host: "127.0.0.2", port: nodePort }, { clientPort, key: keyA })
      yield* aBeacon({ host: "127.0.0.3", port: nodePort }, { clientPort, key: keyB })
      yield* aBeacon({ host: "127.0.0.4", port: nodePort }, { clientPort })
      const clients = yield* Effect.forEach([keyA, keyB, undefined], (key) => aClient({ nodePort, clientPort, key }))
      const told = yield* Effect.forEach(clients, () => Queue.unbounded<string>())
      yield* Effect.forEach(
        clients,
        (client, i) =>
          client.found([pattern("*")]).pipe(
            Stream.runForEach(({ host }) => Queue.offer(told[i]!, host)),
            Effect.forkScoped
          )
      )
      for (const [i, host] of ["127.0.0.2", "127.0.0.3", "127.0.0.4"].entries()) {
        expect(yield* Queue.take(told[i]!)).toBe("127.0.0.1")
        expect(yield* Queue.take(told[i]!)).toBe(host)
      }
      // Another node of each announces itself three times in four seconds: heard by all, heeded by its own client only.
      for (const [i, key] of [keyA, keyB, undefined].entries()) {
        yield* aBeacon({ host: `127.0.1.${i}`, port: nodePort }, { clientPort, key })
      }
      for (const [i, one] of told.entries()) expect(yield* Queue.take(one)).toBe(`127.0.1.${i}`)
      for (const one of told) expect(yield* Queue.size(one)).toBe(0)
      const [a = "", , none = ""] = yield* Effect.forEach(clients, ({ means }) => means)
      expect(a).toContain("signed with another secret")
      expect(a).toContain("without a signature, though there is a secret here")
      expect(none).toContain("signed with a secret, and there is none here")
    }))

  it.live("say at the client, too, that the other side has another secret, none, or another time", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0] = yield* freePorts(2)
      yield* aBeacon({ host: "127.0.0.2", port: nodePort }, { clientPort, key: keyA })
      const means = (key: Uint8Array | undefined, said: string) =>
        Effect.gen(function*() {
          // Its own port: it hears no announcement, only what comes back for its pings.
          const [own = 0] = yield* freePorts(1)
          const client = yield* aClient({ nodePort, clientPort: own, key })
          yield* Effect.forkScoped(Stream.runDrain(client.found([pattern("*")])))
          yield* Effect.repeat(client.means, {
            until: (text) => text.includes(said),
            schedule: Schedule.spaced("20 millis")
          })
        })
      yield* Effect.scoped(
        means(keyB, "signed with another secret: give everybody the same secret (the last from 127.0.0.2)")
      )
      yield* Effect.scoped(
        means(undefined, "signed with a secret, and there is none here: give everybody the same secret")
      )
    }))

  it.live("open no socket for lists that name every node, and close all of them with the cluster", () =>
    Effect.gen(function*() {
      const sockets = () => UdpSockets.of(process.pid).length
      const before = sockets()
      const [nodePort = 0, clientPort = 0] = yield* freePorts(2)
      const scope = yield* Scope.make()
      const client = yield* aClient({ nodePort, clientPort }).pipe(Scope.provide(scope))
      yield* client.found([{ _tag: "Local" }, { _tag: "Tcp", host: "10.0.0.7", port: nodePort }]).pipe(
        Stream.runDrain,
        Effect.forkScoped({ startImmediately: true })
      )
      yield* Effect.yieldNow
      expect(sockets()).toBe(before)
      yield* aBeacon({ host: "127.0.0.2", port: nodePort }, { clientPort }).pipe(Scope.provide(scope))
      yield* next(client, [pattern("*")], 1)
      expect(sockets()).toBeGreaterThan(before)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.callback<void>((resume) => {
        setImmediate(() => resume(Effect.void))
      })
      expect(sockets()).toBe(before)
    }))

  it.live("a hundred of them, in less than two seconds", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0] = yield* freePorts(2)
      const hosts = Array.from({ length: 100 }, (_, i) => `127.0.2.${i + 1}`)
      yield* Effect.forEach(hosts, (host) => aBeacon({ host, port: nodePort }, { clientPort, key: keyA }))
      using clock = LoopTime.start()
      const client = yield* aClient({ nodePort, clientPort, key: keyA })
      const found = yield* next(client, [pattern("*")], 100)
      const millis = clock.now()
      expect(places(found)).toEqual(hosts.map((host) => `${host}:${nodePort}`).toSorted())
      expect(millis).toBeLessThan(2000)
    }))

  it.live("share the port of announcements on one host, and go on without it", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0, takenPort = 0] = yield* freePorts(3)
      yield* aSocket("127.0.0.1", takenPort)
      const clients = yield* Effect.forEach([clientPort, clientPort, takenPort], (port) =>
        aClient({ nodePort, clientPort: port }))
      yield* aBeacon({ host: "127.0.0.2", port: nodePort }, { clientPort })
      const found = yield* Effect.forEach(clients, (client) =>
        next(client, [pattern("*")], 1))
      expect(found.flat().map(({ host }) => host)).toEqual(["127.0.0.2", "127.0.0.2", "127.0.0.2"])
      expect(yield* clients[2]!.means).toContain(`127.0.0.1 port ${takenPort} cannot be used: EADDRINUSE`)
    }))

  it.live("find nodes again that say goodbye and come back", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0] = yield* freePorts(2)
      const client = yield* aClient({ nodePort, clientPort })
      const told = yield* Queue.unbounded<string>()
      yield* client.found([pattern("*")]).pipe(
        Stream.runForEach(({ host }) => Queue.offer(told, host)),
        Effect.forkScoped
      )
      expect(yield* Queue.take(told)).toBe("127.0.0.1")
      for (let i = 0; i < 3; i++) {
        const scope = yield* Scope.make()
        yield* aBeacon({ host: "127.0.0.2", port: nodePort, incarnation: "same" }, { clientPort }).pipe(
          Scope.provide(scope)
        )
        expect(yield* Queue.take(told)).toBe("127.0.0.2")
        yield* Scope.close(scope, Exit.void)
      }
    }))

  it.live("reach clients on other networks that a node knows, again and again while it is idle", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0, elsewhere = 0] = yield* freePorts(3)
      const socket = yield* aSocket("127.0.0.1", elsewhere)
      const heard = yield* Queue.unbounded<Datagram.Message["_tag"]>()
      socket.on("message", (bytes) => {
        const read = Datagram.decode(bytes, undefined)
        if (Result.isSuccess(read)) Queue.offerUnsafe(heard, read.success.message._tag)
      })
      const scope = yield* Scope.make()
      yield* aBeacon({ host: "127.0.0.2", port: nodePort }, {
        clientPort,
        schedulers: [{ host: "127.0.0.1", port: elsewhere }, { host: "no.such.host.invalid", port: elsewhere }],
        pingIntervalMillis: 100
      }).pipe(Scope.provide(scope))
      for (let i = 0; i < 5; i++) expect(yield* Queue.take(heard)).toBe("Announcement")
      yield* Scope.close(scope, Exit.void)
      let last = yield* Queue.take(heard)
      while (last === "Announcement") last = yield* Queue.take(heard)
      expect(last).toBe("Goodbye")
    }))
})

describe("names with several addresses", () => {
  it.live("are a node for each of them, looked up again at the ping interval", () =>
    Effect.gen(function*() {
      const [nodePort = 0] = yield* freePorts(1)
      const more = yield* Deferred.make<void>()
      const client = yield* aClient({
        nodePort,
        pingIntervalMillis: 20,
        lookup: (host) =>
          Effect.map(Deferred.isDone(more), (isMore) =>
            host === "workers" ? ["10.0.0.1", "10.0.0.2", ...(isMore ? ["10.0.0.3"] : [])] : ["10.0.0.9"])
      })
      const hosts = new Set<string>()
      const three = yield* client.found([
        { _tag: "Tcp", host: "workers", port: 7 },
        { _tag: "Tcp", host: "single", port: 7 },
        { _tag: "Tcp", host: "10.0.0.8", port: 7 }
      ]).pipe(
        Stream.filter((one) =>
          one._tag === "Tcp"
        ),
        Stream.tap(({ host, listedAs, port }) =>
          Effect.sync(() => {
            expect([listedAs, port]).toEqual(["workers", 7])
            hosts.add(host)
          })
        ),
        Stream.takeUntil(() => hosts.size === 3),
        Stream.runDrain,
        Effect.forkScoped
      )
      yield* Deferred.succeed(more, undefined)
      yield* Fiber.join(three)
      expect([...hosts].toSorted()).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    }))
})

describe("a node among strangers", () => {
  const ping = (key?: Uint8Array) =>
    Effect.map(Stamps.next, (stamp) => Datagram.encode({ _tag: "Ping", answerAt: [] }, stamp, Stamps.macOf(key)))

  /** Sends a datagram and lets whoever else is in this process read: the kernel keeps some hundred for a socket. */
  const sendFrom = (socket: Socket, bytes: Uint8Array, to: { readonly host: string; readonly port: number }) =>
    Effect.callback<void>((resume) =>
      socket.send(bytes, to.port, to.host, () => setImmediate(() => resume(Effect.void)))
    )

  /** Sends datagrams one after the other, and then a valid ping whose answer comes last: the answers before it. */
  const answersTo = Effect.fnUntraced(function*(
    datagrams: ReadonlyArray<Uint8Array>,
    to: { readonly host: string; readonly port: number },
    key?: Uint8Array
  ) {
    const socket = yield* aSocket("127.0.0.1")
    const heard = yield* Queue.unbounded<{ readonly host: string; readonly bytes: Uint8Array }>()
    socket.on("message", (bytes, { address }) => Queue.offerUnsafe(heard, { host: address, bytes }))
    const send = (bytes: Uint8Array) => sendFrom(socket, bytes, to)
    yield* Effect.forEach(datagrams, send, { discard: true })
    const stamp = yield* Stamps.next
    yield* send(Datagram.encode({ _tag: "Ping", answerAt: [] }, stamp, Stamps.macOf(key)))
    const before: Array<string> = []
    while (true) {
      const { bytes, host } = yield* Queue.take(heard)
      const read = Datagram.decode(bytes, Stamps.macOf(key))
      if (Result.isFailure(read) || read.success.message._tag !== "Answer") {
        before.push(Result.isFailure(read) ? `${host} ?` : read.success.message._tag)
        expect(bytes.length).toBeLessThan(Datagram.maxBytes)
      } else if (read.success.message.inReplyTo === stamp.nonce) return before
      else before.push(read.success.message.inReplyTo)
    }
  })

  it.live("answers neither junk nor what is not signed with its secret, nor replays", () =>
    Effect.gen(function*() {
      const [port = 0, clientPort = 0] = yield* freePorts(2)
      const to = { host: "127.0.0.2", port }
      yield* aBeacon(to, { clientPort, key: keyA })
      const valid = yield* ping(keyA)
      const old = Datagram.encode(
        { _tag: "Ping", answerAt: [] },
        { nonce: "0".repeat(32), sentAtMillis: 1e12 },
        Stamps.macOf(keyA)
      )
      const hostile = [
        yield* ping(),
        yield* ping(keyB),
        old,
        // Of these three the sender hears that they are not heeded, but no more often than that.
        yield* ping(keyB),
        old,
        Buffer.alloc(0),
        Buffer.from("dispy"),
        Buffer.alloc(65_507, 0x5b),
        valid.subarray(0, 500),
        yield* Effect.map(Stamps.next, (stamp) =>
          Datagram.encode({ _tag: "Goodbye", incarnation: "x" }, stamp, Stamps.macOf(keyA)))
      ]
      expect(yield* answersTo(hostile, to, keyA)).toEqual(["Unheeded", "Unheeded", "Unheeded"])
      // What is no ping never hears that, or two nodes could keep each other busy.
      const short = Datagram.encode({ _tag: "Unheeded" }, yield* Stamps.next, Stamps.macOf(keyB))
      yield* aBeacon({ host: "127.0.0.3", port }, { clientPort, key: keyA })
      expect(yield* answersTo([short], { host: "127.0.0.3", port }, keyA)).toEqual([])
      expect(
        yield* answersTo(
          Array.from({ length: 100 }, () =>
            valid),
          to,
          keyA
        )
      ).toHaveLength(1)
    }))

  it.live("answers a host so often and not more", () =>
    Effect.gen(function*() {
      const [port = 0, clientPort = 0] = yield* freePorts(2)
      const to = { host: "127.0.0.2", port }
      yield* aBeacon(to, { clientPort })
      const socket = yield* aSocket("127.0.0.1")
      let answers = 0
      const start = performance.now()
      const other = yield* aSocket("127.0.0.9")
      socket.on("message", () => answers++)
      for (let i = 0; i < 500; i++) {
        const bytes = yield* ping()
        yield* sendFrom(socket, bytes, to)
      }
      // Another host is answered at once all the same: its answer comes after all of these.
      const heard = yield* Deferred.make<void>()
      other.on("message", () => Deferred.doneUnsafe(heard, Effect.void))
      other.send(yield* ping(), port, to.host)
      yield* Deferred.await(heard)
      expect(answers).toBeGreaterThanOrEqual(50)
      const seconds = (performance.now() - start) / 1000
      expect(answers).toBeLessThanOrEqual(50 + Math.ceil(20 * seconds))
      expect(answers).toBeLessThan(500)
    }))

  it.live("answers a ping as often as it asks for, but without a secret with no more bytes than it has", () =>
    Effect.gen(function*() {
      const [port = 0, clientPort = 0] = yield* freePorts(2)
      const extIpAddr = ["x", "y", "z"].map((letter) => letter.repeat(100))
      yield* aBeacon({ host: "127.0.0.2", port }, { clientPort })
      yield* aBeacon({ host: "127.0.0.3", port }, { clientPort, extIpAddr })
      yield* aBeacon({ host: "127.0.0.4", port }, { clientPort, extIpAddr, key: keyA })
      const socket = yield* aSocket("127.0.0.1")
      const heard = yield* Queue.unbounded<{ readonly from: string; readonly bytes: number }>()
      socket.on("message", (bytes, { address }) => {
        Queue.offerUnsafe(heard, { from: address, bytes: bytes.length })
      })
      const answers = new Map<string, number>()
      /** Asks a node for three answers, and waits until so many of its answers have come in all. */
      const ask = Effect.fnUntraced(function*(host: string, count: number, key?: Uint8Array) {
        const stamp = yield* Stamps.next
        const asking = Datagram.encode({ _tag: "Ping", answerAt: [], answers: 3 }, stamp, Stamps.macOf(key))
        yield* sendFrom(socket, asking, { host, port })
        while ((answers.get(host) ?? 0) < count) {
          const { bytes, from } = yield* Queue.take(heard)
          answers.set(from, (answers.get(from) ?? 0) + 1)
          expect(bytes).toBeLessThanOrEqual(asking.length)
        }
      })
      yield* ask("127.0.0.3", 1)
      yield* ask("127.0.0.2", 3)
      yield* ask("127.0.0.4", 3, keyA)
      yield* ask("127.0.0.2", 6)
      // Its further answers would have come by now.
      expect(answers.get("127.0.0.3")).toBe(1)
    }))

  it.live("is found within ten seconds though nine of ten pings and answers are lost, the tenth comes 100 times, all among junk", () =>
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0] = yield* freePorts(2)
      const node = yield* aSocket("127.0.0.2", nodePort)
      let [pings, answers] = [0, 0]
      node.on("message", (bytes, { address, port }) => {
        const read = Datagram.decode(bytes, undefined)
        if (Result.isFailure(read) || read.success.message._tag !== "Ping") return
        for (let i = 0; i < 10; i++) node.send(Buffer.alloc(i * 900, i), port, address)
        if (++pings % 10 !== 0) return
        const answer = Datagram.encode(
          {
            _tag: "Answer",
            inReplyTo: read.success.nonce,
            node: { name: "beta", port: nodePort, incarnation: "b", addresses: ["203.0.113.2"], version: "1" }
          },
          { nonce: "f".repeat(32), sentAtMillis: 0 },
          undefined
        )
        for (let i = 0; i < (read.success.message.answers ?? 1); i++) {
          if (++answers % 10 !== 0) continue
          for (let copy = 0; copy < 100; copy++) node.send(answer, port, address)
        }
      })
      const client = yield* aClient({ nodePort, clientPort })
      const targets = [pattern("*"), { _tag: "Tcp", host: "127.0.0.2", port: nodePort } as const]
      using clock = LoopTime.start()
      const found = yield* next(client, targets, 1)
      const millis = clock.now()
      expect(places(found)).toEqual([`203.0.113.2:${nodePort}`])
      expect(millis).toBeLessThan(10_000)
    }))
})
