/** How users write a node list: texts, tuples, objects, `NodeAllocate`; and the checks that turn them into rules. */
import { Result } from "effect"
import { fileURLToPath } from "node:url"
import { InvalidOption } from "../../domain/ClusterError.ts"
import type { DispyNode } from "../../domain/DispyNode.ts"
import type { AvailInfo } from "../../domain/NodeInfo.ts"
import * as NodeList from "../../domain/NodeList.ts"
import type { NodeOffer, NodeRule } from "../../domain/NodeList.ts"
import type { ClassTable } from "../../slot/ClassTable.ts"
import * as Values from "../../slot/Values.ts"

/** What an `allocate` gives of a node. */
export interface Allocated {
  /** Slots to use; 0 or less for none. More than the node has are all. */
  readonly cpus: number
  /** Arguments of the cluster's `setup` on this node. Default: the entry's. */
  readonly setupArgs?: ReadonlyArray<unknown> | undefined
  /** Files that this node needs beyond the cluster's `depends`. Default: the entry's. */
  readonly depends?: ReadonlyArray<string | URL> | undefined
}

/** What an entry says of the nodes that it is for. */
export interface NodeAllocateOptions {
  /** Port of `dispynode`; for patterns: only nodes at this port. Default: the cluster's `nodePort`. */
  readonly port?: number | undefined
  /** Slots to use at most; negative: leave that many free. Default 0: all. */
  readonly cpus?: number | undefined
  /** Files that these nodes need beyond the cluster's `depends`. */
  readonly depends?: ReadonlyArray<string | URL> | undefined
  /** Arguments of the cluster's `setup` on these nodes. */
  readonly setupArgs?: ReadonlyArray<unknown> | undefined
}

/**
 * An entry of a node list that decides for itself: a subclass asks of every node that it is for how much of it is used.
 *
 * @example
 * ```ts
 * import { type AvailInfo, createJobCluster, NodeAllocate } from "dispy/promise"
 *
 * class Roomy extends NodeAllocate {
 *   override allocate(_cluster: object, _ipAddr: string, _name: string, cpus: number, { memory }: AvailInfo) {
 *     return memory > 2 ** 30 ? cpus : 0
 *   }
 * }
 *
 * await using cluster = await createJobCluster((n: number) => n * n, { nodes: ["local", new Roomy("*")] })
 * ```
 */
export class NodeAllocate {
  /** Tells it from an entry that is a plain object. */
  readonly _tag = "NodeAllocate"
  /** A host, an address, "local", or a pattern with "*". */
  host: string
  port: number | undefined
  cpus: number
  depends: ReadonlyArray<string | URL>
  setupArgs: ReadonlyArray<unknown>

  constructor(host: string, options: NodeAllocateOptions = {}) {
    // In JavaScript a port may stand there, as in dispy, and would be overlooked.
    if (typeof options !== "object" || options === null) {
      throw new InvalidOption({
        option: "nodes",
        reason: `the second argument of NodeAllocate(${printed(host)}, ${printed(options)}) is not an object; ` +
          "write { port, cpus, depends, setupArgs }, each of which may be left out"
      })
    }
    this.host = host
    this.port = options.port
    this.cpus = options.cpus ?? 0
    this.depends = options.depends ?? []
    this.setupArgs = options.setupArgs ?? []
  }

  /**
   * Says how many slots of a node are used: 0 or less for none. Called when a node has answered, when its number of
   * slots changes, and at `allocateNode` and `resetupNode`; it may set `depends` and `setupArgs` for the node, or return
   * them. What it throws is the reason why the node is not used.
   */
  allocate(
    _cluster: { readonly name: string },
    _ipAddr: string,
    _name: string,
    cpus: number,
    _availInfo: AvailInfo,
    _platform: string
  ): number | Allocated {
    return NodeList.cpusOf(this.cpus, cpus)
  }
}

/** An entry as an object; `allocate` as in `NodeAllocate`, with the node as one object. */
export interface NodeEntryObject extends NodeAllocateOptions {
  /** Default "*". */
  readonly host?: string | undefined
  readonly allocate?: ((node: NodeOffer) => number | Allocated) | undefined
}

/** An entry of a node list. */
export type NodeListEntry =
  | string
  | readonly [
    host: string,
    port?: number | undefined,
    cpus?: number,
    depends?: ReadonlyArray<string | URL>,
    setupArgs?: ReadonlyArray<unknown>
  ]
  | NodeEntryObject
  // Without its `allocate`, whose parameters would leave those of a plain object's without types.
  | Pick<NodeAllocate, "_tag" | "host">
  | DispyNode

const keys = new Set(["host", "port", "cpus", "depends", "setupArgs", "allocate"])

const fail = (reason: string) => Result.fail(new InvalidOption({ option: "nodes", reason }))

const printed = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
}

/** The entry as an object, whatever its form; a `NodeAllocate` stays what it is. */
const objectOf = (entry: unknown): Result.Result<NodeEntryObject | NodeAllocate, InvalidOption> => {
  if (typeof entry === "string") return Result.succeed({ host: entry })
  if (entry instanceof NodeAllocate) return Result.succeed(entry)
  if (Array.isArray(entry)) {
    if (entry.length === 0 || entry.length > 5) {
      return fail(`${printed(entry)} is not [host, port, cpus, depends, setupArgs]; all but the host may be left out`)
    }
    const [host, port, cpus, depends, setupArgs] = entry as [string, number, number, [], []]
    return Result.succeed({ host, port: port ?? undefined, cpus, depends, setupArgs })
  }
  if (typeof entry !== "object" || entry === null) {
    return fail(
      `${printed(entry)} is no entry; it is a list of texts ("local", "host", "host:port", "192.168.3.*"), tuples ` +
        "[host, port, cpus], objects { host, port, cpus, allocate }, or NodeAllocate objects"
    )
  }
  if ("address" in entry && "availCpus" in entry) return Result.succeed({ host: (entry as DispyNode).address })
  const unknown = Object.keys(entry).find((key) => !keys.has(key))
  return unknown === undefined
    ? Result.succeed(entry)
    : fail(`${unknown} of ${printed(entry)} is no key of an entry; the keys are ${[...keys].join(", ")}`)
}

/** What is wrong with the fields beside the host; undefined when nothing is. */
const mistakeIn = (
  entry: NodeEntryObject | NodeAllocate
): string | undefined => {
  const { cpus, depends, port, setupArgs } = entry
  if (port !== undefined && !(Number.isInteger(port) && port >= 1 && port <= 65535)) {
    return `port ${printed(port)} is not a whole number from 1 to 65535`
  }
  if (cpus !== undefined && !Number.isInteger(cpus)) return `cpus ${printed(cpus)} is not a whole number`
  if (depends !== undefined && !Array.isArray(depends)) return `depends ${printed(depends)} is not a list`
  const odd = depends?.find((path: unknown) => typeof path !== "string" && !(path instanceof URL))
  if (odd !== undefined) return `${printed(odd)} of depends is not a path; functions and classes are for all nodes`
  if (setupArgs !== undefined && !Array.isArray(setupArgs)) return `setupArgs ${printed(setupArgs)} is not a list`
  const isFunction = entry.allocate === undefined || typeof entry.allocate === "function"
  return isFunction ? undefined : `allocate ${printed(entry.allocate)} is not a function`
}

const given = (entry: NodeEntryObject | NodeAllocate, node: NodeOffer): unknown => {
  if (entry instanceof NodeAllocate) {
    const { availInfo, cluster, cpus, ipAddr, name, platform } = node
    return entry.allocate({ name: cluster }, ipAddr, name, cpus, availInfo, platform)
  }
  return entry.allocate === undefined ? NodeList.cpusOf(entry.cpus ?? 0, node.cpus) : entry.allocate(node)
}

const pathOf = (path: string | URL): string => typeof path === "string" ? path : fileURLToPath(path)

/** Asks an entry about a node; what it throws, and what makes no sense, is why the node is not used. */
const allocate = (
  entry: NodeEntryObject | NodeAllocate,
  node: NodeOffer,
  classes: ClassTable | undefined
): NodeList.Allocation => {
  const mistake = (reason: string): NodeList.Allocation => ({ cpus: 0, reason, isMistake: true })
  try {
    const answer = given(entry, node)
    const allocated = typeof answer === "number" ? { cpus: answer } : answer as Allocated | null | undefined
    const cpus: unknown = allocated?.cpus
    if (typeof cpus !== "number" || Number.isNaN(cpus)) {
      return mistake(`allocate returned ${printed(answer)}, not a number of cpus or an object with cpus`)
    }
    if (cpus < 1) return { cpus: 0, reason: `allocate gave ${cpus} cpus` }
    const setupArgs = allocated?.setupArgs ?? entry.setupArgs ?? []
    const depends = allocated?.depends ?? entry.depends ?? []
    return {
      cpus: Math.floor(cpus),
      reason: "",
      ...(setupArgs.length === 0 ? {} : { setupArgs: Values.encodeArgs(setupArgs, classes) }),
      ...(depends.length === 0 ? {} : { depends: depends.map(pathOf) })
    }
  } catch (cause) {
    return mistake(`allocate threw ${cause instanceof Error ? `${cause.name}: ${cause.message}` : printed(cause)}`)
  }
}

/** An entry of a node list that was read. */
export interface EntryRule extends NodeRule {
  /** The same for a computation with classes, of which its `setupArgs` may have instances. */
  readonly knowing: (classes: ClassTable | undefined) => NodeRule
}

/** Reads an entry. */
const ruleOf = (entry: unknown, nodePort: number): Result.Result<EntryRule, InvalidOption> =>
  Result.gen(function*() {
    const object = yield* objectOf(entry)
    const host: unknown = object.host ?? "*"
    if (typeof host !== "string") return yield* fail(`the host of ${printed(entry)} is not a text`)
    const mistake = mistakeIn(object)
    if (mistake !== undefined) return yield* fail(`the entry for ${host} is wrong: ${mistake}`)
    const parsed = yield* NodeList.parseTarget(host, object.port ?? nodePort)
    const isPattern = parsed._tag === "Pattern" && object.port !== undefined
    const target = isPattern ? { ...parsed, port: object.port } : parsed
    const knowing = (classes: ClassTable | undefined): NodeRule => ({
      target,
      allocate: (node) => allocate(object, node, classes)
    })
    return { ...knowing(undefined), knowing }
  })

/** Whether it is a list rather than a single entry. */
export const isList = (
  entries: NodeListEntry | ReadonlyArray<NodeListEntry>
): entries is ReadonlyArray<NodeListEntry> => Array.isArray(entries)

/** Reads entries: one of them, or a list. */
export const rulesOf = (
  entries: NodeListEntry | ReadonlyArray<NodeListEntry>,
  nodePort: number
): Result.Result<ReadonlyArray<EntryRule>, InvalidOption> => {
  const listed: ReadonlyArray<unknown> = isList(entries) ? entries : [entries]
  if (listed.length === 0) return fail("it is empty; list at least one host, or \"local\"")
  return Result.all(listed.map((entry) => ruleOf(entry, nodePort)))
}
