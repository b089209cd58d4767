/**
 * The nodes that answered, by incarnation: one that answers on several ways, or
 * again, is the same node and told once. Bounded memory; time is an input, in
 * milliseconds of any clock.
 */
import * as NodeAddress from "../NodeAddress.ts"
import * as NodeList from "../NodeList.ts"
import type { NodeBeacon } from "./Datagram.ts"

/** Where a node was seen. */
export interface Sighting {
  /** IP address that the datagram came from, or that a relay tells. */
  readonly source: string
  readonly node: NodeBeacon
}

interface Known {
  readonly host: string
  readonly port: number
  at: number
}

/** The nodes; changed in place. */
export interface Sightings {
  readonly known: Map<string, Known>
  /** Nodes that no target is for, as users see them; the last few. */
  readonly unmatched: Set<string>
}

/** Nodes that are kept, at most; the oldest are forgotten first. */
export const capacity = 10_000

/** Nodes that no target is for, at most: they are only told. */
const unmatchedCapacity = 8

/** A node that was not seen where it is known for so long may have moved. */
export const movedMillis = 60_000

/** Nothing was seen. */
export const make = (): Sightings => ({ known: new Map(), unmatched: new Set() })

/** The first host by which a target means the node. */
const meantHost = (
  targets: ReadonlyArray<NodeList.NodeTarget>,
  hosts: ReadonlyArray<string>,
  { name, port }: NodeBeacon
): string | undefined =>
  hosts.find((ipAddr) => {
    const place = { address: NodeAddress.format({ _tag: "Tcp", host: ipAddr, port }), ipAddr, name }
    return targets.some((target) => target._tag === "Pattern" && NodeList.matches(target, place))
  })

const unmatched = (state: Sightings, node: string): void => {
  state.unmatched.add(node)
  if (state.unmatched.size > unmatchedCapacity) state.unmatched.delete(state.unmatched.values().next().value!)
}

/** Where to dial the node; undefined when that is known, or no target means it. */
export const see = (
  state: Sightings,
  targets: ReadonlyArray<NodeList.NodeTarget>,
  { node, source }: Sighting,
  now: number
): { readonly host: string; readonly port: number } | undefined => {
  const { incarnation, name, port } = node
  const hosts = node.addresses.length > 0 ? node.addresses : [source]
  const host = meantHost(targets, hosts, node)
  if (host === undefined) {
    if (state.known.has(incarnation)) return undefined
    const address = NodeAddress.format({ _tag: "Tcp", host: hosts[0]!, port })
    unmatched(state, `${address} (${name})`)
    return undefined
  }
  const known = state.known.get(incarnation)
  if (known !== undefined) {
    const isThere = known.host === host && known.port === port
    if (!isThere && now - known.at <= movedMillis) return undefined
    if (isThere) {
      known.at = now
      return undefined
    }
  }
  state.known.delete(incarnation)
  state.known.set(incarnation, { host, port, at: now })
  if (state.known.size > capacity) state.known.delete(state.known.keys().next().value!)
  return { host, port }
}

/**
 * A node that parks connections: the host that a target means it by, which it tells of itself or comes from; undefined
 * when no target means it. It is told again whenever it has a connection parked, for it is used by those only.
 */
export const seeParked = (
  state: Sightings,
  targets: ReadonlyArray<NodeList.NodeTarget>,
  { address, node }: { readonly address: NodeAddress.ParkedAddress; readonly node: NodeBeacon }
): string | undefined => {
  const host = meantHost(targets, [...node.addresses, address.host], node)
  if (host === undefined) unmatched(state, NodeAddress.format(address))
  return host
}

/** The node has ended. */
export const forget = (state: Sightings, incarnation: string): void => {
  state.known.delete(incarnation)
}
