/**
 * What the listening sockets of dispy's processes ask of those who connect. The
 * socket itself is asked, by a TLS handshake without credentials: whatever the
 * process was started with, that is what a stranger meets.
 */
import { Effect, Result } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as tls from "node:tls"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import type { Authentication, SocketFact } from "../../domain/doctor/Facts.ts"
import type { OpenSocket } from "../../domain/doctor/ProcNet.ts"
import type { HeldSocket } from "./OpenSockets.ts"

/** How long a socket may take to answer the handshake. */
const handshakeTimeout = "3 seconds"

/** Codes of TLS errors that end the handshake, without what changes between versions of the library. */
const plainCode = (code: string): string =>
  code.replace(/^ERR_SSL_/, "").replace(/^(SSL\/TLS|SSLV3|TLSV1|TLSV13)_ALERT_/, "")

/** What an error of the handshake tells. */
const meaning = (code: string): Authentication => {
  switch (plainCode(code)) {
    // Only a pre-shared key would do.
    case "HANDSHAKE_FAILURE":
    case "PROTOCOL_VERSION":
    case "UNSUPPORTED_PROTOCOL":
      return { _tag: "Secret" }
    // It speaks no TLS: it refuses that, or takes the handshake for a malformed message.
    case "INSUFFICIENT_SECURITY":
    case "WRONG_VERSION_NUMBER":
    case "PACKET_LENGTH_TOO_LONG":
    case "ECONNRESET":
    case "EPIPE":
      return { _tag: "None" }
    default:
      return { _tag: "Unknown", reason: code }
  }
}

/** A stranger's handshake with a TCP port. */
export const authenticationOf = (host: string, port: number): Effect.Effect<Authentication> =>
  Effect.callback<Authentication>((resume) => {
    const done = (authentication: Authentication): void => resume(Effect.succeed(authentication))
    // Nothing is sent over the connection: whose certificate it is does not matter, only that there is one.
    const socket = tls.connect({ host, port, rejectUnauthorized: false })
    socket.on("error", (error: NodeJS.ErrnoException) => done(meaning(error.code ?? error.message)))
    socket.on("close", () => done({ _tag: "None" }))
    socket.once("secureConnect", () => {
      const certificate = socket.getPeerX509Certificate()
      done(
        certificate === undefined
          ? { _tag: "Unknown", reason: "TLS without a certificate" }
          : {
            _tag: "Certificate",
            subject: certificate.subject.replaceAll("\n", ", "),
            notAfter: certificate.validToDate.getTime()
          }
      )
      socket.destroy()
    })
    return Effect.sync(() => socket.destroy())
  }).pipe(
    Effect.timeoutOrElse({
      duration: handshakeTimeout,
      orElse: () => Effect.succeed<Authentication>({ _tag: "Unknown", reason: "no answer to a TLS handshake" })
    })
  )

const modeOfDirectory = (file: string): Authentication => {
  const stats = Result.try(() => fs.statSync(path.dirname(file)))
  return Result.isSuccess(stats)
    ? { _tag: "FileMode", mode: stats.success.mode & 0o777 }
    : { _tag: "Unknown", reason: "its directory cannot be looked at" }
}

/** Where a socket on all addresses is reached from this machine. */
const reachable = (address: string): string => address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address

const ask = (socket: OpenSocket): Effect.Effect<Authentication> => {
  switch (socket.transport) {
    case "unix":
      return Effect.sync(() => modeOfDirectory(socket.path))
    case "udp":
      return Effect.succeed({ _tag: "Datagrams" })
    case "tcp":
      // A client's: it speaks no TLS before a node has announced itself.
      if (socket.port === Datagram.clientPort) return Effect.succeed({ _tag: "Announcements" })
      return authenticationOf(reachable(socket.address), socket.port)
  }
}

/** The sockets of dispy's processes, and what they ask of strangers. */
export const inspect = (sockets: ReadonlyArray<HeldSocket>): Effect.Effect<ReadonlyArray<SocketFact>> =>
  Effect.forEach(
    sockets.flatMap(({ holder, socket }) => holder?.isDispy === true ? [{ holder, socket }] : []),
    ({ holder, socket }) =>
      Effect.map(ask(socket), (authentication): SocketFact => ({
        pid: holder.pid,
        program: holder.program,
        transport: socket.transport,
        address: socket.transport === "unix" ? socket.path : socket.address,
        port: socket.transport === "unix" ? 0 : socket.port,
        authentication
      })),
    { concurrency: 8 }
  )
