/**
 * A cluster's node list: which nodes it means, and how much of each the cluster
 * uses. An entry names one node ("local", a host), or all nodes whose address or
 * name matches a pattern ("192.168.3.*"): of the nodes that become known.
 */
import { Result } from "effect"
import type { InvalidOption } from "./ClusterError.ts"
import * as IpAddress from "./IpAddress.ts"
import * as NodeAddress from "./NodeAddress.ts"
import type { AvailInfo } from "./NodeInfo.ts"

/** Nodes that an entry is for. */
export type NodeTarget =
  | NodeAddress.NodeEntry
  | {
    readonly _tag: "Pattern"
    /** As the user wrote it, in lower case. */
    readonly text: string
    /** Port of the nodes; absent for any. */
    readonly port: number | undefined
  }

/** A node that was found, as an entry's `allocate` sees it. */
export interface NodeOffer {
  /** Name of the cluster that asks. */
  readonly cluster: string
  /** As it is listed or was found: "local", "host:port". */
  readonly address: string
  /** Address that its connection goes to. */
  readonly ipAddr: string
  /** Name that it gives itself. */
  readonly name: string
  /** Slots that it has. */
  readonly cpus: number
  /** What it has to spare, in dispy's units. */
  readonly availInfo: AvailInfo
  /** Like "linux-x64 6.1.0 node-24.21.0". */
  readonly platform: string
}

/** What a cluster gets of a node. */
export interface Allocation {
  /** Slots that it may use; 0 for none. */
  readonly cpus: number
  /** Why it uses none; empty when it uses some. */
  readonly reason: string
  /** The reason is a mistake of the entry's `allocate`, which its author wants to hear of. */
  readonly isMistake?: boolean
  /** Encoded arguments of the node's `setup`; absent for none. */
  readonly setupArgs?: Uint8Array
  /** Files that this node needs beyond what the computation takes along. */
  readonly depends?: ReadonlyArray<string>
}

/** An entry of the node list. */
export interface NodeRule {
  readonly target: NodeTarget
  /** How much of a node that the entry is for is used; never throws. */
  readonly allocate: (node: NodeOffer) => Allocation
}

/** Reads what an entry of the node list is for. */
export const parseTarget = (text: string, nodePort: number): Result.Result<NodeTarget, InvalidOption> => {
  const entry = text.trim().toLowerCase()
  if (!entry.includes("*")) return NodeAddress.parse(text, nodePort)
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(entry)
  const plain = /^([^:]*):(\d+)$/.exec(entry)
  const [pattern, port] = bracketed !== null
    ? [bracketed[1]!, bracketed[2]]
    : plain !== null
    ? [plain[1]!, plain[2]]
    : [entry, undefined]
  if (/[^a-z0-9.:*%_-]/.test(pattern)) {
    return NodeAddress.invalid(text, "is not a pattern; \"*\" stands for any part of an address or of a host name")
  }
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) {
    return NodeAddress.invalid(text, `has port ${JSON.stringify(port)}; ports are 1 to 65535`)
  }
  return Result.succeed({ _tag: "Pattern", text: pattern, port: port === undefined ? undefined : Number(port) })
}

/** The target as users write it. */
export const format = (target: NodeTarget): string => {
  if (target._tag === "Local") return "local"
  if (target._tag === "Tcp") return NodeAddress.format(target)
  return target.port === undefined
    ? target.text
    : NodeAddress.format({ _tag: "Tcp", host: target.text, port: target.port })
}

const hostAndPort = (address: string): { readonly host: string; readonly port: number | undefined } => {
  const parsed = NodeAddress.parse(address, NodeAddress.defaultNodePort)
  return Result.isSuccess(parsed) && parsed.success._tag === "Tcp"
    ? parsed.success
    : { host: address, port: undefined }
}

/** What can be said of where a node is: before it answered for the first time its own words are empty. */
export interface NodePlace extends Pick<NodeOffer, "address" | "ipAddr" | "name"> {
  /**
   * Host of a list's entry whose name has several addresses, of which this node has one, or an address that a node that
   * dials out tells of itself; absent for none.
   */
  readonly listedAs?: string
}

const placeOf = ({ address }: NodePlace) => hostAndPort(NodeAddress.withoutLabel(address))

/** Everything that a node is called, in the forms that texts are compared in. */
const namesOf = (node: NodePlace): ReadonlyArray<string> => {
  const { host } = placeOf(node)
  const texts = [host, node.ipAddr, node.name, node.listedAs ?? ""].filter((text) => text !== "")
  return texts.flatMap((text) => [text.toLowerCase(), ...IpAddress.forms(text)])
}

/** Whether the whole text is what the pattern says; "*" stands for any characters. */
export const isLike = (text: string, pattern: string): boolean => {
  const parts = pattern.split("*")
  const [first = ""] = parts
  const last = parts.at(-1) ?? ""
  if (parts.length === 1) return text === pattern
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false
  let at = first.length
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return at <= text.length - last.length
}

/** Whether an entry of the list is for a node. */
export const matches = (target: NodeTarget, node: NodePlace): boolean => {
  if (target._tag === "Local" || node.address === "local") {
    return target._tag === "Local" ? node.address === "local" : target._tag === "Pattern" && target.text === "*"
  }
  const { port } = placeOf(node)
  if (target.port !== undefined && target.port !== port) return false
  const names = namesOf(node)
  return target._tag === "Tcp"
    ? names.includes(IpAddress.canonical(target.host))
    : names.some((name) => isLike(name, target.text))
}

/** How much of an address an entry says: whole addresses say more than patterns, long patterns more than short ones. */
const precision = (target: NodeTarget): number =>
  target._tag === "Pattern" ? target.text.replaceAll("*", "").length : Infinity

/** The entries in the order in which they are asked: the most specific first, else as they are listed. */
export const bySpecificity = (rules: ReadonlyArray<NodeRule>): ReadonlyArray<NodeRule> =>
  rules.toSorted((a, b) => {
    const [left, right] = [precision(a.target), precision(b.target)]
    return left === right ? 0 : right - left
  })

/** What the first entry that wants the node gives of it; without one, why it is not used. */
export const allocate = (rules: ReadonlyArray<NodeRule>, node: NodeOffer & NodePlace): Allocation | undefined => {
  let refusal: Allocation | undefined
  for (const rule of bySpecificity(rules)) {
    if (!matches(rule.target, node)) continue
    const allocation = rule.allocate(node)
    if (allocation.cpus > 0) return { ...allocation, cpus: Math.min(allocation.cpus, node.cpus) }
    refusal ??= allocation
  }
  return refusal
}

/** What an entry's `cpus` come to: so many at most, or all but so many (all, if that leaves none). */
export const cpusOf = (wanted: number, available: number): number => {
  if (wanted > 0) return Math.min(wanted, available)
  return wanted < 0 && available + wanted > 0 ? available + wanted : available
}

/** What `setNodeCpus` comes to: so many at most, or all but so many; what there was, if that is less than none. */
export const changedCpus = (wanted: number, available: number, before: number): number => {
  if (wanted >= 0) return Math.min(wanted, available)
  return available + wanted >= 0 ? available + wanted : before
}

/** What a user's word for a node means. */
export type Found<A> =
  | { readonly _tag: "Found"; readonly node: A }
  | { readonly _tag: "NotFound" }
  | { readonly _tag: "Ambiguous"; readonly addresses: ReadonlyArray<string> }

/** The node that a user calls by its address, with or without its port, by its host name or by its own name. */
export const find = <A extends NodePlace>(word: string, nodes: ReadonlyArray<A>): Found<A> => {
  const exact = nodes.find((node) => node.address === word)
  if (exact !== undefined) return { _tag: "Found", node: exact }
  const { host, port } = hostAndPort(word.trim())
  const hasPort = /:\d+$/.test(word.trim()) && IpAddress.forms(word.trim()).length === 0
  const name = IpAddress.canonical(host)
  const found = nodes.filter((node) =>
    node.address !== "local" && (!hasPort || placeOf(node).port === port) && namesOf(node).includes(name)
  )
  const all = found.length > 0 || hasPort
    ? found
    : nodes.filter((node) => node.address === "local" && namesOf(node).includes(name))
  if (all.length === 0) return { _tag: "NotFound" }
  return all.length === 1
    ? { _tag: "Found", node: all[0]! }
    : { _tag: "Ambiguous", addresses: all.map((node) => node.address) }
}
