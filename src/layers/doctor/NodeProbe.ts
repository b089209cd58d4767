/** What can be told of a node from here before any work is sent to it. */
import { Clock, Effect } from "effect"
import * as net from "node:net"
import type { HelloFact, TcpFact } from "../../domain/doctor/Facts.ts"
import * as IpAddress from "../../domain/IpAddress.ts"
import type { NodeAddress } from "../../domain/NodeAddress.ts"
import { NodeLink } from "../../services/NodeLink.ts"

/** How long a host may take to accept a connection. */
const connectTimeout = "5 seconds"

/** Opens a TCP connection and closes it again. */
export const tcp = Effect.fn("NodeProbe.tcp")(
  function*({ host, port }: Extract<NodeAddress, { readonly _tag: "Tcp" }>): Effect.fn.Return<TcpFact> {
    const start = yield* Clock.currentTimeNanos
    const connected = yield* Effect.callback<{ readonly ipAddr: string } | { readonly code: string }>((resume) => {
      const socket = net.connect({ host, port, noDelay: true })
      socket.on(
        "error",
        (error: NodeJS.ErrnoException) => resume(Effect.succeed({ code: error.code ?? error.message }))
      )
      socket.once("connect", () => {
        resume(Effect.succeed({ ipAddr: IpAddress.canonical(socket.remoteAddress ?? "") }))
        socket.destroy()
      })
      return Effect.sync(() => socket.destroy())
    }).pipe(
      Effect.timeoutOrElse({ duration: connectTimeout, orElse: () => Effect.succeed({ code: "ETIMEDOUT" }) })
    )
    if ("code" in connected) return { _tag: "NotConnected", code: connected.code }
    const nanos = (yield* Clock.currentTimeNanos) - start
    return { _tag: "Connected", ipAddr: connected.ipAddr, millis: Number(nanos) / 1e6 }
  }
)

/** Greets whoever listens there as a client does. */
export const hello = Effect.fn("NodeProbe.hello")(
  function*(address: NodeAddress): Effect.fn.Return<HelloFact, never, NodeLink> {
    const link = yield* NodeLink
    return yield* Effect.scoped(link.connect(address)).pipe(
      Effect.map(({ info }): HelloFact => ({
        _tag: "Greeted",
        name: info.name,
        version: info.version,
        cpus: info.cpus,
        freeDiskBytes: info.availInfo.disk
      })),
      Effect.catchTags({
        VersionMismatch: ({ nodeVersion }) => Effect.succeed<HelloFact>({ _tag: "OtherVersion", version: nodeVersion }),
        NodeUnreachable: ({ reason }) => Effect.succeed<HelloFact>({ _tag: "NoGreeting", reason })
      })
    )
  }
)
