/**
 * Bulk connections over TCP, dialled or parked by the node, or over a socket in the file system for the node embedded in
 * this client.
 */
import { Cause, Effect, Exit, FiberSet, Layer } from "effect"
import type * as net from "node:net"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { FileTransfer } from "../../services/FileTransfer.ts"
import * as NodeDial from "../link/NodeDial.ts"
import * as BulkPeer from "./BulkPeer.ts"
import * as FileTransferSession from "./FileTransferSession.ts"

/** How long a node may take to accept a connection. */
const openMillis = 5_000

/** What comes at once is read into the same memory over and over, which stays in the cache of the processor. */
const readBytes = 256 * 1024

/** Tells the connection once it is there, and has it until it ends; fails with the reason why there is none. */
const connection = Effect.fnUntraced(function*(
  address: NodeAddress.NodeAddress,
  { dial, isBackground }: Options,
  onWire: (wire: BulkPeer.Wire) => void
) {
  let take: (bytes: Uint8Array) => void = () => {}
  const onread = {
    buffer: Buffer.allocUnsafeSlow(readBytes),
    callback: (size: number, bytes: Uint8Array): boolean => {
      take(bytes.subarray(0, size))
      return true
    }
  }
  const open = Effect.gen(function*() {
    const { ready, socket } = yield* dial.begin(address, onread).pipe(
      Effect.mapError((error) => error._tag === "NodeUnreachable" ? error.reason : error.cause.message)
    )
    if (isBackground) socket.unref()
    if (ready === undefined) return socket
    return yield* Effect.callback<net.Socket, string>((resume) => {
      const onError = (error: Error): void => resume(Effect.fail(error.message))
      socket.once("error", onError)
      socket.once(ready, () => {
        socket.off("error", onError)
        resume(Effect.succeed(socket))
      })
    })
  })
  const socket = yield* Effect.timeoutOrElse(open, {
    duration: openMillis,
    orElse: () => Effect.fail("no answer in time")
  })
  onWire({
    stream: socket,
    listen: (listener) => {
      take = listener
      // Silent where the bytes come into the buffer.
      BulkPeer.wireOf(socket).listen(listener)
    }
  })
  yield* Effect.callback<void>((resume) => {
    socket.once("close", () => resume(Effect.void))
  })
}, Effect.scoped)

/** How to connect. */
interface Options {
  readonly dial: NodeDial.NodeDial
  /** Whether connections leave it to others to keep the process alive. */
  readonly isBackground: boolean
}

const make = (isBackground: boolean): Layer.Layer<FileTransfer> =>
  Layer.effect(
    FileTransfer,
    Effect.map(NodeDial.make, (dial) =>
      FileTransfer.of({
        open: Effect.fnUntraced(function*(address, leaseId) {
          const run = yield* FiberSet.makeRuntime()
          return yield* FileTransferSession.make(NodeAddress.format(address), leaseId, () =>
            new Promise((resolve, reject) => {
              const attempt = Effect.onExit(connection(address, { dial, isBackground }, resolve), (exit) =>
                Effect.sync(() => {
                  if (Exit.isSuccess(exit)) return
                  const problem = Cause.squash(exit.cause)
                  reject(problem instanceof Error ? problem : new Error(String(problem)))
                }))
              run(Effect.ignore(attempt))
            }))
        })
      }))
  )

/** Bulk connections over sockets. */
export const layer: Layer.Layer<FileTransfer> = make(false)

/** The same, over sockets that do not keep the process alive. */
export const layerBackground: Layer.Layer<FileTransfer> = make(true)
