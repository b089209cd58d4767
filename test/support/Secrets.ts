/** Clients that know a secret, or try one. */
import { Effect } from "effect"
import * as net from "node:net"
import type { Secret } from "../../src/domain/security/Credentials.ts"
import * as Refusal from "../../src/domain/security/Refusal.ts"
import * as NodeLinkSocket from "../../src/layers/link/NodeLinkSocket.ts"
import * as TlsClient from "../../src/layers/security/TlsClient.ts"
import * as Credentials from "../../src/services/Credentials.ts"
import { NodeLink } from "../../src/services/NodeLink.ts"
import { clientHello } from "./HostileFrames.ts"

/** A secret, the same for the same number. */
export const aSecret = (number: number): Secret => ({
  _tag: "Secret",
  tlsKey: new Uint8Array(32).fill(number),
  datagramKey: new Uint8Array(32).fill(number + 100)
})

/** What a node says to a handshake with this secret, or to the beginning of one: "let in", or why not. */
export const guess = (port: number, secret: Secret | "breaks off", localAddress = "127.0.0.1"): Effect.Effect<string> =>
  Effect.callback((resume) => {
    if (secret === "breaks off") {
      void clientHello().then((bytes) => {
        const stranger = net.connect({ host: "127.0.0.1", port, localAddress }, () => stranger.write(bytes))
        // The node has answered: the handshake goes on.
        stranger.once("data", () => stranger.end())
        stranger.on("error", () => {}).once("close", () => resume(Effect.succeed("closed")))
      })
      return
    }
    const { socket } = TlsClient.dial(secret, { host: "127.0.0.1", port, localAddress })
    socket.once("error", (error) => resume(Effect.succeed(Refusal.explainToClient(error) ?? error.message)))
    socket.once("secureConnect", () => {
      socket.end()
      socket.resume()
      socket.once("close", () => resume(Effect.succeed("let in")))
    })
  })

/** The name of a node that lets this client in. */
export const hello = (port: number, secret: Secret) =>
  NodeLink.pipe(
    Effect.flatMap((link) => link.connect({ _tag: "Tcp", host: "127.0.0.1", port })),
    Effect.map((connection) => connection.info.name),
    Effect.scoped,
    Effect.provide(NodeLinkSocket.layer),
    Effect.provideService(Credentials.Credentials, secret)
  )
