/** Bulk connections over TCP, or over a socket in the file system for the node embedded in this client. */
import { Effect, Layer } from "effect"
import * as net from "node:net"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import type { Credentials } from "../../domain/security/Credentials.ts"
import { Credentials as CredentialsService } from "../../services/Credentials.ts"
import { FileTransfer } from "../../services/FileTransfer.ts"
import * as TlsClient from "../security/TlsClient.ts"
import type * as BulkPeer from "./BulkPeer.ts"
import * as FileTransferSession from "./FileTransferSession.ts"

/** How long a node may take to accept a connection. */
const openMillis = 5_000

/** What comes at once is read into the same memory over and over, which stays in the cache of the processor. */
const readBytes = 256 * 1024

const dial = (
  address: NodeAddress.NodeAddress,
  credentials: Credentials,
  isBackground: boolean
): Promise<BulkPeer.Wire> =>
  new Promise((resolve, reject) => {
    let take: (bytes: Uint8Array) => void = () => {}
    const onread = {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback: (size: number, bytes: Uint8Array): boolean => {
        take(bytes.subarray(0, size))
        return true
      }
    }
    const { ready, socket } = address._tag === "Unix"
      ? { ready: "connect", socket: net.connect({ path: address.path, onread }) }
      : TlsClient.dial(
        credentials,
        { host: address.host, port: address.port, noDelay: true, keepAlive: true, onread },
        true
      )
    if (isBackground) socket.unref()
    const onError = (error: Error): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => onError(new Error("no answer in time")), openMillis)
    socket.once("error", onError)
    socket.once(ready, () => {
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

const make = (isBackground: boolean): Layer.Layer<FileTransfer> =>
  Layer.effect(
    FileTransfer,
    Effect.map(CredentialsService, (credentials) =>
      FileTransfer.of({
        open: (address, leaseId) =>
          Effect.suspend(() =>
            FileTransferSession.make(
              NodeAddress.format(address),
              leaseId,
              () => dial(address, credentials, isBackground)
            )
          )
      }))
  )

/** Bulk connections over sockets. */
export const layer: Layer.Layer<FileTransfer> = make(false)

/** The same, over sockets that do not keep the process alive. */
export const layerBackground: Layer.Layer<FileTransfer> = make(true)
