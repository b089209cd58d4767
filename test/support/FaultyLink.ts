/** A TCP proxy that does to connections what networks do: resets them, swallows what they carry, stands still. */
import * as net from "node:net"

/** A proxy to a port of this machine. */
export interface FaultyLink {
  /** For node lists. */
  readonly address: string
  /** Connections that there were. */
  readonly connections: () => number
  /** Resets all connections. */
  readonly reset: () => void
  /** What existing connections carry is lost from now on, both ways, though nobody is told. */
  readonly swallow: () => void
  /** The same, and new connections are not answered, until it is mended: those that there were are reset then. */
  readonly cut: () => void
  readonly mend: () => void
  readonly close: () => void
}

/** Starts a proxy. */
export const start = (target: number): Promise<FaultyLink> => {
  interface Line {
    readonly ends: readonly [net.Socket, net.Socket]
    isSwallowed: boolean
  }
  const lines = new Set<Line>()
  let isCut = false
  let connections = 0
  const server = net.createServer((client) => {
    connections++
    const node = net.connect(target, "127.0.0.1")
    const line: Line = { ends: [client, node], isSwallowed: isCut }
    lines.add(line)
    for (const [from, to] of [[client, node], [node, client]] as const) {
      from.on("data", (bytes) => {
        if (line.isSwallowed || to.destroyed || to.write(bytes)) return
        from.pause()
        to.once("drain", () => from.resume())
      })
      from.on("error", () => {})
      from.on("close", () => {
        if (line.isSwallowed) return
        lines.delete(line)
        to.destroy()
      })
    }
  })
  const reset = (): void => {
    for (const line of lines) for (const end of line.ends) end.resetAndDestroy()
    lines.clear()
  }
  const swallow = (): void => {
    for (const line of lines) line.isSwallowed = true
  }
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      resolve({
        address: `127.0.0.1:${port}`,
        connections: () => connections,
        reset,
        swallow,
        cut: () => {
          isCut = true
          swallow()
        },
        mend: () => {
          isCut = false
          reset()
        },
        close: () => {
          server.close()
          reset()
        }
      })
    })
  })
}
