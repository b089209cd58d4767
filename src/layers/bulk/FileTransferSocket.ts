/** Bulk connections over TCP, or over a socket in the file system for the node embedded in this client. */
import { Effect, Layer } from "effect"
import * as net from "node:net"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { FileTransfer } from "../../services/FileTransfer.ts"
import * as FileTransferSession from "./FileTransferSession.ts"

/** How long a node may take to accept a connection. */
const openMillis = 5_000

const dial = (address: NodeAddress.NodeAddress, isBackground: boolean): Promise<net.Socket> =>
  new Promise((resolve, reject) => {
    const socket = address._tag === "Unix"
      ? net.connect({ path: address.path })
      : net.connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true })
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
      resolve(socket)
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
