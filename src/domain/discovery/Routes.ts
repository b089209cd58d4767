/**
 * Which sockets discovery opens, and where it sends what is for everybody: on each
 * network interface the IPv4 broadcast address (or multicast group) and the IPv6
 * group of the link, also on loopback.
 */
import * as IpAddress from "../IpAddress.ts"
import { ipv4Group, ipv6Group } from "./Datagram.ts"

/** An address of a network interface of this machine. */
export interface InterfaceAddress {
  /** Name of the interface. */
  readonly name: string
  /** Without zone. */
  readonly address: string
  readonly netmask: string
  readonly family: 4 | 6
  readonly isLoopback: boolean
}

/** A socket that is to be open. */
export interface Door {
  readonly family: 4 | 6
  /** Address that it is bound to. */
  readonly address: string
  /** 0 for any that is free. */
  readonly port: number
  /** Others may be bound to the same. */
  readonly isShared: boolean
  /** Address of the socket from which to answer what this one hears. */
  readonly answerFrom: string
  /** Multicast groups that it receives, each on the interface with this address. */
  readonly groups: ReadonlyArray<{ readonly group: string; readonly on: string }>
}

/** One datagram that is to be sent. */
export interface Route {
  /** Local address to send from; "0.0.0.0" or "::" for whichever fits. */
  readonly from: string
  readonly host: string
  readonly port: number
}

const bytesOf = (address: string): ReadonlyArray<number> => address.split(".").map(Number)

/** The broadcast address of an IPv4 network; undefined where there is none (a single host, two ends of a line). */
export const broadcastOf = (address: string, netmask: string): string | undefined => {
  const [host, mask] = [bytesOf(address), bytesOf(netmask)]
  const all = [...host, ...mask]
  if (host.length !== 4 || mask.length !== 4 || all.some((byte) => !(byte >= 0 && byte <= 255))) return undefined
  if (mask[0] === 255 && mask[1] === 255 && mask[2] === 255 && mask[3]! >= 254) return undefined
  return host.map((byte, i) => (byte | (~mask[i]! & 255))).join(".")
}

/** The family of an IP address; undefined for a name. */
export const familyOf = (host: string): 4 | 6 | undefined => {
  const [form] = IpAddress.forms(host)
  if (form === undefined) return undefined
  return form.includes(":") ? 6 : 4
}

const isLinkLocal = (address: string): boolean => /^fe[89ab][0-9a-f]:/i.test(address)

/** Whether only programs of this machine reach the address. */
export const isLoopback = (address: string): boolean => {
  const form = IpAddress.canonical(address)
  return form === "::1" || (form.startsWith("127.") && familyOf(form) === 4)
}

/** An address with the zone that link-local ones need. */
const zoned = ({ address, name }: InterfaceAddress): string => isLinkLocal(address) ? `${address}%${name}` : address

/** Whether the address stands for all of its family. */
export const isAny = (address: string): boolean => address === "0.0.0.0" || address === "::"

/** Whether an interface's address is one of those asked for; a wildcard means all of its family. */
const isAmong = (hosts: ReadonlyArray<string>, one: InterfaceAddress): boolean =>
  hosts.some((host) =>
    isAny(host)
      ? familyOf(host) === one.family
      : (one.isLoopback && one.family === 4 && isLoopback(host) && familyOf(host) === 4) ||
        IpAddress.canonical(host) === IpAddress.canonical(one.address) ||
        IpAddress.canonical(host) === IpAddress.canonical(zoned(one))
  )

/**
 * The sockets that hear what is sent to one of these addresses, and what is sent to everybody on their networks. A
 * socket of a single address hears no broadcast, so there is another for that.
 */
export const doors = (
  hosts: ReadonlyArray<string>,
  port: number,
  interfaces: ReadonlyArray<InterfaceAddress>,
  options: { readonly isMulticast: boolean; readonly isShared: boolean }
): ReadonlyArray<Door> => {
  const { isShared } = options
  const found = new Map<string, Door>()
  const add = (door: Door): void => {
    const key = `${door.address} ${door.port}`
    const known = found.get(key)
    found.set(key, known === undefined ? door : { ...known, groups: [...known.groups, ...door.groups] })
  }
  for (const host of hosts) {
    const family = familyOf(host)
    if (family === undefined) continue
    add({ family, address: host, port, isShared, answerFrom: host, groups: [] })
    for (const one of interfaces) {
      if (one.family !== family || !isAmong([host], one)) continue
      if (family === 6) {
        // There is no multicast on loopback; "::1" is asked by itself.
        if (one.isLoopback) continue
        const groups = [{ group: ipv6Group, on: `::%${one.name}` }]
        const address = isAny(host) ? host : `${ipv6Group}%${one.name}`
        if (!(found.get(`${address} ${port}`)?.groups.some(({ on }) => on === groups[0]!.on) ?? false)) {
          add({ family, address, port, isShared: isShared || !isAny(host), answerFrom: host, groups })
        }
        continue
      }
      const broadcast = broadcastOf(one.address, one.netmask)
      if (broadcast !== undefined && !isAny(host)) {
        add({ family, address: broadcast, port, isShared: true, answerFrom: host, groups: [] })
      }
      if (options.isMulticast && !one.isLoopback) {
        const groups = [{ group: ipv4Group, on: one.address }]
        const address = isAny(host) ? host : ipv4Group
        add({ family, address, port, isShared: isShared || !isAny(host), answerFrom: host, groups })
      }
    }
  }
  return [...found.values()]
}

/** Where to send what is for everybody, on the networks of these addresses. */
export const toEverybody = (
  hosts: ReadonlyArray<string>,
  ports: ReadonlyArray<number>,
  interfaces: ReadonlyArray<InterfaceAddress>,
  options: { readonly isMulticast: boolean }
): ReadonlyArray<Route> => {
  const routes = new Map<string, Route>()
  const add = (from: string, host: string): void => {
    for (const port of ports) routes.set(`${from} ${host} ${port}`, { from, host, port })
  }
  // The addresses of a whole network before those of the link only: a node is best known by the former.
  const ordered = interfaces.toSorted((a, b) => Number(isLinkLocal(a.address)) - Number(isLinkLocal(b.address)))
  for (const one of ordered) {
    if (!isAmong(hosts, one)) continue
    if (one.isLoopback) {
      const own = hosts.find((host) => isLoopback(host) && familyOf(host) === one.family) ?? one.address
      add(own, one.address)
      const broadcast = broadcastOf(one.address, one.netmask)
      if (broadcast !== undefined) add(own, broadcast)
      continue
    }
    if (one.family === 6) add(zoned(one), `${ipv6Group}%${one.name}`)
    else if (options.isMulticast) add(one.address, ipv4Group)
    else {
      const broadcast = broadcastOf(one.address, one.netmask)
      if (broadcast !== undefined) add(one.address, broadcast)
    }
  }
  return [...routes.values()]
}

/** How to send to a single address: from one of these of its family; undefined when there is none. */
export const toOne = (hosts: ReadonlyArray<string>, host: string, port: number): Route | undefined => {
  const family = familyOf(host)
  const from = hosts.find((one) => familyOf(one) === family && (isAny(one) || isLoopback(one) === isLoopback(host)))
  return from === undefined ? undefined : { from, host, port }
}

/** The sockets that these are sent from, at any port. */
export const sendersOf = (routes: ReadonlyArray<Route>): ReadonlyArray<Door> =>
  [...new Set(routes.map(({ from }) => from))].map((from) => ({
    family: familyOf(from) ?? 4,
    address: from,
    port: 0,
    isShared: false,
    answerFrom: from,
    groups: []
  }))
