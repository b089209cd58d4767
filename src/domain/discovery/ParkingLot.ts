/**
 * The connections that nodes have parked with a client, each until the client needs one. Strangers, who have not said
 * which node they are, lose their place to the next; of those who have there is room for so many from one address, and
 * in all. Changed in place; `C` is a connection.
 */
import type { ParkedAddress } from "../NodeAddress.ts"
import * as NodeAddress from "../NodeAddress.ts"
import type { NodeBeacon } from "./Datagram.ts"

/** How many connections at the same time. */
export interface Limits {
  /** Without an announcement; with another one the oldest is closed. */
  readonly strangers: number
  /** Parked, from all addresses; more are closed at once. */
  readonly parked: number
  /** Parked, from one address: a NAT gateway may have many nodes behind it. */
  readonly perSource: number
  /** Parked by one node, which parks one for each address of the client; beyond that the oldest is dead. */
  readonly perNode: number
}

/** The limits. */
export const defaultLimits: Limits = { strangers: 64, parked: 1024, perSource: 128, perNode: 4 }

/** Nodes that are remembered without a parked connection, at most. */
const capacity = 4096

/** A node that parks connections. */
export interface Spot<C> {
  readonly address: ParkedAddress & { readonly incarnation: string }
  readonly node: NodeBeacon
  /** The latest at the end. */
  readonly parked: Array<C>
}

/** The connections; changed in place. */
export interface ParkingLot<C> {
  readonly limits: Limits
  /** The oldest first. */
  readonly strangers: Set<C>
  /** By address and incarnation, in the order in which they were seen last. */
  readonly spots: Map<string, Spot<C>>
  readonly spotOf: Map<C, Spot<C>>
}

/** An empty lot. */
export const make = <C>(limits: Limits = defaultLimits): ParkingLot<C> => ({
  limits,
  strangers: new Set(),
  spots: new Map(),
  spotOf: new Map()
})

/** A stranger comes; returns the one that has to go for it. */
export const enter = <C>(lot: ParkingLot<C>, connection: C): C | undefined => {
  const [oldest] = lot.strangers
  lot.strangers.add(connection)
  if (oldest === undefined || lot.strangers.size <= lot.limits.strangers) return undefined
  lot.strangers.delete(oldest)
  return oldest
}

/** A connection has gone, or was never there. */
export const leave = <C>(lot: ParkingLot<C>, connection: C): void => {
  lot.strangers.delete(connection)
  const spot = lot.spotOf.get(connection)
  if (spot === undefined) return
  lot.spotOf.delete(connection)
  spot.parked.splice(spot.parked.indexOf(connection), 1)
}

/** Names of strangers go to terminals, and into addresses. */
const plainLabel = (name: string): string => name.replaceAll(/[^\w.-]+/g, "-").replace(/^-+$/, "") || "node"

const parkedFrom = <C>(lot: ParkingLot<C>, host: string): number => {
  let count = 0
  for (const { address, parked } of lot.spots.values()) if (address.host === host) count += parked.length
  return count
}

/** A name that no other node from there has; those of one name that are there at the same time get more than that. */
const labelFor = <C>(lot: ParkingLot<C>, host: string, { incarnation, name, port }: NodeBeacon): string => {
  const label = plainLabel(name)
  const isTaken = [...lot.spots.values()].some(({ address, parked }) =>
    address.host === host && address.port === port && address.label === label && parked.length > 0
  )
  return isTaken ? `${label}-${incarnation.slice(0, 8)}` : label
}

const spotFor = <C>(lot: ParkingLot<C>, host: string, node: NodeBeacon): Spot<C> => {
  const { incarnation, port } = node
  const key = `${host} ${incarnation}`
  const known = lot.spots.get(key)
  const spot: Spot<C> = known ?? {
    address: { _tag: "Parked", label: labelFor(lot, host, node), host, port, incarnation },
    node,
    parked: []
  }
  lot.spots.delete(key)
  lot.spots.set(key, spot)
  if (lot.spots.size > capacity) {
    for (const [other, { parked }] of lot.spots) {
      if (parked.length > 0 || other === key) continue
      lot.spots.delete(other)
      break
    }
  }
  return spot
}

/** What becomes of a connection whose node is known. */
export type Parked<C> =
  | { readonly _tag: "Parked"; readonly spot: Spot<C>; readonly evicted: C | undefined }
  /** There is no room. */
  | { readonly _tag: "Full"; readonly reason: string }

/** A stranger has said which node it is; `host` is where it comes from. */
export const park = <C>(lot: ParkingLot<C>, connection: C, host: string, node: NodeBeacon): Parked<C> => {
  const { limits } = lot
  lot.strangers.delete(connection)
  if (lot.spotOf.size >= limits.parked) return { _tag: "Full", reason: `more than ${limits.parked} parked connections` }
  if (parkedFrom(lot, host) >= limits.perSource) {
    return { _tag: "Full", reason: `more than ${limits.perSource} parked connections from one address` }
  }
  const spot = spotFor(lot, host, node)
  const evicted = spot.parked.length >= limits.perNode ? spot.parked.shift() : undefined
  if (evicted !== undefined) lot.spotOf.delete(evicted)
  spot.parked.push(connection)
  lot.spotOf.set(connection, spot)
  return { _tag: "Parked", spot, evicted }
}

/** Takes a connection of the node for use: the latest, which is the least likely to be dead. */
export const take = <C>(
  lot: ParkingLot<C>,
  address: ParkedAddress
): { readonly connection: C; readonly spot: Spot<C> } | undefined => {
  const name = NodeAddress.format(address)
  for (const spot of lot.spots.values()) {
    const { incarnation } = spot.address
    if (address.incarnation !== undefined && address.incarnation !== incarnation) continue
    const connection = spot.parked.at(-1)
    if (connection === undefined || NodeAddress.format(spot.address) !== name) continue
    leave(lot, connection)
    return { connection, spot }
  }
  return undefined
}

/** The nodes that have a connection parked. */
export const here = <C>(lot: ParkingLot<C>): ReadonlyArray<Spot<C>> =>
  [...lot.spots.values()].filter(({ parked }) => parked.length > 0)
