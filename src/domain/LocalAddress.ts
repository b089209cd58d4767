/** From which of the addresses that a user allows a connection goes out. */
import * as Routes from "./discovery/Routes.ts"
import * as IpAddress from "./IpAddress.ts"

/** The bits of an address, in groups of 8 (IPv4) or 16 (IPv6); without zone. */
const groupsOf = (address: string): ReadonlyArray<number> => {
  const form = IpAddress.forms(address).at(-1)?.split("%")[0] ?? ""
  return form.includes(":") ? form.split(":").map((group) => Number.parseInt(group, 16)) : form.split(".").map(Number)
}

const isInNetwork = (host: string, { address, netmask }: Routes.InterfaceAddress): boolean => {
  const [theirs, own, mask] = [groupsOf(host), groupsOf(address), groupsOf(netmask)]
  return theirs.length === own.length && own.every((group, i) => ((group ^ theirs[i]!) & (mask[i] ?? 0)) === 0)
}

const isSame = (allowed: string, one: Routes.InterfaceAddress): boolean =>
  IpAddress.canonical(allowed.split("%")[0]!) === IpAddress.canonical(one.address)

/**
 * The local addresses from which to try to reach an IP address, the one whose network it is in first; empty when all of
 * those allowed are of the other kind of IP, or nothing is restricted: then the system chooses.
 */
export const candidates = (
  allowed: ReadonlyArray<string>,
  host: string,
  interfaces: ReadonlyArray<Routes.InterfaceAddress>
): ReadonlyArray<string> => {
  const family = Routes.familyOf(host)
  const fitting = allowed.filter((one) =>
    Routes.familyOf(one) === family && !Routes.isAny(one) && Routes.isLoopback(one) === Routes.isLoopback(host)
  )
  const isNear = (one: string): boolean => interfaces.some((known) => isSame(one, known) && isInNetwork(host, known))
  return [...fitting.filter(isNear), ...fitting.filter((one) => !isNear(one))]
}

/** Whether an address is one of this machine, or stands for all of them. */
export const isOwn = (address: string, interfaces: ReadonlyArray<Routes.InterfaceAddress>): boolean =>
  Routes.isAny(address) || interfaces.some((one) => isSame(address, one)) ||
  // All of 127.0.0.0/8 is this machine.
  (Routes.isLoopback(address) && Routes.familyOf(address) === 4)
