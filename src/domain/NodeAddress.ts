/** Where a node listens, and how users write it down. */
import { Result } from "effect"
import { InvalidOption } from "./ClusterError.ts"

/** Port of `dispynode` unless told otherwise. */
export const defaultNodePort = 51348

/** A node that dials out: it is reached by the connections that it parks with this client. */
export interface ParkedAddress {
  readonly _tag: "Parked"
  /** Tells it from others that come from the same address, a NAT gateway's: its name, as far as that fits. */
  readonly label: string
  /** Address that its connections come from. */
  readonly host: string
  /** Port that it listens on where it is. */
  readonly port: number
  /** Of its several starts this one only; absent for any. */
  readonly incarnation?: string
}

/** How a node is reached. */
export type NodeAddress =
  | { readonly _tag: "Tcp"; readonly host: string; readonly port: number }
  /** A socket in the file system: the node embedded in this client. */
  | { readonly _tag: "Unix"; readonly path: string }
  | ParkedAddress

/** An entry of the `nodes` option: this machine, or a host. */
export type NodeEntry = { readonly _tag: "Local" } | Extract<NodeAddress, { readonly _tag: "Tcp" }>

/** The address as users write it; of a node that dials out with its label in front: "alpha@203.0.113.9:51348". */
export const format = (address: NodeAddress): string => {
  if (address._tag === "Unix") return "local"
  const label = address._tag === "Parked" ? `${address.label}@` : ""
  return label + (address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`)
}

/** The address without the label of a node that dials out. */
export const withoutLabel = (address: string): string => address.slice(address.lastIndexOf("@") + 1)

/** An entry of the `nodes` option that cannot be, and why. */
export const invalid = (text: string, reason: string): Result.Result<never, InvalidOption> =>
  Result.fail(new InvalidOption({ option: "nodes", reason: `${JSON.stringify(text)} ${reason}` }))

/** Eight groups of hexadecimal digits, or fewer with "::" between them; the last two may be an IPv4 address. */
const isIpv6 = (text: string): boolean => {
  const [address = "", zone] = text.split("%")
  const plain = address.replace(/(\d{1,3}\.){3}\d{1,3}$/, "0:0")
  const groups = plain.split(":").filter((group) => group !== "")
  const isShort = plain.includes("::")
  return zone !== "" && groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group)) &&
    (isShort ? plain.split("::").length === 2 && groups.length < 8 : groups.length === 8)
}

/**
 * Reads an entry of the `nodes` option: "local", a host name, an IPv4 or IPv6
 * address, each but the first with an optional port ("10.0.0.7:51400",
 * "[fe80::1]:51400").
 */
export const parse = (text: string, nodePort: number): Result.Result<NodeEntry, InvalidOption> => {
  const entry = text.trim()
  if (entry === "local") return Result.succeed({ _tag: "Local" })
  if (entry === "") return invalid(text, "is empty; write a host name, an address, or \"local\" for this machine")
  if (entry.includes("*")) {
    return invalid(text, "is a wildcard, which means many nodes; write the address or the name of one")
  }
  const bracketed = /^\[([^\]]+)\](?::(.*))?$/.exec(entry)
  const isBareIpv6 = bracketed === null && entry.split(":").length > 2
  const plain = /^([^:]+)(?::(.*))?$/.exec(entry)
  const [host, portText] = bracketed !== null
    ? [bracketed[1]!, bracketed[2]]
    : isBareIpv6
    ? [entry, undefined]
    : [plain?.[1] ?? "", plain?.[2]]
  if (isBareIpv6 && !isIpv6(entry)) return invalid(text, "is not an IPv6 address; write \"host:port\" with one colon")
  if (host === "" || /[\s/]/.test(host)) return invalid(text, "is not a host; write \"host\" or \"host:port\"")
  if (portText === undefined) return Result.succeed({ _tag: "Tcp", host, port: nodePort })
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0
  if (port < 1 || port > 65535) return invalid(text, `has port ${JSON.stringify(portText)}; ports are 1 to 65535`)
  return Result.succeed({ _tag: "Tcp", host, port })
}
