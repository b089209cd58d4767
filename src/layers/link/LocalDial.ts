/** A TCP connection that goes out from one of the addresses that are allowed. */
import { Effect, type Scope } from "effect"
import * as net from "node:net"
import * as Routes from "../../domain/discovery/Routes.ts"
import * as LocalAddress from "../../domain/LocalAddress.ts"
import * as Interfaces from "../discovery/Interfaces.ts"
import * as Names from "../discovery/Names.ts"
import * as OwnedSocket from "./OwnedSocket.ts"

/** Another address may do better when it is one of these. */
const wayErrors = new Set(["EADDRNOTAVAIL", "ENETUNREACH", "EHOSTUNREACH", "EINVAL"])

/** The operating system did not make a connection. */
export interface Failed {
  readonly _tag: "Failed"
  readonly cause: NodeJS.ErrnoException
}

const failed = (cause: NodeJS.ErrnoException): Failed => ({ _tag: "Failed", cause })

const once = (options: net.TcpNetConnectOpts): Effect.Effect<net.Socket, Failed, Scope.Scope> =>
  Effect.flatMap(
    OwnedSocket.make(() => net.connect({ noDelay: true, keepAlive: true, ...options })),
    (socket) =>
      Effect.callback<net.Socket, Failed>((resume) => {
        const onError = (error: Error): void => resume(Effect.fail(failed(error)))
        socket.once("error", onError)
        socket.once("connect", () => {
          socket.off("error", onError)
          resume(Effect.succeed(socket))
        })
      })
  )

/** Tries the local addresses in their order, as long as it is the way there that fails. */
const toAddress = (
  options: net.TcpNetConnectOpts & { readonly host: string },
  allowed: ReadonlyArray<string>
): Effect.Effect<net.Socket, Failed, Scope.Scope> => {
  const candidates = LocalAddress.candidates(allowed, options.host, Interfaces.read())
  const [first, ...others] = candidates.map((localAddress) => once({ ...options, localAddress }))
  return others.reduce(
    (before, next) => Effect.catchIf(before, ({ cause }) => wayErrors.has(cause.code ?? ""), () => next),
    first ?? once(options)
  )
}

/**
 * Connects to a host, by any of its addresses, from one of these addresses of this machine where one fits. The
 * connection ends with the scope.
 */
export const connect = Effect.fnUntraced(function*(
  options: net.TcpNetConnectOpts & { readonly host: string },
  allowed: ReadonlyArray<string>
): Effect.fn.Return<net.Socket, Failed, Scope.Scope> {
  const { host } = options
  const addresses = Routes.familyOf(host) === undefined ? yield* Names.lookup(host) : [host]
  const [first, ...others] = addresses.map((address) => toAddress({ ...options, host: address }, allowed))
  // An unknown name is explained by whoever looks it up.
  return yield* others.reduce((before, next) => Effect.catchTag(before, "Failed", () => next), first ?? once(options))
})
