/**
 * A node's side of bulk connections: takes what a client puts, verified and only
 * then at its place, and serves what it asks for. What goes where is the store's
 * to say; without a lease nothing is said but that.
 */
import { Schema } from "effect"
import type { Duplex } from "node:stream"
import * as BulkFrames from "../../domain/transfer/BulkFrames.ts"
import type * as FileTransfer from "../../services/FileTransfer.ts"
import type { Gone } from "../../services/JobExecutor.ts"
import * as BulkPeer from "./BulkPeer.ts"
import * as Content from "./Content.ts"
import * as Sink from "./Sink.ts"

/** What is to happen with content that a client announces. */
export interface Admission {
  /** File in which it is collected; on the file system where it goes. */
  readonly temporary: string
  /** What it must be, if that is known before. */
  readonly sha256: string | undefined
  /** Puts the finished file to its place; throws what is wrong. */
  readonly accept: (temporary: string) => void
}

/** Content that a client may have. */
export interface Offering {
  readonly content: FileTransfer.Content
  /** The client has it, whole. */
  readonly onFetched: () => void
  /** Aborts when it is not to be had any more. */
  readonly signal: Gone | undefined
}

/** A refusal, for the other side to read. */
export class Refusal extends Error {
  override readonly name = "Refusal"
  readonly limitBytes: number | undefined

  constructor(message: string, limitBytes?: number) {
    super(message)
    this.limitBytes = limitBytes
  }
}

/** A transfer that broke off, for the client to go on with. */
export interface Partial {
  readonly temporary: string
  readonly sizeBytes: number
  /** Done when nothing is written to it any more. */
  readonly settled: Promise<void>
}

/** What a lease may do. */
export interface BulkLease {
  readonly window: BulkPeer.SharedWindow
  /** Connections that work under it; they end with it. */
  readonly connections: Set<BulkPeer.BulkPeer>
  /** By the client's number of the transfer. */
  readonly partials: Map<number, Partial>
  /** The connections on which contents come in, by the client's numbers of these. */
  readonly receiving: Map<number, BulkPeer.BulkPeer>
  /** Throws a `Refusal`. */
  readonly admit: (header: BulkFrames.PutHeader) => Admission
  /** Throws a `Refusal`. */
  readonly offering: (header: BulkFrames.GetHeader) => Offering
  /** What a client reads of an error of the file system. */
  readonly describe: (error: unknown) => string
  /** Removes a temporary file. */
  readonly discard: (temporary: string) => void
}

/** A transfer is worth going on with when so much of it is there. */
const partialBytes = 1024 * 1024

/** Transfers that broke off, kept per lease. */
const maxPartials = 16

/** Contents that are being finished at the same time, before the client is held up. */
const maxFinishing = 64

interface Incoming {
  readonly header: BulkFrames.PutHeader
  readonly admission: Admission
  readonly sink: Sink.Sink
}

interface Serving {
  readonly header: BulkFrames.GetHeader
  readonly offering: Offering
  readonly sending: Content.Sending
}

interface Server {
  readonly lease: BulkLease
  peer: BulkPeer.BulkPeer
  /** What data belongs to: content, or nothing that is wanted; undefined between contents. */
  incoming: Incoming | "unwanted" | undefined
  finishing: number
  /** Content that was asked for and not confirmed, by the client's number. */
  readonly serving: Map<number, Serving>
  /** Ends when the contents before are sent: one at a time. */
  turn: Promise<void>
}

const decoder = <S extends Schema.Codec<unknown, unknown>>(schema: S) =>
  Schema.decodeUnknownSync(Schema.fromJsonString(schema))
const decodePut = decoder(BulkFrames.PutHeader)
const decodeGet = decoder(BulkFrames.GetHeader)
const decodeDone = decoder(BulkFrames.Done)

const fail = (server: Server, id: number, error: unknown): void => {
  const limitBytes = error instanceof Refusal ? error.limitBytes : undefined
  BulkPeer.sendJson(server.peer, BulkFrames.Frame.failed, {
    id,
    reason: (error instanceof Refusal ? error.message : server.lease.describe(error)).slice(0, 4000),
    ...(limitBytes === undefined ? {} : { limitBytes })
  })
}

const flowOf = (server: Server): Sink.Flow => ({
  pause: () => BulkPeer.pause(server.peer),
  resume: () => BulkPeer.resume(server.peer)
})

const begin = (server: Server, header: BulkFrames.PutHeader): void => {
  const { lease } = server
  const earlier = lease.receiving.get(header.id)
  // The client knows before this node that its connection broke.
  if (earlier !== undefined && earlier !== server.peer) BulkPeer.close(earlier, "the client goes on elsewhere")
  const before = lease.partials.get(header.id)
  lease.partials.delete(header.id)
  lease.receiving.set(header.id, server.peer)
  try {
    const admission = lease.admit(header)
    if (header.isResumed && before !== undefined && before.sizeBytes === header.sizeBytes) {
      return void goOn(server, header, { ...admission, temporary: before.temporary }, before)
    }
    if (before !== undefined) lease.discard(before.temporary)
    const sink = Sink.toNewFile(admission.temporary, header.sizeBytes, flowOf(server))
    server.incoming = { header, admission, sink }
    if (header.isResumed) BulkPeer.sendJson(server.peer, BulkFrames.Frame.offset, { id: header.id, offset: 0 })
  } catch (error) {
    server.incoming = "unwanted"
    fail(server, header.id, error)
  }
}

const goOn = async (
  server: Server,
  header: BulkFrames.PutHeader,
  admission: Admission,
  before: Partial
): Promise<void> => {
  BulkPeer.pause(server.peer)
  try {
    await before.settled
    const sink = await Sink.toPartialFile(admission.temporary, header.sizeBytes, flowOf(server))
    if (server.peer.closed !== undefined) return await sink.discard()
    server.incoming = { header, admission, sink }
    BulkPeer.sendJson(server.peer, BulkFrames.Frame.offset, { id: header.id, offset: sink.received })
  } catch (error) {
    server.incoming = "unwanted"
    fail(server, header.id, error)
  }
  BulkPeer.resume(server.peer)
}

const forget = (server: Server, id: number): void => {
  if (server.lease.receiving.get(id) === server.peer) server.lease.receiving.delete(id)
}

const finish = async (server: Server, { admission, header, sink }: Incoming, told: Buffer): Promise<void> => {
  if (++server.finishing === maxFinishing) BulkPeer.pause(server.peer)
  forget(server, header.id)
  try {
    const { sha256 } = await sink.finish()
    if (sink.received !== header.sizeBytes) {
      throw new Refusal(`${sink.received} bytes came instead of ${header.sizeBytes}`)
    }
    const hash = sha256.toString("hex")
    if (!sha256.equals(told) || (admission.sha256 !== undefined && admission.sha256 !== hash)) {
      throw new Refusal("its content is not what was announced (SHA-256 differs); it was thrown away")
    }
    admission.accept(admission.temporary)
    BulkPeer.sendJson(server.peer, BulkFrames.Frame.done, { id: header.id })
  } catch (error) {
    server.lease.discard(admission.temporary)
    fail(server, header.id, error)
  }
  if (server.finishing-- === maxFinishing) BulkPeer.resume(server.peer)
}

const end = (server: Server, payload: Uint8Array): boolean => {
  const { incoming } = server
  server.incoming = undefined
  if (incoming === undefined) return false
  if (incoming !== "unwanted") void finish(server, incoming, Buffer.from(payload))
  return true
}

const abort = (server: Server): boolean => {
  const { incoming } = server
  server.incoming = undefined
  if (incoming === undefined) return false
  if (incoming === "unwanted") return true
  forget(server, incoming.header.id)
  void incoming.sink.discard()
  return true
}

const serve = async (server: Server, serving: Serving): Promise<void> => {
  const { header, offering, sending } = serving
  const stop = (): void => {
    sending.isStopped = true
  }
  if (sending.isStopped || server.peer.closed !== undefined) return
  if (offering.signal?.aborted === true) stop()
  offering.signal?.addEventListener("abort", stop)
  BulkPeer.sendJson(server.peer, BulkFrames.Frame.head, { id: header.id, sizeBytes: Content.sizeOf(offering.content) })
  // The client is told what is wrong with the content, by an abort.
  await Content.send(server.peer, offering.content, header.offset, sending).catch(() => {})
  offering.signal?.removeEventListener("abort", stop)
}

const get = (server: Server, header: BulkFrames.GetHeader): void => {
  try {
    const offering = server.lease.offering(header)
    const serving: Serving = { header, offering, sending: { isStopped: false, onProgress: () => {} } }
    server.serving.set(header.id, serving)
    server.turn = server.turn.then(() => serve(server, serving))
  } catch (error) {
    fail(server, header.id, error)
  }
}

const fetched = (server: Server, id: number): void => {
  server.serving.get(id)?.offering.onFetched()
  server.serving.delete(id)
}

const unwanted = (server: Server, id: number): void => {
  const serving = server.serving.get(id)
  if (serving !== undefined) serving.sending.isStopped = true
  server.serving.delete(id)
}

const onFrame = (server: Server, type: number, payload: Uint8Array): boolean => {
  const { Frame } = BulkFrames
  const text = (): string => Buffer.from(payload).toString()
  try {
    if (type === Frame.end) return payload.length === 32 && end(server, payload)
    if (type === Frame.abort) return abort(server)
    if (type === Frame.put) {
      if (server.incoming !== undefined) return false
      begin(server, decodePut(text()))
    } else if (type === Frame.get) get(server, decodeGet(text()))
    else if (type === Frame.done) fetched(server, decodeDone(text()).id)
    else if (type === Frame.failed) unwanted(server, decodeDone(text()).id)
    else return false
    return true
  } catch {
    return false
  }
}

const onData = (server: Server, bytes: Uint8Array): boolean => {
  const { incoming } = server
  if (incoming === undefined) return false
  if (incoming === "unwanted") return true
  if (incoming.sink.received + bytes.length > incoming.header.sizeBytes) {
    server.incoming = "unwanted"
    void incoming.sink.discard()
    fail(server, incoming.header.id, new Refusal(`more than the ${incoming.header.sizeBytes} bytes announced came`))
    return true
  }
  incoming.sink.write(bytes)
  return true
}

/** The connection is gone: what is worth it is kept for the client to go on with. */
const onClose = (server: Server): void => {
  const { incoming, lease } = server
  lease.connections.delete(server.peer)
  server.incoming = undefined
  for (const { sending } of server.serving.values()) sending.isStopped = true
  server.serving.clear()
  if (incoming === undefined || incoming === "unwanted") return
  const { admission, header, sink } = incoming
  forget(server, header.id)
  if (sink.received < partialBytes || lease.partials.size >= maxPartials) return void sink.discard()
  const { temporary } = admission
  lease.partials.set(header.id, { temporary, sizeBytes: header.sizeBytes, settled: sink.release() })
}

/** Serves a connection whose greeting was read; `rest` came behind it. Ends with the stream or the lease. */
export const serveConnection = (lease: BulkLease, stream: Duplex, rest: Uint8Array): BulkPeer.BulkPeer => {
  const server: Server = {
    lease,
    peer: undefined as unknown as BulkPeer.BulkPeer,
    incoming: undefined,
    finishing: 0,
    serving: new Map(),
    turn: Promise.resolve()
  }
  server.peer = BulkPeer.make(BulkPeer.wireOf(stream), lease.window, () => ({
    onFrame: (type, payload) => onFrame(server, type, payload),
    onData: (bytes) => onData(server, bytes),
    onClose: () => onClose(server)
  }))
  lease.connections.add(server.peer)
  BulkPeer.feed(server.peer, rest)
  return server.peer
}

/** Says in a sentence why a connection is not served, and ends it. */
export const refuse = (stream: Duplex, reason: string): void => {
  const text = Buffer.from(reason)
  const frame = Buffer.allocUnsafe(BulkFrames.headerBytes)
  frame[0] = BulkFrames.Frame.refused
  frame.writeUInt32LE(text.length, 1)
  stream.on("error", () => {})
  stream.end(Buffer.concat([frame, text]))
}
