/**
 * A TCP proxy that does to connections what networks do: resets them, swallows what they carry, delays it, stands still,
 * turns away.
 */
import * as net from "node:net"

/** A proxy to a port. */
export interface FaultyLink {
  /** For node lists. */
  readonly address: string
  /** Connections that there were. */
  readonly connections: () => number
  /** When they were asked for, those that were turned away too, in milliseconds of `performance.now`. */
  readonly dialledAt: ReadonlyArray<number>
  /** Resets all connections. */
  readonly reset: () => void
  /** Resets one of the connections, chosen by a number from 0 to 1; false when there is none. */
  readonly resetOne: (chance: number) => boolean
  /** What existing connections carry is lost from now on, both ways, though nobody is told. */
  readonly swallow: () => void
  /** The same, and new connections are not answered, until it is mended: those that there were are reset then. */
  readonly cut: () => void
  readonly mend: () => void
  /** Resets all connections, and each new one at once, until `admit`. */
  readonly refuse: () => void
  readonly admit: () => void
  readonly close: () => void
}

/** How long what it carries is under way, each way: so long, a random time up to `jitterMillis` more or less. */
export interface Line {
  readonly delayMillis: number
  readonly jitterMillis: number
}

/** Passes on what comes, in order, each piece after its time. */
const delayed = (line: Line, pass: (bytes: Buffer) => void): (bytes: Buffer) => void => {
  let last = 0
  return (bytes) => {
    const now = performance.now()
    const due = now + line.delayMillis + (Math.random() * 2 - 1) * line.jitterMillis
    // Pieces of a stream do not overtake each other.
    last = Math.max(last, due)
    setTimeout(() => pass(bytes), last - now)
  }
}

/** Starts a proxy to a port of this machine, or of another. */
export const start = (
  target: number | { readonly host: string; readonly port: number },
  line?: Line
): Promise<FaultyLink> => {
  interface Connection {
    readonly ends: readonly [net.Socket, net.Socket]
    isSwallowed: boolean
  }
  const { host, port: targetPort } = typeof target === "number" ? { host: "127.0.0.1", port: target } : target
  const lines = new Set<Connection>()
  const dialledAt: Array<number> = []
  let isCut = false
  let isRefusing = false
  let connections = 0
  const server = net.createServer((client) => {
    dialledAt.push(performance.now())
    if (isRefusing) {
      client.on("error", () => {})
      return void client.resetAndDestroy()
    }
    connections++
    const node = net.connect({ host, port: targetPort, noDelay: true })
    client.setNoDelay()
    const connection: Connection = { ends: [client, node], isSwallowed: isCut }
    lines.add(connection)
    for (const [from, to] of [[client, node], [node, client]] as const) {
      const pass = (bytes: Buffer): void => {
        if (connection.isSwallowed || to.destroyed || to.write(bytes)) return
        from.pause()
        to.once("drain", () => from.resume())
      }
      from.on("data", line === undefined ? pass : delayed(line, pass))
      from.on("error", () => {})
      from.on("close", () => {
        if (connection.isSwallowed) return
        lines.delete(connection)
        to.destroy()
      })
    }
  })
  const resetEnds = (connection: Connection): void => {
    for (const end of connection.ends) end.resetAndDestroy()
    lines.delete(connection)
  }
  const reset = (): void => {
    for (const connection of lines) resetEnds(connection)
  }
  const swallow = (): void => {
    for (const connection of lines) connection.isSwallowed = true
  }
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      resolve({
        address: `127.0.0.1:${port}`,
        connections: () => connections,
        dialledAt,
        reset,
        resetOne: (chance) => {
          const chosen = [...lines][Math.floor(chance * lines.size)]
          if (chosen !== undefined) resetEnds(chosen)
          return chosen !== undefined
        },
        swallow,
        cut: () => {
          isCut = true
          swallow()
        },
        mend: () => {
          isCut = false
          reset()
        },
        refuse: () => {
          isRefusing = true
          reset()
        },
        admit: () => {
          isRefusing = false
        },
        close: () => {
          server.close()
          reset()
        }
      })
    })
  })
}
