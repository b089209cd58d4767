/** A TCP proxy in which bulk connections come to a standstill: what goes over them is surely under way, and stays so. */
import * as net from "node:net"

/** A proxy to a port of this machine. */
export interface StallingProxy {
  /** For node lists. */
  readonly address: string
  /** Done when a bulk connection stands still. */
  readonly stalled: Promise<void>
  readonly close: () => void
}

/** Starts a proxy. Of each bulk connection, whose first byte is 0, it passes on so many bytes, both ways counted. */
export const start = (target: number, stallAfter: number): Promise<StallingProxy> => {
  const sockets = new Set<net.Socket>()
  const { promise: stalled, resolve: stall } = Promise.withResolvers<void>()
  const server = net.createServer((client) => {
    const node = net.connect(target, "127.0.0.1")
    let left: number | undefined
    // What is too much is read all the same: who does not read does not hear of the end.
    const pass = (bytes: Buffer, to: net.Socket): void => {
      left ??= bytes[0] === 0 ? stallAfter : Infinity
      left -= bytes.length
      if (left >= 0) to.write(bytes)
      else stall()
    }
    for (const [from, to] of [[client, node], [node, client]] as const) {
      sockets.add(from)
      from.on("data", (bytes) => pass(bytes, to))
      from.on("error", () => {})
      from.on("close", () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  })
  const close = (): void => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      resolve({ address: `127.0.0.1:${port}`, stalled, close })
    })
  })
}
