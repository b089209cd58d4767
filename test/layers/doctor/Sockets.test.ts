/** Listening sockets of this machine: whose they are, and what they ask of strangers. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as dgram from "node:dgram"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import * as tls from "node:tls"
import * as PeerName from "../../../src/domain/keys/PeerName.ts"
import * as OpenSockets from "../../../src/layers/doctor/OpenSockets.ts"
import * as SocketSecurity from "../../../src/layers/doctor/SocketSecurity.ts"
import * as CertificateAuthority from "../../../src/layers/keys/CertificateAuthority.ts"
import * as DaemonProcess from "../../support/DaemonProcess.ts"

/** A server on a free port of 127.0.0.1, which ends with the scope. */
const serve = <S extends net.Server>(make: () => S) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = make()
      await once(server.listen(0, "127.0.0.1"), "listening")
      return { server, port: (server.address() as net.AddressInfo).port }
    }),
    ({ server }) => Effect.sync(() => server.close())
  )

const udp = Effect.acquireRelease(
  Effect.promise(async () => {
    const socket = dgram.createSocket("udp4")
    socket.bind(0, "127.0.0.1")
    await once(socket, "listening")
    return socket
  }),
  (socket) => Effect.sync(() => socket.close())
)

describe.skipIf(process.platform !== "linux")("OpenSockets (Linux only: it reads /proc)", () => {
  it.live("finds who has a port, TCP and UDP apart", () =>
    Effect.gen(function*() {
      const { port } = yield* serve(() => net.createServer())
      const datagrams = (yield* udp).address().port
      const sockets = (yield* OpenSockets.all)!
      const facts = OpenSockets.portFacts(sockets, [
        { transport: "tcp", port, side: "node" },
        { transport: "udp", port, side: "node" },
        { transport: "udp", port: datagrams, side: "client" }
      ])
      expect(facts[0]).toMatchObject({ isTaken: true, holder: { pid: process.pid, isDispy: false } })
      expect(facts[1]).toMatchObject({ isTaken: false, holder: undefined })
      expect(facts[2]).toMatchObject({ isTaken: true, holder: { pid: process.pid } })
    }))

  it.live("knows a dispynode, and that everybody on this machine may use it", () =>
    Effect.gen(function*() {
      const daemon = yield* DaemonProcess.start(["--port", "0", "--cpus", "1"])
      const port = DaemonProcess.portOf(yield* daemon.ready)
      const sockets = (yield* OpenSockets.all)!.filter(({ holder }) => holder?.pid === daemon.child.pid)
      expect(sockets).toContainEqual({
        socket: expect.objectContaining({ transport: "tcp", address: "127.0.0.1", port }) as unknown,
        holder: { pid: daemon.child.pid, program: "dispynode", isDispy: true }
      })
      const inspected = yield* SocketSecurity.inspect(sockets)
      expect(inspected.find((socket) => socket.transport === "tcp" && socket.address === "127.0.0.1")).toMatchObject({
        port,
        authentication: { _tag: "None" }
      })
    }))

  it.live("tells who can enter the directory of a socket in the file system", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const file = path.join(directory, "node.sock")
      yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const server = net.createServer()
          await once(server.listen(file), "listening")
          return server
        }),
        (server) => Effect.sync(() => server.close())
      )
      const sockets = (yield* OpenSockets.all)!.flatMap(({ socket }) =>
        socket.transport === "unix" && socket.path === file
          ? [{ socket, holder: { pid: 1, program: "dispynode", isDispy: true } }]
          : []
      )
      expect(yield* SocketSecurity.inspect(sockets)).toMatchObject([
        { transport: "unix", address: file, authentication: { _tag: "FileMode", mode: 0o700 } }
      ])
      fs.chmodSync(directory, 0o755)
      expect((yield* SocketSecurity.inspect(sockets))[0]!.authentication).toEqual({ _tag: "FileMode", mode: 0o755 })
    }))
})

describe("SocketSecurity", () => {
  it.live("tells a secret, a certificate with its expiry, and nothing at all apart, by what a stranger meets", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const [alpha] = (yield* CertificateAuthority.run({
        directory,
        peers: [Result.getOrThrow(PeerName.parse("node", "alpha"))],
        days: 10,
        authorityDays: 20,
        force: false
      })).issued.filter(({ role }) => role === "node")
      const pem = fs.readFileSync(alpha!.file, "utf8")
      const psk = Buffer.alloc(32, 7)
      const ignore = (server: tls.Server): tls.Server => server.on("tlsClientError", () => {})
      const secret = yield* serve(() =>
        ignore(tls.createServer({
          ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
          minVersion: "TLSv1.2",
          maxVersion: "TLSv1.2",
          pskCallback: () => psk
        }))
      )
      const certificate = yield* serve(() =>
        ignore(tls.createServer({
          cert: pem,
          key: pem,
          ca: fs.readFileSync(path.join(directory, "ca.pem")),
          minVersion: "TLSv1.3",
          requestCert: true,
          rejectUnauthorized: true
        }))
      )
      const closing = yield* serve(() => net.createServer((socket) => socket.on("error", () => {}).destroy()))
      const refusing = yield* serve(() =>
        // The TLS alert "insufficient security".
        net.createServer((socket) => socket.on("error", () => {}).end(Uint8Array.of(0x15, 3, 3, 0, 2, 2, 71)))
      )
      const talking = yield* serve(() =>
        net.createServer((socket) => socket.on("error", () => {}).end("HTTP/1.1 400\r\n\r\n"))
      )
      const asked = ({ port }: { readonly port: number }) => SocketSecurity.authenticationOf("127.0.0.1", port)
      expect(yield* asked(secret)).toEqual({ _tag: "Secret" })
      // Certificates count whole seconds.
      const notAfter = Math.floor(alpha!.notAfter / 1000) * 1000
      expect(yield* asked(certificate)).toEqual({ _tag: "Certificate", subject: "CN=alpha", notAfter })
      expect(yield* asked(closing)).toEqual({ _tag: "None" })
      expect(yield* asked(refusing)).toEqual({ _tag: "None" })
      expect(yield* asked(talking)).toEqual({ _tag: "None" })
    }))

  it.live("does not wait long for one that is silent", () =>
    Effect.gen(function*() {
      const connections: Array<net.Socket> = []
      const silent = yield* serve(() => net.createServer((socket) => connections.push(socket)))
      const found = yield* SocketSecurity.authenticationOf("127.0.0.1", silent.port)
      connections.forEach((socket) => socket.destroy())
      expect(found).toMatchObject({ _tag: "Unknown" })
    }))
})
