/**
 * The node's end of connections: who is let in, by the first byte and then by TLS. Nothing but TLS is read of a client
 * before it has shown that it knows the secret, or has a certificate that is accepted.
 */
import { Clock, Effect } from "effect"
import type * as net from "node:net"
import * as tls from "node:tls"
import type { Certificate, Credentials, Secret } from "../../domain/security/Credentials.ts"
import * as Guesses from "../../domain/security/Guesses.ts"
import * as Refusal from "../../domain/security/Refusal.ts"
import * as SecretCiphers from "./SecretCiphers.ts"
import * as TlsClient from "./TlsClient.ts"

/** A client that is not let in: why, and what to do. */
export interface Refused {
  readonly _tag: "Refused"
  readonly reason: string
}

/** Gives the stream on which a client is served, or why it is not. Ends quietly, as undefined, with the connection. */
export type Door = (socket: net.Socket) => Effect.Effect<net.Socket | Refused | undefined>

const refused = (reason: string): Refused => ({ _tag: "Refused", reason })

const forSecret = ({ tlsKey }: Secret): tls.TlsOptions => ({
  ...TlsClient.secretOptions,
  ciphers: SecretCiphers.bulk(),
  dhparam: "auto",
  pskCallback: (_socket, identity) => identity === TlsClient.identity ? Buffer.from(tlsKey) : null
})

/** A client without an accepted certificate is told so by a sentence, for which the connection has to be there. */
const forCertificate = ({ ca, cert, key }: Certificate): tls.TlsOptions => ({
  ca,
  cert,
  key,
  minVersion: "TLSv1.3",
  requestCert: true,
  rejectUnauthorized: false
})

/** Looks at the first byte without taking it; undefined when the connection ends without one. */
export const firstByte = (socket: net.Socket): Effect.Effect<number | undefined> =>
  Effect.callback<number | undefined>((resume) => {
    const done = (byte: number | undefined): void => {
      socket.off("readable", look)
      socket.off("close", onClose)
      resume(Effect.succeed(byte))
    }
    const onClose = (): void => done(undefined)
    const look = (): void => {
      const chunk = socket.read() as Buffer | null
      if (chunk === null) return
      socket.off("readable", look)
      socket.unshift(chunk)
      done(chunk[0])
    }
    socket.on("readable", look)
    socket.on("close", onClose)
    if (socket.destroyed) onClose()
    return Effect.sync(() => {
      socket.off("readable", look)
      socket.off("close", onClose)
    })
  })

/** Says why, and ends the connection when that is sent. */
const turnAway = (socket: net.Socket, bytes: Uint8Array): void => {
  socket.on("error", () => {})
  socket.end(bytes)
  // A half-closed connection would stay for as long as its peer likes.
  socket.resume()
}

const plainDoor: Door = (socket) =>
  Effect.map(firstByte(socket), (byte) => {
    if (byte === undefined) return undefined
    if (byte !== Refusal.tlsByte) return socket
    turnAway(socket, Refusal.noTls)
    return refused(Refusal.moreThanNeeded)
  })

type Outcome = net.Socket | Refused | undefined

/** A handshake that goes on. */
interface Handshake {
  readonly guesser: string
  readonly clock: Clock.Clock
  readonly settle: (outcome: Outcome) => void
  /** Ends it from this side. */
  readonly drop: () => void
  failure: Refused | undefined
}

/** Those that the node itself has made to a client differ at its own end only. */
const keyOf = ({ localPort, remoteAddress, remotePort }: net.Socket): string =>
  `${remoteAddress} ${remotePort} ${localPort}`

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error ? String(error.code) : String(error)

const secureDoor = (credentials: Secret | Certificate, maxFailures: number): Door => {
  const guesses = Guesses.make(maxFailures)
  // It listens nowhere: connections are handed to it.
  const server = tls.createServer(credentials._tag === "Secret" ? forSecret(credentials) : forCertificate(credentials))
  const handshakes = new Map<string, Handshake>()
  const fail = (failed: Handshake): void => {
    if (Guesses.failed(guesses, failed.guesser, failed.clock.currentTimeMillisUnsafe())) return
    for (const one of handshakes.values()) if (one !== failed && one.guesser === failed.guesser) one.drop()
  }
  // No session is ever kept. But who asks for them has Node read at least 16 KiB at once, and not 1 KiB every other time:
  // its first buffer is as large as what comes first, which is small since somebody looked at it before, and it stays.
  server.on("resumeSession", (_id, done) => done(null, null))
  server.on("secureConnection", (secured) => {
    const handshake = handshakes.get(keyOf(secured))
    if (handshake === undefined) return secured.destroy()
    if (credentials._tag === "Secret" || secured.authorized) {
      secured.pause()
      return handshake.settle(secured)
    }
    fail(handshake)
    const code = codeOf(secured.authorizationError)
    turnAway(secured, Refusal.encode(Refusal.unauthorized(code)))
    handshake.settle(refused(Refusal.explainUnauthorized(code)))
  })
  server.on("tlsClientError", (error, secured) => {
    const handshake = handshakes.get(keyOf(secured))
    if (handshake === undefined) return
    handshake.failure = refused(Refusal.explainToNode(error))
    // Whoever only hangs up has been told nothing.
    if (codeOf(error).startsWith("ERR_SSL_")) fail(handshake)
  })
  const shake = (socket: net.Socket, guesser: string, clock: Clock.Clock): Effect.Effect<Outcome> =>
    Effect.callback<Outcome>((resume) => {
      const key = keyOf(socket)
      const end = (): void => {
        handshakes.delete(key)
        socket.off("close", onClose)
      }
      const handshake: Handshake = {
        guesser,
        clock,
        drop: () => {
          handshake.failure ??= refused(Refusal.explainFailures(maxFailures))
          socket.destroy()
        },
        failure: undefined,
        settle: (outcome) => {
          end()
          resume(Effect.succeed(outcome))
        }
      }
      // Clients look at certificates before the handshake is over, and hang up without a word for this side.
      const isDoubtful = credentials._tag === "Certificate"
      const onClose = (): void =>
        handshake.settle(handshake.failure ?? (isDoubtful ? refused(Refusal.doubtful) : undefined))
      handshakes.set(key, handshake)
      socket.on("close", onClose)
      server.emit("connection", socket)
      return Effect.sync(end)
    })
  return (socket) =>
    Effect.flatMap(firstByte(socket), (byte) => {
      if (byte === undefined) return Effect.succeed(undefined)
      if (byte === Refusal.tlsByte) {
        return Clock.clockWith((clock) => {
          const guesser = Guesses.guesserOf(socket.remoteAddress ?? "")
          if (Guesses.mayBegin(guesses, guesser, clock.currentTimeMillisUnsafe())) return shake(socket, guesser, clock)
          turnAway(socket, Refusal.tooManyFailures)
          return Effect.succeed(refused(Refusal.explainFailures(maxFailures)))
        })
      }
      turnAway(socket, Refusal.encode(Refusal.needsCredentials(credentials)))
      return Effect.succeed(refused(Refusal.explainNone(credentials)))
    })
}

/** The door of a node with these credentials, where so many handshakes of an address may fail a minute. */
export const make = (credentials: Credentials, maxFailures: number): Door =>
  credentials._tag === "None" ? plainDoor : secureDoor(credentials, maxFailures)
