/** Bulk connections over TCP, or over a socket in the file system for the node embedded in this client. */
import { Effect, Layer } from "effect"
import * as net from "node:net"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { FileTransfer } from "../../services/FileTransfer.ts"
import type * as BulkPeer from "./BulkPeer.ts"
import * as FileTransferSession from "./FileTransferSession.ts"

/** How long a node may take to accept a connection. */
const openMillis = 5_000

/** What comes at once is read into the same memory over and over, which stays in the cache of the processor. */
const readBytes = 256 * 1024

const dial = (address: NodeAddress.NodeAddress, isBackground: boolean): Promise<BulkPeer.Wire> =>
  new Promise((resolve, reject) => {
    let take: (bytes: Uint8Array) => void = () => {}
    const onread = {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback: (size: number, bytes: Uint8Array): boolean => {
        take(bytes.subarray(0, size))
        return true
      }
    }
    const socket = address._tag === "Unix"
      ? net.connect({ path: address.path, onread })
      : net.connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true, onread })
    if (isBackground) socket.unref()
    const onError = (error: Error): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => onError(new Error("no answer in time")), openMillis)
    socket.once("error", onError)
    socket.once("connect", () => {
      clearTimeout(timer)
      socket.off("error", onError)
      resolve({
        stream: socket,
        listen: (listener) => {
          take = listener
        }
      })
    })
  })

const make = (isBackground: boolean): FileTransfer["Service"] =>
  FileTransfer.of({
    open: (address, leaseId) =>
      Effect.suspend(() =>
        FileTransferSession.make(NodeAddress.format(address), leaseId, () => dial(address, isBackground))
      )
  })

/** Bulk connections over sockets. */
export const layer: Layer.Layer<FileTransfer> = Layer.succeed(FileTransfer, make(false))

/** The same, over sockets that do not keep the process alive. */
export const layerBackground: Layer.Layer<FileTransfer> = Layer.succeed(FileTransfer, make(true))
