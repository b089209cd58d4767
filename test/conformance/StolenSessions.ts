/**
 * What comes of a connection that somebody recorded, of what a peer said sent back to it, and of weaker ways than the
 * one that there is: nothing. The same suite runs with a few tries and with many.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, References } from "effect"
import * as net from "node:net"
import * as tls from "node:tls"
import * as TlsClient from "../../src/layers/security/TlsClient.ts"
import { inParallel } from "../support/HostileFrames.ts"
import { aListeningNode } from "../support/ListeningNode.ts"
import { aSecret, hello } from "../support/Secrets.ts"

const secret = aSecret(1)

const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port

const listen = (onSocket: (socket: net.Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<net.Server>((resume) => {
      const server = net.createServer(onSocket)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )

/** The bytes of a connection between a client with the secret and the node, in both directions. */
const recorded = Effect.fnUntraced(function*(port: number) {
  const fromClient: Array<Buffer> = []
  const fromNode: Array<Buffer> = []
  const proxy = yield* listen((client) => {
    const node = net.connect(port, "127.0.0.1")
    client.on("data", (bytes) => fromClient.push(bytes)).pipe(node)
    node.on("data", (bytes) => fromNode.push(bytes)).pipe(client)
    for (const one of [client, node]) one.on("error", () => {})
  })
  expect(yield* hello(portOf(proxy), secret)).toBe("n1")
  return { fromClient: Buffer.concat(fromClient), fromNode: Buffer.concat(fromNode) }
})

/** All that comes back for these bytes. */
const answerTo = (port: number, bytes: Uint8Array): Promise<Buffer> =>
  new Promise((resolve) => {
    const back: Array<Buffer> = []
    const socket = net.connect({ host: "127.0.0.1", port }, () => socket.end(bytes))
    socket.on("data", (some) => back.push(some)).on("error", () => {})
    socket.once("close", () => resolve(Buffer.concat(back)))
  })

/** The types of the TLS records in these bytes: 20 ends a handshake, 23 is what it protects. */
const recordTypes = (bytes: Buffer): ReadonlySet<number> => {
  const types = new Set<number>()
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) types.add(bytes[at]!)
  return types
}

const isNoSession = (types: ReadonlySet<number>): boolean => !types.has(20) && !types.has(23)

/** Whether a client gets through with these options; null ciphers and old versions have to be allowed on its side. */
const tries = (port: number, options: tls.ConnectionOptions): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = tls.connect({
      host: "127.0.0.1",
      port,
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk: secret.tlsKey, identity: TlsClient.identity }),
      ...options
    })
    socket.once("secureConnect", () => {
      resolve(true)
      socket.destroy()
    })
    socket.on("error", () => resolve(false)).once("close", () => resolve(false))
  })

const weaker: ReadonlyArray<tls.ConnectionOptions> = [
  { ciphers: "PSK-AES256-GCM-SHA384:@SECLEVEL=0", maxVersion: "TLSv1.2" },
  { ciphers: "PSK-CHACHA20-POLY1305:@SECLEVEL=0", maxVersion: "TLSv1.2" },
  { ciphers: "ECDHE-PSK-AES128-CBC-SHA:@SECLEVEL=0", maxVersion: "TLSv1.2" },
  { ciphers: "DHE-PSK-AES128-CBC-SHA:DHE-PSK-AES256-CBC-SHA384:@SECLEVEL=0", maxVersion: "TLSv1.2" },
  { ciphers: "ECDHE-PSK-NULL-SHA:PSK-NULL-SHA:@SECLEVEL=0", maxVersion: "TLSv1.2" },
  { ciphers: "AECDH-AES128-SHA:ADH-AES128-SHA:@SECLEVEL=0", maxVersion: "TLSv1.2" },
  { ciphers: "ALL:@SECLEVEL=0", minVersion: "TLSv1", maxVersion: "TLSv1" },
  { ciphers: "ALL:@SECLEVEL=0", minVersion: "TLSv1.1", maxVersion: "TLSv1.1" },
  { minVersion: "TLSv1.3" },
  { ...TlsClient.secretOptions, pskCallback: () => ({ psk: secret.tlsKey, identity: "node" }) },
  { ...TlsClient.secretOptions, pskCallback: () => ({ psk: secret.tlsKey.subarray(0, 16), identity: "dispy" }) }
]

const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, References.MinimumLogLevel, "None")

/** Registers the suite with so many tries of each kind. */
export const suite = (count: number): void => {
  const node = aListeningNode({ maxFailures: 1_000_000 }, secret)
  const none = (title: string, run: (port: number) => Effect.Effect<(n: number) => Promise<boolean>, unknown>) =>
    it.live(`${title}, ${count} times`, () =>
      Effect.gen(function*() {
        const { port } = yield* node
        const attempt = yield* run(port)
        let accepted = 0
        yield* Effect.promise(() =>
          inParallel(count, 20, async (n) => {
            if (await attempt(n)) accepted++
          })
        )
        expect(accepted).toBe(0)
        expect(yield* hello(port, secret)).toBe("n1")
      }).pipe(quiet, Effect.scoped))

  describe("nobody is let in", () => {
    none(
      "who sends again what a client sent, or a part of it",
      (port) =>
        Effect.scoped(Effect.map(recorded(port), ({ fromClient }) => async (n) => {
          const bytes = n % 2 === 0 ? fromClient : fromClient.subarray(0, n * 31 % fromClient.length)
          return !isNoSession(recordTypes(await answerTo(port, bytes)))
        }))
    )

    none(
      "who sends a node what it said itself",
      (port) =>
        Effect.scoped(Effect.map(recorded(port), ({ fromClient, fromNode }) => {
          const ofClient = fromClient.subarray(0, 5 + fromClient.readUInt16BE(3))
          return async (n) =>
            !isNoSession(
              recordTypes(await answerTo(port, n % 2 === 0 ? fromNode : Buffer.concat([ofClient, fromNode])))
            )
        }))
    )

    none(
      "who asks for less than there is: old versions, no forward secrecy, no encryption, another name, half a key",
      (port) => Effect.succeed((n) => tries(port, weaker[n % weaker.length]!))
    )

    it.live("who sends a client what it said itself, or what a node said to it before", () =>
      Effect.gen(function*() {
        const { port } = yield* node
        const { fromNode } = yield* Effect.scoped(recorded(port))
        let n = 0
        const mirror = yield* listen((socket) => {
          socket.on("error", () => {})
          if (n++ % 2 === 0) socket.pipe(socket)
          else socket.once("data", () => socket.end(fromNode))
        })
        expect(yield* Effect.promise(() => tries(port, TlsClient.secretOptions))).toBe(true)
        let accepted = 0
        yield* Effect.promise(() =>
          inParallel(count, 20, async () => {
            if (await tries(portOf(mirror), TlsClient.secretOptions)) accepted++
          })
        )
        expect([n >= count, accepted]).toEqual([true, 0])
      }).pipe(quiet, Effect.scoped))
  })
}
