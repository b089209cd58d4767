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

/** As a socket does: who writes may use the bytes again while the other side still has its own of them. */
const copyWrites = (stream: Duplex): Duplex => {
  const write = stream._write.bind(stream)
  stream._write = (chunk, encoding, done) => write(Buffer.from(chunk as Uint8Array), encoding, done)
  return stream
}

/** Bulk connections to the node in the context, whatever the address. */
export const layer: Layer.Layer<FileTransfer, never, BulkDoor> = Layer.effect(
  FileTransfer,
  Effect.map(BulkDoor, (door) => {
    const dial = (): Promise<BulkPeer.Wire> => {
      const [ours, theirs] = duplexPair()
      enter(door, copyWrites(theirs))
      return Promise.resolve(BulkPeer.wireOf(copyWrites(ours)))
    }
    return FileTransfer.of({ open: (_, leaseId) => FileTransferSession.make("memory", leaseId, dial) })
  })
)
