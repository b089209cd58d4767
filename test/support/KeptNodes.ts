/** Nodes that keep what a test says, for those who recover it: no sockets, and they note who told them to forget. */
import { Effect, Layer, Stream } from "effect"
import * as fs from "node:fs"
import * as NodeAddress from "../../src/domain/NodeAddress.ts"
import { NodeUnreachable, type NothingKept } from "../../src/domain/NodeError.ts"
import type { KeptEvent } from "../../src/domain/NodeRpcs.ts"
import type { Entry, Header } from "../../src/domain/recovery/RecoverFile.ts"
import * as RecoverFile from "../../src/domain/recovery/RecoverFile.ts"
import { TransferFailed } from "../../src/domain/TransferError.ts"
import * as Entries from "../../src/domain/wire/Entries.ts"
import { FileTransfer } from "../../src/services/FileTransfer.ts"
import { type NodeConnection, NodeLink } from "../../src/services/NodeLink.ts"
import * as Values from "../../src/slot/Values.ts"

/** What a node does when it is asked. */
export interface KeptNode {
  /** What it tells the first time, the second …; the last one also later. */
  readonly stories: ReadonlyArray<Stream.Stream<KeptEvent, NodeUnreachable | NothingKept>>
  /** Bodies of results and files, by job number and path; what is not here fails. */
  readonly contents?: ReadonlyMap<number | string, Uint8Array>
  /** Whether it refuses to forget. */
  readonly isDeafToForget?: boolean
}

/** What nodes were asked. */
export interface Asked {
  /** Addresses, in order, with an exclamation mark where jobs were to be ended. */
  readonly recovered: Array<string>
  readonly forgotten: Array<string>
  /** What was fetched. */
  readonly fetched: Array<string>
}

const unreachable = (address: string) => new NodeUnreachable({ address, reason: "connection refused" })

const connectionTo = (address: string, node: KeptNode, key: string, asked: Asked): NodeConnection => {
  const connection: Pick<NodeConnection, "recover" | "forget"> = {
    recover: (recoverKey, terminatePending) =>
      Stream.unwrap(Effect.sync(() => {
        const before = asked.recovered.filter((one) => one.replace("!", "") === address).length
        asked.recovered.push(terminatePending ? `${address}!` : address)
        return recoverKey === key
          ? node.stories[Math.min(before, node.stories.length - 1)]!
          : Stream.die("a wrong key")
      })),
    forget: () =>
      node.isDeafToForget === true
        ? Effect.fail(unreachable(address))
        : Effect.sync(() => void asked.forgotten.push(address))
  }
  return connection as NodeConnection
}

/** These nodes by address; any other address refuses connections. */
export const layer = (
  nodes: Readonly<Record<string, KeptNode>>,
  key: string,
  asked: Asked
): Layer.Layer<NodeLink | FileTransfer> =>
  Layer.mergeAll(
    Layer.succeed(
      NodeLink,
      NodeLink.of({
        connect: (address) => {
          const name = NodeAddress.format(address)
          const node = nodes[name]
          return node === undefined
            ? Effect.fail(unreachable(name))
            : Effect.succeed(connectionTo(name, node, key, asked))
        }
      })
    ),
    Layer.succeed(
      FileTransfer,
      FileTransfer.of({
        open: (address, leaseId) => {
          const node = NodeAddress.format(address)
          const get = (name: number | string, what: string) =>
            Effect.suspend(() => {
              asked.fetched.push(`${what} under ${leaseId}`)
              const bytes = nodes[node]?.contents?.get(name)
              return bytes === undefined
                ? Effect.fail(new TransferFailed({ what, node, reason: "it is gone" }))
                : Effect.succeed(bytes)
            })
          return Effect.succeed({
            put: () => Effect.die("nothing is sent"),
            getBytes: ({ source, what }) => get(source._tag === "Result" ? source.jobId : "", what),
            getFile: ({ what }, path) =>
              Effect.flatMap(get(what.replace("file ", ""), what), (bytes) =>
                Effect.sync(() => fs.writeFileSync(path, bytes)))
          })
        }
      })
    )
  )

/** None asked yet. */
export const nobody = (): Asked => ({ recovered: [], forgotten: [], fetched: [] })

/** The reply of a job that returned this. */
export const replyOf = (
  jobId: number,
  value: unknown,
  more: Partial<Entries.ReplyFields> = {}
): Entries.ReplyFields => ({
  jobId,
  attempt: 1,
  outcome: Entries.Outcome.succeeded,
  flags: 0,
  startMillis: 1000,
  durationMicros: 2000,
  result: Values.encode(value),
  stdout: new TextEncoder().encode(`job ${jobId}\n`),
  stderr: Entries.noBytes,
  ...more
})

/** A node tells of a lease with these jobs that have no reply. */
export const lease = (...unreplied: ReadonlyArray<number>): KeptEvent => ({
  _tag: "KeptLease",
  leaseId: "lease",
  computations: [{ computationId: "c", name: "compute", unreplied }]
})

/** A node tells these replies. */
export const replies = (...all: ReadonlyArray<Entries.ReplyFields>): KeptEvent => ({
  _tag: "KeptReplies",
  leaseId: "lease",
  computationId: "c",
  batch: Entries.encodeReplies(all)
})

/** Writes the recover file of a program that is gone, with these nodes (`host:1`). */
export const write = (
  file: string,
  hosts: ReadonlyArray<string>,
  options: { readonly key: string; readonly mayRunTwice?: boolean; readonly header?: Partial<Header> }
): void => {
  const { header, key, mayRunTwice = false } = options
  const entries: ReadonlyArray<Entry> = [
    {
      _tag: "Header",
      version: RecoverFile.version,
      recoverKey: key,
      client: "me@here, process 1",
      host: "elsewhere",
      process: "1-1",
      createdMillis: 0,
      credentials: {},
      ...header
    },
    { _tag: "Computation", id: "c", name: "compute", mayRunTwice },
    ...hosts.map((host): Entry => ({ _tag: "Node", host, port: 1, name: `node ${host}` }))
  ]
  fs.writeFileSync(file, Buffer.concat(entries.map(RecoverFile.encode)))
}
