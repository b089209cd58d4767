/** How connections with a secret are encrypted: who gets which cipher, and what both ends hear when the secrets differ. */
import { assert, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import * as net from "node:net"
import type * as tls from "node:tls"
import type { Secret } from "../../../src/domain/security/Credentials.ts"
import * as Refusal from "../../../src/domain/security/Refusal.ts"
import * as SecretCiphers from "../../../src/layers/security/SecretCiphers.ts"
import * as TlsClient from "../../../src/layers/security/TlsClient.ts"
import * as TlsServer from "../../../src/layers/security/TlsServer.ts"

const aSecret = (): Secret => ({ _tag: "Secret", tlsKey: randomBytes(32), datagramKey: randomBytes(32) })

type Outcome = net.Socket | TlsServer.Refused | undefined

/** A node's door on a free port, and what came of the first connection to it. */
const open = Effect.fnUntraced(function*(secret: Secret) {
  const door = TlsServer.make(secret, 20)
  const outcome = yield* Deferred.make<Outcome>()
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    Effect.runFork(Effect.flatMap(door(socket), (one) => Deferred.succeed(outcome, one)))
  })
  yield* Effect.acquireRelease(
    Effect.promise(async () => {
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
    }),
    () =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  )
  const { port } = server.address() as net.AddressInfo
  return { outcome, port }
})

const cipherOf = Effect.fnUntraced(function*(isBulk: boolean) {
  const secret = aSecret()
  const { outcome, port } = yield* open(secret)
  const { ready, socket } = TlsClient.dial(secret, { host: "127.0.0.1", port }, isBulk)
  yield* Effect.promise(() => once(socket, ready))
  const served = yield* Deferred.await(outcome)
  const { name } = (socket as tls.TLSSocket).getCipher()
  assert.isTrue(served instanceof net.Socket)
  socket.destroy()
  return name
})

it.live("control connections have ChaCha20, bulk connections what is fastest here", () =>
  Effect.gen(function*() {
    assert.strictEqual(yield* cipherOf(false), "ECDHE-PSK-CHACHA20-POLY1305")
    assert.strictEqual(yield* cipherOf(true), SecretCiphers.bulk().split(":")[0])
  }))

for (const isBulk of [false, true]) {
  it.live(`of two secrets both ends say so, on a ${isBulk ? "bulk" : "control"} connection`, () =>
    Effect.gen(function*() {
      const { outcome, port } = yield* open(aSecret())
      const { socket } = TlsClient.dial(aSecret(), { host: "127.0.0.1", port }, isBulk)
      const [error] = yield* Effect.promise(() => once(socket, "close").catch((reason: Error) => [reason]))
      assert.include(Refusal.explainToClient(error as Error), "the secrets differ")
      const told = yield* Deferred.await(outcome)
      assert.deepStrictEqual(told, { _tag: "Refused", reason: "it has another secret: give both sides the same one" })
    }))
}
