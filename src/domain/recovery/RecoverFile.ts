/**
 * What a recover file says: how to ask for what is left of a client that died, and whom. It names nodes, not jobs. A
 * file of records (`journal/Records.ts`), each an entry as JSON:
 *
 * ```
 * Header        once, first: the key, and who wrote it
 * Computation   opened, for the names of its jobs
 * Node          leased; again when it is leased again
 * HandedOver    jobs that a recovering program has; nobody is to get them again
 * Done          a node that has nothing more
 * ```
 */
import { Option, Result, Schema } from "effect"
import * as AsciiJson from "../journal/AsciiJson.ts"
import * as Records from "../journal/Records.ts"
import * as NodeAddress from "../NodeAddress.ts"

/** Version of the layout; another one is not read. */
export const version = 1

/** Files with what lets the client in at its nodes; no secret stands in the recover file itself. */
export const CredentialFiles = Schema.Struct({
  secretFile: Schema.optionalKey(Schema.String),
  certfile: Schema.optionalKey(Schema.String),
  keyfile: Schema.optionalKey(Schema.String),
  cafile: Schema.optionalKey(Schema.String)
})

/** Files with what lets the client in at its nodes. */
export type CredentialFiles = typeof CredentialFiles.Type

const Header = Schema.TaggedStruct("Header", {
  version: Schema.Number,
  /** Whoever has it may have the results. */
  recoverKey: Schema.String,
  /** User, host and process. */
  client: Schema.String,
  host: Schema.String,
  /** Name of the process on its host (`files/ProcessName.ts`). */
  process: Schema.String,
  /** Milliseconds since 1970. */
  createdMillis: Schema.Number,
  credentials: CredentialFiles
})

const Computation = Schema.TaggedStruct("Computation", {
  id: Schema.String,
  name: Schema.String,
  /** Whether several nodes may have a reply to the same job, of different attempts. */
  mayRunTwice: Schema.Boolean
})

const Node = Schema.TaggedStruct("Node", {
  host: Schema.String,
  port: Schema.Number,
  /** The node's own. */
  name: Schema.String
})

const HandedOver = Schema.TaggedStruct("HandedOver", {
  computationId: Schema.String,
  jobs: Schema.Array(Schema.Number)
})

const Done = Schema.TaggedStruct("Done", { host: Schema.String, port: Schema.Number })

const Entry = Schema.Union([Header, Computation, Node, HandedOver, Done])

/** What is written in one piece. */
export type Entry = typeof Entry.Type

/** Who wrote the file, and the key. */
export type Header = typeof Header.Type

/** A computation that was opened. */
export type Computation = typeof Computation.Type

/** A node that was leased. */
export type Node = typeof Node.Type

/** A recover file that was read. */
export interface RecoverFile {
  readonly header: Header
  readonly computations: ReadonlyMap<string, Computation>
  /** Nodes that may have something, by address. */
  readonly nodes: ReadonlyMap<string, Node>
  /** Jobs that somebody has already, by computation. */
  readonly handedOver: ReadonlyMap<string, ReadonlySet<number>>
  /** What was lost of the file, in words. */
  readonly problems: ReadonlyArray<string>
}

const decodeJson = Schema.decodeOption(Schema.fromJsonString(Entry))

/** Kind of all records. */
const kind = 1

/** The bytes that are appended for an entry. */
export const encode = (entry: Entry): Uint8Array =>
  Records.encode({ kind, payload: AsciiJson.encode(JSON.stringify(entry)) })

const nodeAddress = ({ host, port }: { readonly host: string; readonly port: number }) =>
  ({ _tag: "Tcp", host, port }) as const

/** Address of a node as users write it. */
export const addressOf = (node: { readonly host: string; readonly port: number }): string =>
  NodeAddress.format(nodeAddress(node))

/** Address of a node for connections. */
export const target = nodeAddress

const problemsOf = ({ damaged, tornBytes }: Records.Contents, unknown: number): ReadonlyArray<string> => [
  ...damaged.map(({ from, to }) => `bytes ${from} to ${to} are damaged`),
  ...(tornBytes > 0 ? [`its last ${tornBytes} bytes are the beginning of something`] : []),
  ...(unknown > 0 ? [`${unknown} of its entries are of no known kind`] : [])
]

/** Reads a file. What is damaged in it is left out and told; without its header it is of no use, which is said. */
export const read = (bytes: Uint8Array): Result.Result<RecoverFile, string> => {
  const contents = Records.read(bytes)
  const decoded = contents.records.map((record) =>
    record.kind === kind ? decodeJson(AsciiJson.decode(record.payload)) : Option.none()
  )
  const entries = decoded.flatMap((entry) => Option.isSome(entry) ? [entry.value] : [])
  const header = entries.find((entry) => entry._tag === "Header")
  if (header === undefined) {
    const what = bytes.length === 0
      ? "it is empty: its program died before it had a node"
      : contents.records.length === 0
      ? "it is not a recover file, or its beginning is damaged"
      : "its beginning with the key is damaged, without which no node gives anything"
    return Result.fail(what)
  }
  if (header.version !== version) {
    return Result.fail(`another version of dispy wrote it (layout ${header.version}, this one reads ${version})`)
  }
  const computations = new Map<string, Computation>()
  const nodes = new Map<string, Node>()
  const handedOver = new Map<string, Set<number>>()
  for (const entry of entries) {
    switch (entry._tag) {
      case "Header":
        break
      case "Computation":
        computations.set(entry.id, entry)
        break
      case "Node":
        nodes.set(addressOf(entry), entry)
        break
      case "HandedOver": {
        const known = handedOver.get(entry.computationId) ?? new Set()
        for (const job of entry.jobs) known.add(job)
        handedOver.set(entry.computationId, known)
        break
      }
      case "Done":
        nodes.delete(addressOf(entry))
        break
    }
  }
  const problems = problemsOf(contents, decoded.length - entries.length)
  return Result.succeed({ header, computations, nodes, handedOver, problems })
}
