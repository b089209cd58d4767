/** Bulk connections to a node in the same process, without sockets: for tests and simulations. */
import { Effect, Layer } from "effect"
import { type Duplex, duplexPair } from "node:stream"
import * as BulkFrames from "../../domain/transfer/BulkFrames.ts"
import * as Bytes from "../../domain/wire/Bytes.ts"
import { BulkDoor } from "../../services/BulkDoor.ts"
import { FileTransfer } from "../../services/FileTransfer.ts"
import * as BulkPeer from "./BulkPeer.ts"
import * as FileTransferSession from "./FileTransferSession.ts"

/** Reads the greeting, then has the node serve the rest. */
const enter = (door: BulkDoor["Service"], stream: Duplex): void => {
  let start: Uint8Array = new Uint8Array(0)
  const take = (bytes: Uint8Array): void => {
    start = Bytes.concat([start, bytes])
    const greeting = BulkFrames.readGreeting(start)
    if (greeting._tag === "Incomplete") return
    stream.off("data", take)
    if (greeting._tag === "Malformed") stream.destroy()
    else door.serve(stream, greeting.leaseId, start.subarray(greeting.size))
  }
  stream.on("data", take)
}

/** Writes go on when they may; at once by default. */
export type Pass = (go: () => void) => void

/** As a socket does: who writes may use the bytes again while the other side still has its own of them. */
const copyWrites = (stream: Duplex, pass: Pass): Duplex => {
  const write = stream._write.bind(stream)
  stream._write = (chunk, encoding, done) => {
    const bytes = Buffer.from(chunk as Uint8Array)
    pass(() => write(bytes, encoding, done))
  }
  return stream
}

const atOnce: Pass = (go) => go()

/** A connection to a node: what the client has of it, and both ends to break it by. */
export const connect = (
  door: BulkDoor["Service"],
  toNode: Pass = atOnce,
  fromNode: Pass = atOnce
): { readonly wire: BulkPeer.Wire; readonly ends: readonly [Duplex, Duplex] } => {
  const [ours, theirs] = duplexPair()
  enter(door, copyWrites(theirs, fromNode))
  return { wire: BulkPeer.wireOf(copyWrites(ours, toNode)), ends: [ours, theirs] }
}

/** Bulk connections to the node in the context, whatever the address. */
export const layer: Layer.Layer<FileTransfer, never, BulkDoor> = Layer.effect(
  FileTransfer,
  Effect.map(BulkDoor, (door) =>
    FileTransfer.of({
      open: (_, leaseId) => FileTransferSession.make("memory", leaseId, () => Promise.resolve(connect(door).wire))
    }))
)
