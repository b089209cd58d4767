/**
 * Content on its way out: a file or bytes in memory, read ahead by one piece,
 * hashed while it is sent. The window of the connection says how much goes at once.
 */
import { createHash, type Hash } from "node:crypto"
import * as fs from "node:fs"
import { promisify } from "node:util"
import { messageOf } from "../../domain/Thrown.ts"
import * as BulkFrames from "../../domain/transfer/BulkFrames.ts"
import type { Content } from "../../services/FileTransfer.ts"
import * as Buffers from "./Buffers.ts"
import * as BulkPeer from "./BulkPeer.ts"

const read = promisify(fs.read)

/** The content cannot be read, or is not what was announced. */
export class ContentError extends Error {
  override readonly name = "ContentError"
}

/** Bytes that the content has. */
export const sizeOf = (content: Content): number => content._tag === "Bytes" ? content.bytes.length : content.sizeBytes

interface Piece {
  readonly bytes: Uint8Array
  /** The same with room for a header before it; undefined where there is none. */
  readonly frame: Buffer | undefined
  readonly done: () => void
}

interface Reader {
  /** The next piece; undefined at the end. */
  readonly next: () => Promise<Piece | undefined>
  readonly close: () => Promise<void>
}

const { headerBytes } = BulkFrames
const nothing = (): void => {}

const bytesReader = (bytes: Uint8Array): Reader => {
  let at = 0
  return {
    next: () => {
      if (at >= bytes.length) return Promise.resolve(undefined)
      const piece = bytes.subarray(at, at + Buffers.bufferBytes)
      at += piece.length
      return Promise.resolve({ bytes: piece, frame: undefined, done: nothing })
    },
    close: () => Promise.resolve()
  }
}

const fileReader = async (path: string, sizeBytes: number): Promise<Reader> => {
  const { O_NONBLOCK, O_RDONLY } = fs.constants
  // A FIFO would otherwise have the open wait for a writer.
  const handle = await fs.promises.open(path, O_RDONLY | (O_NONBLOCK ?? 0))
  const stats = await handle.stat()
  if (!stats.isFile() || stats.size !== sizeBytes) {
    await handle.close()
    throw new ContentError(`${path} has changed: it had ${sizeBytes} bytes`)
  }
  let at = 0
  const readNext = async (): Promise<Piece | undefined> => {
    if (at >= sizeBytes) return undefined
    const buffer = Buffers.acquire()
    const wanted = Math.min(Buffers.bufferBytes - headerBytes, sizeBytes - at)
    const { bytesRead } = await read(handle.fd, buffer, headerBytes, wanted, at)
    if (bytesRead === 0) throw new ContentError(`${path} became shorter while it was sent`)
    at += bytesRead
    const frame = buffer.subarray(0, headerBytes + bytesRead)
    return { bytes: frame.subarray(headerBytes), frame, done: () => Buffers.release(buffer) }
  }
  let ahead: Promise<Piece | undefined> | undefined
  const readAhead = (): Promise<Piece | undefined> => {
    const piece = readNext()
    piece.catch(nothing)
    return piece
  }
  return {
    next: async () => {
      const piece = await (ahead ?? readAhead())
      ahead = piece === undefined ? undefined : readAhead()
      return piece
    },
    close: async () => {
      await ahead?.catch(nothing)
      await handle.close()
    }
  }
}

const openReader = (content: Content): Promise<Reader> =>
  content._tag === "Bytes" ? Promise.resolve(bytesReader(content.bytes)) : fileReader(content.path, content.sizeBytes)

/** What the sending of content can be told and tells. */
export interface Sending {
  /** Set when the other side wants no more of it. */
  isStopped: boolean
  /** Told what has gone out in all. */
  readonly onProgress: (sentBytes: number) => void
}

const sendPiece = async (peer: BulkPeer.BulkPeer, piece: Piece, sending: Sending, before: number): Promise<void> => {
  const { bytes, frame } = piece
  for (let at = 0; at < bytes.length;) {
    if (peer.closed !== undefined || sending.isStopped) {
      // A part that is on its way still needs the memory.
      if (at === 0) piece.done()
      return
    }
    // Frames that wait for the one before would be copied together by TLS; that is better for small contents only.
    const room = frame !== undefined && peer.stream.writableNeedDrain ? 0 : BulkPeer.room(peer)
    if (room === 0) {
      await BulkPeer.whenRoom(peer)
      continue
    }
    const part = bytes.subarray(at, at + room)
    const done = at + part.length === bytes.length ? piece.done : nothing
    if (at === 0 && frame !== undefined) BulkPeer.sendFrame(peer, frame.subarray(0, headerBytes + part.length), done)
    else BulkPeer.sendData(peer, part, done)
    at += part.length
    sending.onProgress(before + at)
  }
}

/** Hashes what the other side has already, and sends the rest. */
const sendAll = async (
  peer: BulkPeer.BulkPeer,
  reader: Reader,
  hash: Hash,
  offset: number,
  sending: Sending
): Promise<void> => {
  let at = 0
  for (let piece = await reader.next(); piece !== undefined; piece = await reader.next()) {
    hash.update(piece.bytes)
    const { bytes } = piece
    const skipped = Math.max(0, Math.min(bytes.length, offset - at))
    const rest = { bytes: bytes.subarray(skipped), frame: piece.frame?.subarray(skipped), done: piece.done }
    if (skipped === bytes.length) piece.done()
    else await sendPiece(peer, rest, sending, at + skipped)
    at += bytes.length
    if (peer.closed !== undefined || sending.isStopped) return
  }
}

/**
 * Sends content that was announced, from an offset on, and its hash. Rejects with what is wrong with the content, after
 * the other side was told.
 */
export const send = async (
  peer: BulkPeer.BulkPeer,
  content: Content,
  offset: number,
  sending: Sending
): Promise<void> => {
  let reader: Reader | undefined
  try {
    reader = await openReader(content)
    const hash = createHash("sha256")
    await sendAll(peer, reader, hash, offset, sending)
    if (sending.isStopped) BulkPeer.send(peer, BulkFrames.Frame.abort, Buffer.from("it is not wanted any more"))
    else BulkPeer.send(peer, BulkFrames.Frame.end, hash.digest())
  } catch (error) {
    BulkPeer.send(peer, BulkFrames.Frame.abort, Buffer.from(messageOf(error).slice(0, 1000)))
    throw error instanceof ContentError ? error : new ContentError(messageOf(error))
  } finally {
    await reader?.close().catch(nothing)
  }
}

/** The hash of a file, in hexadecimal. */
export const hashFile = async (path: string, sizeBytes: number): Promise<string> => {
  const reader = await fileReader(path, sizeBytes)
  const hash = createHash("sha256")
  try {
    for (let piece = await reader.next(); piece !== undefined; piece = await reader.next()) {
      hash.update(piece.bytes)
      piece.done()
    }
    return hash.digest("hex")
  } finally {
    await reader.close()
  }
}
