/** Who a certificate is for: the names that a node is dialled by, or the name of a client. */
import { Result } from "effect"
import * as IpAddress from "../IpAddress.ts"
import { InvalidPeerName } from "./KeysError.ts"

/** What a certificate is good for: to be a node's, or a client's. */
export type PeerRole = "node" | "client"

/** Who a certificate is for. */
export interface PeerName {
  readonly role: PeerRole
  /** The first name, which is the certificate's common name. */
  readonly name: string
  /** Host names that it is valid for. */
  readonly hostNames: ReadonlyArray<string>
  /** IP addresses that it is valid for, in their usual form. */
  readonly ipAddresses: ReadonlyArray<string>
}

/** Longest common name, in characters (RFC 5280, ub-common-name). */
const longestCommonName = 64

/** Longest host name, in characters (RFC 1035). */
const longestHostName = 253

const hostName = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i

const invalid = (role: PeerRole, value: string, reason: string) =>
  Result.fail(new InvalidPeerName({ option: `--${role}`, value, reason }))

/** Looks like an IPv4 address, right or wrong: no host name ends with digits only. */
const isNumeric = (name: string): boolean => /(^|\.)\d+\.?$/.test(name)

const parseNode = (text: string): Result.Result<PeerName, InvalidPeerName> => {
  const names = text.split(",").map((name) => name.trim())
  const [first = ""] = names
  const hostNames: Array<string> = []
  const ipAddresses: Array<string> = []
  for (const name of names) {
    if (name === "") {
      return invalid("node", text, "has an empty name; write a host name, then its addresses after commas")
    }
    const [address] = IpAddress.forms(name)
    if (address?.includes("%") === true) {
      return invalid("node", text, `has the address ${name}; write it without the interface after %`)
    }
    if (address !== undefined) ipAddresses.push(address)
    else if (hostName.test(name) && name.length <= longestHostName && !isNumeric(name)) {
      hostNames.push(name.toLowerCase().replace(/\.$/, ""))
    } else return invalid("node", text, `has ${JSON.stringify(name)}, which is neither a host name nor an IP address`)
  }
  if (first.length > longestCommonName) {
    return invalid(
      "node",
      text,
      `begins with a name of more than ${longestCommonName} characters; write a shorter first`
    )
  }
  return Result.succeed({
    role: "node",
    name: hostNames[0] === first.toLowerCase().replace(/\.$/, "") ? hostNames[0] : ipAddresses[0] ?? first,
    hostNames: [...new Set(hostNames)],
    ipAddresses: [...new Set(ipAddresses)]
  })
}

const parseClient = (text: string): Result.Result<PeerName, InvalidPeerName> => {
  const name = text.trim()
  if (!/^[a-z0-9_][a-z0-9_.@-]*$/i.test(name)) {
    return invalid("client", text, "is not a client's name; use letters, digits and . _ @ -, such as ada@laptop")
  }
  if (name.length > longestCommonName) {
    return invalid("client", text, `has more than ${longestCommonName} characters; write a shorter name`)
  }
  return Result.succeed({ role: "client", name, hostNames: [], ipAddresses: [] })
}

/**
 * Reads the value of `--node` ("alpha.example,10.0.0.7,fd00::7": all names and addresses that clients dial the node
 * by) or `--client` ("ada@laptop").
 */
export const parse = (role: PeerRole, text: string): Result.Result<PeerName, InvalidPeerName> =>
  role === "node" ? parseNode(text) : parseClient(text)

/** Name of the file with the certificate and its key, in the directory of the authority. */
export const fileName = ({ name, role }: PeerName): string => `${role}-${name.replaceAll(":", "-")}.pem`
