/**
 * How a client begins a connection to a node, control or bulk: it dials, from the addresses that it may use, or takes one
 * that the node has parked; secured by its credentials in any case.
 */
import { Effect, type Scope } from "effect"
import * as net from "node:net"
import type * as NodeAddress from "../../domain/NodeAddress.ts"
import type { NodeUnreachable } from "../../domain/NodeError.ts"
import { Credentials } from "../../services/Credentials.ts"
import { LocalAddresses } from "../../services/LocalAddresses.ts"
import { Parking } from "../../services/Parking.ts"
import * as TlsClient from "../security/TlsClient.ts"
import * as LocalDial from "./LocalDial.ts"
import * as OwnedSocket from "./OwnedSocket.ts"

/** A connection, and the event with which it can be used; undefined when it can be at once. */
export interface Begun {
  readonly socket: net.Socket
  readonly ready: TlsClient.Dialling["ready"] | undefined
}

/** Begins connections. */
export interface NodeDial {
  /**
   * With `onread` it is for bulk data, which comes there where Node can do that, and else as events. The connection ends
   * with the scope.
   */
  readonly begin: (
    address: NodeAddress.NodeAddress,
    onread?: net.OnReadOpts
  ) => Effect.Effect<Begun, NodeUnreachable | LocalDial.Failed, Scope.Scope>
}

/** By the credentials, addresses and parked connections of the context. */
export const make: Effect.Effect<NodeDial> = Effect.gen(function*() {
  const credentials = yield* Credentials
  const allowed = yield* LocalAddresses
  const parking = yield* Parking

  const own = (start: () => TlsClient.Dialling) =>
    Effect.suspend(() => {
      let dialling!: TlsClient.Dialling
      return Effect.map(
        OwnedSocket.make(() => {
          dialling = start()
          return dialling.socket
        }),
        () => dialling
      )
    })

  /** On a connection that is there. */
  const over = (socket: net.Socket, hosts: ReadonlyArray<string>, isBulk: boolean) =>
    credentials._tag === "None" ? Effect.succeed<Begun>({ socket, ready: undefined }) : own(() => {
      OwnedSocket.wrap(socket)
      return TlsClient.over(credentials, socket, hosts, isBulk)
    })

  const begin: NodeDial["begin"] = Effect.fnUntraced(function*(address, onread) {
    const isBulk = onread !== undefined
    const reading = isBulk ? { onread } : {}
    switch (address._tag) {
      case "Unix":
        return yield* own(() => ({ socket: net.connect({ path: address.path, ...reading }), ready: "connect" }))
      case "Parked": {
        const { hosts, stream } = yield* parking.take(address)
        return yield* over(stream as net.Socket, hosts, isBulk)
      }
      case "Tcp": {
        const { host, port } = address
        if (allowed.length > 0) {
          const isPlain = credentials._tag === "None"
          const socket = yield* LocalDial.connect({ host, port, ...(isPlain ? reading : {}) }, allowed)
          return yield* over(socket, [host], isBulk)
        }
        return yield* own(() =>
          TlsClient.dial(credentials, { host, port, noDelay: true, keepAlive: true, ...reading }, isBulk)
        )
      }
    }
  })

  return { begin }
})
