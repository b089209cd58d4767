/**
 * The UDP sockets of a program, several at a time: opened and closed as interfaces
 * come and go. Nothing that fails on one of them (an interface that went down, a
 * firewall, a port in use) is felt by the others. Node's own sockets, since
 * broadcast and multicast memberships are wanted.
 */
import { Effect, Queue, type Scope, Semaphore } from "effect"
import * as dgram from "node:dgram"
import type { Door, Route } from "../../domain/discovery/Routes.ts"

/** A datagram that arrived. */
export interface Packet {
  readonly bytes: Uint8Array
  /** Address and port that it came from. */
  readonly host: string
  readonly port: number
  /** The socket that heard it. */
  readonly door: Door
}

/** A socket that could not be opened, and the code of the system's error. */
export interface Closed {
  readonly door: Door
  readonly code: string
}

/** Datagrams that wait to be read, at most; more of them are lost, as datagrams may be. */
const queueCapacity = 4096

interface Open {
  readonly socket: dgram.Socket
  readonly joined: Set<string>
}

/** The sockets. */
export interface Sockets {
  /** Opens these sockets unless they are open, and closes all others. Succeeds with those that cannot be opened now. */
  readonly open: (doors: ReadonlyArray<Door>) => Effect.Effect<ReadonlyArray<Closed>>
  /** Sends a datagram from the socket that is bound to the route's address and to this port; it may get lost. */
  readonly send: (route: Route, fromPort: number, bytes: Uint8Array) => Effect.Effect<void>
  /** What arrives. */
  readonly packets: Queue.Dequeue<Packet>
  /** What did not work the last time, by address and port: codes of the system's errors. */
  readonly problems: ReadonlyMap<string, string>
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error)

const nameOf = ({ address, port }: Door): string => port === 0 ? address : `${address} port ${port}`

const keyOf = (address: string, port: number): string => `${address} ${port}`

/** No sockets yet. With `isBackground` they do not keep the process alive. */
export const make = Effect.fnUntraced(
  function*(options: { readonly isBackground: boolean }): Effect.fn.Return<Sockets, never, Scope.Scope> {
    const packets = yield* Effect.acquireRelease(Queue.dropping<Packet>(queueCapacity), Queue.shutdown)
    const sockets = new Map<string, Open>()
    const problems = new Map<string, string>()
    const semaphore = yield* Semaphore.make(1)

    const close = (key: string): void => {
      const open = sockets.get(key)
      if (open === undefined) return
      sockets.delete(key)
      open.socket.close()
    }
    yield* Effect.addFinalizer(() => Effect.sync(() => [...sockets.keys()].forEach(close)))

    // A socket that is being bound has no owner yet.
    const bind = (door: Door): Effect.Effect<string | undefined> =>
      Effect.uninterruptible(Effect.callback((resume) => {
        const key = keyOf(door.address, door.port)
        const socket = dgram.createSocket({
          type: door.family === 4 ? "udp4" : "udp6",
          reuseAddr: door.isShared,
          ipv6Only: door.family === 6
        })
        const failed = (error: unknown): void => {
          problems.set(nameOf(door), codeOf(error))
          // One that was open breaks when its interface goes; it is opened again when that is back.
          if (sockets.get(key)?.socket === socket) close(key)
          else socket.close()
          resume(Effect.succeed(codeOf(error)))
        }
        socket.on("error", failed)
        socket.on("message", (bytes, { address, port }) => {
          Queue.offerUnsafe(packets, { bytes, host: address, port, door })
        })
        socket.bind({ address: door.address, port: door.port, exclusive: true }, () => {
          if (options.isBackground) socket.unref()
          sockets.set(key, { socket, joined: new Set() })
          problems.delete(nameOf(door))
          try {
            if (door.family === 4) {
              socket.setBroadcast(true)
              if (door.port === 0 && door.address !== "0.0.0.0") socket.setMulticastInterface(door.address)
            }
          } catch (error) {
            problems.set(nameOf(door), codeOf(error))
          }
          resume(Effect.succeed(undefined))
        })
      }))

    /** Joins the groups of interfaces that came, and forgets those of interfaces that went. */
    const join = (door: Door): void => {
      const open = sockets.get(keyOf(door.address, door.port))
      if (open === undefined) return
      for (const { group, on } of door.groups) {
        if (open.joined.has(on)) continue
        try {
          open.socket.addMembership(group, on)
          open.joined.add(on)
          problems.delete(on)
        } catch (error) {
          problems.set(on, codeOf(error))
        }
      }
      for (const on of open.joined) if (!door.groups.some((one) => one.on === on)) open.joined.delete(on)
    }

    const open: Sockets["open"] = (doors) =>
      semaphore.withPermit(
        Effect.gen(function*() {
          const wanted = new Set(doors.map(({ address, port }) => keyOf(address, port)))
          for (const key of sockets.keys()) if (!wanted.has(key)) close(key)
          const closed: Array<Closed> = []
          for (const door of doors) {
            const isOpen = sockets.has(keyOf(door.address, door.port))
            const code = isOpen ? undefined : yield* bind(door)
            if (code === undefined) join(door)
            else closed.push({ door, code })
          }
          return closed
        })
      )

    const send: Sockets["send"] = ({ from, host, port }, fromPort, bytes) =>
      Effect.callback<void>((resume) => {
        const known = sockets.get(keyOf(from, fromPort))
        if (known === undefined) return resume(Effect.void)
        known.socket.send(bytes, port, host, (error) => {
          if (error === null) problems.delete(host)
          else problems.set(host, codeOf(error))
          resume(Effect.void)
        })
      })

    return { open, send, packets, problems }
  }
)
