/**
 * What a recover file says: how to ask for what is left of a client that died, and whom. A file of records
 * (`journal/Records.ts`), each an entry as JSON:
 *
 * ```
 * Header        once, first: the key, and who wrote it
 * Computation   opened, for the names of its jobs
 * Definition    all of a computation that is durable, so that another process can open it
 * Node          leased; again when it is leased again
 * HandedOver    jobs that a recovering program has; nobody is to get them again
 * Done          a node that has nothing more
 * Resumed       a program recovers, and may run what is left, under a key of its own …
 * Released      … and does not any more
 * Retried       a job was tried again, so that there may be replies of several attempts
 * ```
 * Of computations that are durable it has the jobs as well (`JobEntries.ts`), of others only their nodes know them.
 */
import { Option, Result, Schema } from "effect"
import * as ComputationSchema from "../Computation.ts"
import * as AsciiJson from "../journal/AsciiJson.ts"
import * as Records from "../journal/Records.ts"
import * as RecordWriter from "../journal/RecordWriter.ts"
import * as NodeAddress from "../NodeAddress.ts"
import * as Entries from "../wire/Entries.ts"
import * as JobEntries from "./JobEntries.ts"
import * as NumberRanges from "./NumberRanges.ts"

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
  credentials: CredentialFiles,
  /** The node list, as far as it is text: where what was never sent can run. Absent in files without jobs. */
  nodeList: Schema.optionalKey(Schema.Array(Schema.String))
})

const Computation = Schema.TaggedStruct("Computation", {
  id: Schema.String,
  name: Schema.String,
  /** Whether a job that was lost may run again, so that several nodes may have a reply to it, of different attempts. */
  mayRunTwice: Schema.Boolean,
  /** What its jobs call it; absent for one that is not durable. */
  index: Schema.optionalKey(Schema.Number),
  /** Id of the computation whose jobs it goes on with; absent for one of its own. */
  originalId: Schema.optionalKey(Schema.String)
})

const Definition = Schema.TaggedStruct("Definition", {
  computation: ComputationSchema.Computation,
  /** Files of this machine with the contents of its files, or their bytes, in their order. */
  sources: Schema.Array(Schema.Union([Schema.String, Schema.Uint8Array])),
  /** Encoded; absent for none. */
  setupArgs: Schema.optionalKey(Schema.Uint8Array)
})

const Node = Schema.TaggedStruct("Node", {
  host: Schema.String,
  port: Schema.Number,
  /** The node's own. */
  name: Schema.String,
  /** The recovery that leased it; absent for the program that wrote the file. */
  generation: Schema.optionalKey(Schema.Number)
})

const HandedOver = Schema.TaggedStruct("HandedOver", {
  computationId: Schema.String,
  jobs: Schema.Array(Schema.Number)
})

const Done = Schema.TaggedStruct("Done", {
  host: Schema.String,
  port: Schema.Number,
  generation: Schema.optionalKey(Schema.Number)
})

const Resumed = Schema.TaggedStruct("Resumed", {
  /** Counts recoveries from 1. */
  generation: Schema.Number,
  /** As in the header, for nodes of this recovery. */
  recoverKey: Schema.String,
  client: Schema.String,
  host: Schema.String,
  process: Schema.String
})

const Retried = Schema.TaggedStruct("Retried", { computationId: Schema.String })

const Released = Schema.TaggedStruct("Released", { recoverKey: Schema.String })

const Entry = Schema.Union([Header, Computation, Definition, Node, HandedOver, Done, Resumed, Released, Retried])

/** What is written in one piece. */
export type Entry = typeof Entry.Type

/** Who wrote the file, and the key. */
export type Header = typeof Header.Type

/** A computation that was opened. */
export type Computation = typeof Computation.Type

/** All of a computation that is durable. */
export type Definition = typeof Definition.Type

/** A node that was leased. */
export type Node = typeof Node.Type

/** A program that recovers. */
export type Resumed = typeof Resumed.Type

/** A recover file that was read. */
export interface RecoverFile {
  readonly header: Header
  readonly computations: ReadonlyMap<string, Computation>
  /** What is needed to open computations that are durable, by id. */
  readonly definitions: ReadonlyMap<string, Definition>
  /** Jobs of computations that are durable, by id. */
  readonly queues: ReadonlyMap<string, JobEntries.JobQueue>
  /** Nodes that may have something, by what they are called here (`nameOf`). */
  readonly nodes: ReadonlyMap<string, Node>
  /** All that were ever leased. */
  readonly leased: ReadonlyArray<Node>
  /** Jobs that somebody has already, by computation. */
  readonly handedOver: ReadonlyMap<string, NumberRanges.NumberRanges>
  /** Recoveries that were begun, in order. */
  readonly resumed: ReadonlyArray<Resumed>
  /** Keys of those that have ended in an orderly way. */
  readonly released: ReadonlySet<string>
  /** Computations of which jobs were tried again: several nodes may have a reply to the same job. */
  readonly retried: ReadonlySet<string>
  /** Bytes from which on there is nothing but zeros. */
  readonly usedBytes: number
  /** What was lost of the file, in words. */
  readonly problems: ReadonlyArray<string>
}

const Json = Schema.fromJsonString(Schema.toCodecJson(Entry))
const decodeJson = Schema.decodeOption(Json)
const encodeJson = Schema.encodeSync(Json)

/** Kind of records that are entries. */
export const kind = 1

/** The payload of an entry's record. */
export const payloadOf = (entry: Entry): Uint8Array =>
  AsciiJson.encode(entry._tag === "Definition" ? encodeJson(entry) : JSON.stringify(entry))

/** The bytes that are appended for an entry. */
export const encode = (entry: Entry): Uint8Array => Records.encode({ kind, payload: payloadOf(entry) })

const nodeAddress = ({ host, port }: { readonly host: string; readonly port: number }) =>
  ({ _tag: "Tcp", host, port }) as const

/** Address of a node as users write it. */
export const addressOf = (node: { readonly host: string; readonly port: number }): string =>
  NodeAddress.format(nodeAddress(node))

/** Address of a node for connections. */
export const target = nodeAddress

/** What a node is called where another recovery may have leased it as well. */
export const nameOf = (node: { readonly host: string; readonly port: number; readonly generation?: number }): string =>
  node.generation === undefined ? addressOf(node) : `${addressOf(node)} (recovery ${node.generation})`

/** The address in a node's name. */
export const addressIn = (name: string): string => name.replace(/ \(recovery \d+\)$/, "")

/** The key that a node was leased with; undefined where that is damaged. */
export const keyOf = ({ header, resumed }: Pick<RecoverFile, "header" | "resumed">, node: Node): string | undefined =>
  node.generation === undefined
    ? header.recoverKey
    : resumed.find(({ generation }) => generation === node.generation)?.recoverKey

/** The computation whose jobs one goes on with; itself for one of its own. */
export const originalOf = ({ computations }: Pick<RecoverFile, "computations">, computationId: string): string =>
  computations.get(computationId)?.originalId ?? computationId

const counted = (count: number, thing: string, things: string): string => `${count} ${count === 1 ? thing : things}`

interface Unread {
  readonly unknown: number
  readonly strayJobs: number
  readonly keyless: ReadonlyArray<string>
}

const problemsOf = (
  { damaged, tornBytes }: Records.Contents,
  { keyless, strayJobs, unknown }: Unread
): ReadonlyArray<string> => [
  ...damaged.map(({ from, to }) => `bytes ${from} to ${to} are damaged`),
  ...(tornBytes > 0 ? [`its last ${tornBytes} bytes are the beginning of something`] : []),
  ...(unknown > 0 ? [`${unknown} of its entries are of no known kind`] : []),
  ...(strayJobs > 0
    ? [`${counted(strayJobs, "entry is", "entries are")} of jobs whose computation is damaged, and cannot be run`]
    : []),
  ...keyless.map((node) => `the key of node ${node} is damaged`)
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
  const file = { ...emptyWith(header), usedBytes: bytes.length - contents.tornBytes - contents.zeroBytes }
  for (const entry of entries) take(file, entry)
  const strayJobs = takeJobs(file, contents.records)
  const keyless = [...file.nodes].flatMap(([name, node]) => keyOf(file, node) === undefined ? [name] : [])
  for (const name of keyless) file.nodes.delete(name)
  const jobRecords = contents.records.filter((record) => record.kind !== kind).length
  const unknown = decoded.length - entries.length - jobRecords + strayJobs.unknown
  return Result.succeed({ ...file, problems: problemsOf(contents, { unknown, strayJobs: strayJobs.stray, keyless }) })
}

/** The same file without what needs nothing any more; undefined for a file that is damaged, which is to stay as it is. */
export const compact = (bytes: Uint8Array): Uint8Array | undefined => {
  const file = Result.getOrUndefined(read(bytes))
  if (file === undefined || file.problems.length > 0) return undefined
  const writer = RecordWriter.make(bytes.length)
  const put = (entry: Entry) => RecordWriter.append(writer, kind, payloadOf(entry))
  put(file.header)
  for (const entry of file.resumed) put(entry)
  for (const recoverKey of file.released) put({ _tag: "Released", recoverKey })
  for (const entry of file.computations.values()) put(entry)
  for (const computationId of file.retried) put({ _tag: "Retried", computationId })
  for (const entry of file.definitions.values()) put(entry)
  for (const entry of file.leased) {
    put(entry)
    const { generation, host, port } = entry
    const again = generation === undefined ? {} : { generation }
    if (!file.nodes.has(nameOf(entry))) put({ _tag: "Done", host, port, ...again })
  }
  for (const [computationId, jobs] of file.handedOver) {
    if (!file.queues.has(computationId)) put({ _tag: "HandedOver", computationId, jobs: NumberRanges.toArray(jobs) })
  }
  for (const { id, index } of file.computations.values()) {
    const queue = file.queues.get(id)
    if (index !== undefined && queue !== undefined) JobEntries.writeQueue(writer, index, queue, Entries.encodeReply)
  }
  return RecordWriter.written(writer)
}

const emptyWith = (header: Header) => ({
  header,
  computations: new Map<string, Computation>(),
  definitions: new Map<string, Definition>(),
  queues: new Map<string, JobEntries.JobQueue>(),
  nodes: new Map<string, Node>(),
  leased: new Array<Node>(),
  handedOver: new Map<string, NumberRanges.NumberRanges>(),
  resumed: new Array<Resumed>(),
  released: new Set<string>(),
  retried: new Set<string>()
})

type Growing = ReturnType<typeof emptyWith>

const handedOverOf = ({ handedOver }: Growing, computationId: string): NumberRanges.NumberRanges => {
  const known = handedOver.get(computationId) ?? NumberRanges.make()
  handedOver.set(computationId, known)
  return known
}

const take = (file: Growing, entry: Entry): void => {
  switch (entry._tag) {
    case "Header":
      return
    case "Computation":
      file.computations.set(entry.id, entry)
      return
    case "Definition":
      file.definitions.set(entry.computation.id, entry)
      return
    case "Node":
      file.nodes.set(nameOf(entry), entry)
      if (!file.leased.some((node) => nameOf(node) === nameOf(entry))) file.leased.push(entry)
      return
    case "HandedOver": {
      const known = handedOverOf(file, entry.computationId)
      for (const job of entry.jobs) NumberRanges.add(known, job)
      return
    }
    case "Done":
      file.nodes.delete(nameOf(entry))
      return
    case "Resumed":
      file.resumed.push(entry)
      return
    case "Released":
      file.released.add(entry.recoverKey)
      return
    case "Retried":
      file.retried.add(entry.computationId)
      return
  }
}

/** Takes in what the file says of single jobs; how much of that is of no computation, and of no known kind. */
const takeJobs = (
  file: Growing,
  records: ReadonlyArray<Records.JournalRecord>
): { readonly stray: number; readonly unknown: number } => {
  const byIndex = new Map<number, JobEntries.JobQueue>()
  for (const { id, index, originalId } of file.computations.values()) {
    if (index === undefined || originalId !== undefined) continue
    const queue: JobEntries.JobQueue = { jobs: new Map(), noted: handedOverOf(file, id) }
    byIndex.set(index, queue)
    file.queues.set(id, queue)
  }
  let stray = 0
  let unknown = 0
  for (const record of records) {
    if (record.kind === kind) continue
    const queue = byIndex.get(JobEntries.indexOf(record.payload) ?? -1)
    if (!JobEntries.isKind(record.kind)) unknown++
    else if (queue === undefined) stray++
    else if (!JobEntries.read(queue, record.kind, record.payload)) unknown++
  }
  for (const { jobs, noted } of file.queues.values()) {
    for (const number of jobs.keys()) if (NumberRanges.has(noted, number)) jobs.delete(number)
  }
  return { stray, unknown }
}
