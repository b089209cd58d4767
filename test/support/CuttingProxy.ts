/** A TCP proxy that cuts connections after a number of bytes, and counts them. */
import { Effect, type Scope } from "effect"
import * as net from "node:net"

/** A proxy to a port of this machine. */
export interface CuttingProxy {
  readonly port: number
  /** Bytes from clients after which the next connection is cut; Infinity for never. Each is used once. */
  readonly cuts: Array<number>
  /** Bytes from clients, over all connections. */
  readonly passed: () => number
  readonly connections: () => number
}

/** Starts a proxy. Connections whose first byte is not 0, control connections, are never cut. */
export const make = (target: number): Effect.Effect<CuttingProxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<CuttingProxy & { readonly close: () => void }>((resume) => {
      const cuts: Array<number> = []
      const sockets = new Set<net.Socket>()
      let passed = 0
      let connections = 0
      const server = net.createServer((client) => {
        const node = net.connect(target, "127.0.0.1")
        const end = (): void => {
          client.destroy()
          node.destroy()
        }
        let left: number | undefined
        let isBulk = false
        for (const socket of [client, node]) {
          sockets.add(socket)
          socket.on("error", end)
          socket.on("close", () => {
            sockets.delete(socket)
            end()
          })
        }
        client.on("data", (bytes) => {
          if (left === undefined) {
            isBulk = bytes[0] === 0
            left = isBulk ? cuts.shift() ?? Infinity : Infinity
            if (isBulk) connections++
          }
          if (isBulk) passed += bytes.length
          left -= bytes.length
          if (left < 0) return end()
          if (!node.write(bytes)) {
            client.pause()
            node.once("drain", () => client.resume())
          }
        })
        node.pipe(client)
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as net.AddressInfo
        const close = (): void => {
          server.close()
          for (const socket of sockets) socket.destroy()
        }
        resume(Effect.succeed({ port, cuts, passed: () => passed, connections: () => connections, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )
