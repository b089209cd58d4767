/** Reads the announcement with which a node parks a connection; nothing else is read of it. */
import { Effect, Result } from "effect"
import type * as net from "node:net"
import * as Preamble from "../../domain/discovery/Preamble.ts"

/** The datagram that the connection begins with; undefined when it ends before; fails when it begins with something else. */
export const read = (socket: net.Socket): Effect.Effect<Result.Result<Uint8Array, "junk"> | undefined> =>
  Effect.callback((resume) => {
    const pieces: Array<Uint8Array> = []
    const end = (outcome: Result.Result<Uint8Array, "junk"> | undefined): void => {
      stop()
      resume(Effect.succeed(outcome))
    }
    const onClose = (): void => end(undefined)
    const onData = (piece: Uint8Array): void => {
      pieces.push(piece)
      const found = Preamble.read(Buffer.concat(pieces))
      if (found._tag === "Complete") end(Result.succeed(found.datagram))
      else if (found._tag === "Junk") end(Result.fail("junk"))
    }
    const stop = (): void => {
      socket.pause()
      socket.off("data", onData)
      socket.off("close", onClose)
    }
    socket.on("close", onClose)
    socket.on("data", onData)
    if (socket.destroyed) onClose()
    return Effect.sync(stop)
  })
