/** Sockets that are closed with a scope, unless they have become part of another. */
import { Effect, type Scope } from "effect"
import type * as net from "node:net"

/** Sockets that belong to the TLS on them, which closes them when it has sent what is left. */
const wrapped = new WeakSet<net.Socket>()

/** Leaves the end of a socket to the one that was made of it. */
export const wrap = (socket: net.Socket): void => void wrapped.add(socket)

/** At once while it is not connected, else when all that was written is sent: a lease that is released, say. */
const close = (socket: net.Socket): void => {
  if (wrapped.has(socket)) return
  if (socket.connecting) socket.destroy()
  else socket.destroySoon()
}

/** Makes a socket that is closed with the scope. */
export const make = (connect: () => net.Socket): Effect.Effect<net.Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = connect()
      // Whoever uses it listens as well; until then an error is told by the end of the connection.
      socket.on("error", () => {})
      return socket
    }),
    (socket) => Effect.sync(() => close(socket))
  )
