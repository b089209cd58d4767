/** Asking one host whether it is a node, by datagrams. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as dgram from "node:dgram"
import { once } from "node:events"
import * as Datagram from "../../../src/domain/discovery/Datagram.ts"
import { packageVersion } from "../../../src/domain/Version.ts"
import * as Stamps from "../../../src/layers/discovery/Stamps.ts"
import * as DatagramPing from "../../../src/layers/doctor/DatagramPing.ts"
import * as Beacons from "../../support/Beacons.ts"

const key = new Uint8Array(32).fill(7)

const node = { name: "alpha", port: 51348, incarnation: "one", addresses: [], version: packageVersion }

/** Answers pings that are signed with the key; of each so many are lost before. Yields the port. */
const answering = Effect.fnUntraced(function*(nodeKey: Uint8Array | undefined, lost = 0) {
  const mac = Stamps.macOf(nodeKey)
  let heard = 0
  const socket = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const opened = dgram.createSocket("udp4")
      opened.bind(0, "127.0.0.1")
      await once(opened, "listening")
      return opened
    }),
    (opened) => Effect.sync(() => opened.close())
  )
  const stamp = yield* Stamps.next
  socket.on("message", (bytes, { address, port }) => {
    const received = Datagram.decode(bytes, mac)
    if (received._tag === "Failure" || ++heard <= lost) return
    const answer = { _tag: "Answer", inReplyTo: received.success.nonce, node } as Datagram.Message
    socket.send(Datagram.encode(answer, stamp, mac), port, address)
  })
  return socket.address().port
})

const ping = (port: number, clientKey: Uint8Array | undefined, host = "127.0.0.1") =>
  Effect.map(DatagramPing.make(clientKey)({ _tag: "Tcp", host, port }), ({ _tag }) => _tag === "Answered")

describe("DatagramPing", () => {
  it.live("hears a node, by address and by name, with and without a secret", () =>
    Effect.gen(function*() {
      expect(yield* ping(yield* answering(undefined), undefined)).toBe(true)
      expect(yield* ping(yield* answering(key), key)).toBe(true)
      expect(yield* ping(yield* answering(undefined), undefined, "localhost")).toBe(true)
    }))

  it.live("asks again, for datagrams get lost", () =>
    Effect.gen(function*() {
      expect(yield* ping(yield* answering(undefined, 2), undefined)).toBe(true)
    }))

  it.live("hears nobody where there is none, or none with its secret, and does not wait long", () =>
    Effect.gen(function*() {
      const other = yield* answering(key)
      const answers = yield* Effect.all([
        ping(other, undefined),
        ping(other, new Uint8Array(32)),
        ping(1, undefined),
        ping(1, undefined, "no-such-host.invalid")
      ], { concurrency: "unbounded" })
      expect(answers).toEqual([false, false, false, false])
    }))

  it.live("tells that a node does not heed it, and what is wrong with the secrets", () =>
    Effect.gen(function*() {
      const [port = 0, clientPort = 0] = yield* Beacons.freePorts(2)
      yield* Beacons.aBeacon({ host: "127.0.0.5", port }, { clientPort, key })
      const to = { _tag: "Tcp", host: "127.0.0.5", port } as const
      expect(yield* DatagramPing.make(key)(to)).toMatchObject({ _tag: "Answered" })
      expect(yield* DatagramPing.make(new Uint8Array(32))(to)).toEqual({
        _tag: "Unheeded",
        meaning: "signed with another secret: give everybody the same secret"
      })
      expect(yield* DatagramPing.make(undefined)(to)).toEqual({
        _tag: "Unheeded",
        meaning: "signed with a secret, and there is none here: give everybody the same secret"
      })
    }))
})
