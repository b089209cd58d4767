/**
 * One end of a bulk connection over any duplex stream of bytes: frames out and in,
 * acknowledgements of data, and the window that bounds what is under way. Plain
 * code: it runs per piece of data, on both sides.
 */
import type { Duplex } from "node:stream"
import * as BulkFrames from "../../domain/transfer/BulkFrames.ts"
import * as Window from "../../domain/transfer/Window.ts"
import * as Bytes from "../../domain/wire/Bytes.ts"
import * as Buffers from "./Buffers.ts"

/** A window for all connections that share a way, and who waits for room in it. */
export interface SharedWindow {
  readonly window: Window.Window
  readonly waiters: Array<() => void>
}

/** A stream of bytes, and how they are told that come. */
export interface Wire {
  readonly stream: Duplex
  /** Has `take` called with all that comes from now on; the bytes may be used for others when it returns. */
  readonly listen: (take: (bytes: Uint8Array) => void) => void
}

/** Any stream whose pieces nobody else has: their memory is freed when they are taken. */
export const wireOf = (stream: Duplex): Wire => ({
  stream,
  listen: (take) =>
    stream.on("data", (bytes: Buffer<ArrayBuffer>) => {
      take(bytes)
      Buffers.discard(bytes)
    })
})

/** What the owner of an end does with what comes in. */
export interface PeerHandlers {
  /** A frame that is not data; its payload is valid during the call. False when it makes no sense: the connection is closed. */
  readonly onFrame: (type: number, payload: Uint8Array) => boolean
  /** Data, which is valid during the call. False when none was announced. */
  readonly onData: (bytes: Uint8Array) => boolean
  /** The connection is gone; called once. */
  readonly onClose: (reason: string) => void
}

/** One end of a connection. */
export interface BulkPeer {
  readonly stream: Duplex
  readonly shared: SharedWindow
  readonly handlers: PeerHandlers
  /** Data bytes ever sent, and of these acknowledged. */
  sent: number
  acknowledged: number
  /** Data bytes ever taken, and of these told. */
  taken: number
  told: number
  /** When the pieces that are not acknowledged were sent. */
  readonly records: Array<{ readonly end: number; readonly at: number }>
  firstRecord: number
  /** Why nothing more comes; undefined while it may. */
  closed: string | undefined
  /** Receivers that cannot take more at present. */
  holds: number
  isCorked: boolean
  isTelling: boolean
  /** Bytes of a header or of a control frame that are not complete. */
  partial: Uint8Array
  /** Bytes of data that the current frame still has. */
  dataLeft: number
}

const noBytes = new Uint8Array(0)

const now = (): number => performance.now()

/** A window that nobody uses yet. */
export const makeWindow = (): SharedWindow => ({ window: Window.make(now()), waiters: [] })

/** Takes over a stream. */
export const make = (
  { listen, stream }: Wire,
  shared: SharedWindow,
  handlers: (peer: BulkPeer) => PeerHandlers
): BulkPeer => {
  const peer: BulkPeer = {
    stream,
    shared,
    get handlers() {
      return own
    },
    sent: 0,
    acknowledged: 0,
    taken: 0,
    told: 0,
    records: [],
    firstRecord: 0,
    closed: undefined,
    holds: 0,
    isCorked: false,
    isTelling: false,
    partial: noBytes,
    dataLeft: 0
  }
  const own = handlers(peer)
  listen((bytes) => feed(peer, bytes))
  stream.on("drain", () => wake(shared))
  stream.on("error", (error) => close(peer, error.message))
  stream.on("end", () => close(peer, "the other side ended the connection"))
  stream.on("close", () => close(peer, "the connection was closed"))
  stream.resume()
  return peer
}

/** Ends the connection at once; whoever waits is told. */
export const close = (peer: BulkPeer, reason: string): void => {
  if (peer.closed !== undefined) return
  peer.closed = reason
  Window.forgotten(peer.shared.window, peer.sent - peer.acknowledged)
  peer.stream.destroy()
  wake(peer.shared)
  peer.handlers.onClose(reason)
}

const wake = (shared: SharedWindow): void => {
  for (const waiter of shared.waiters.splice(0)) waiter()
}

/** What is written in one turn goes out together. */
const cork = (peer: BulkPeer): void => {
  if (peer.isCorked) return
  peer.isCorked = true
  peer.stream.cork()
  process.nextTick(() => {
    peer.isCorked = false
    peer.stream.uncork()
  })
}

const putHeader = (frame: Buffer, type: number, size: number): void => {
  frame[0] = type
  frame.writeUInt32LE(size, 1)
}

const headerOf = (type: number, size: number): Buffer => {
  const header = Buffer.allocUnsafe(BulkFrames.headerBytes)
  putHeader(header, type, size)
  return header
}

/** Sends a frame that is not data. */
export const send = (peer: BulkPeer, type: number, payload: Uint8Array): void => {
  if (peer.closed !== undefined) return
  cork(peer)
  peer.stream.write(headerOf(type, payload.length))
  if (payload.length > 0) peer.stream.write(payload)
}

/** Sends a frame whose payload is JSON. */
export const sendJson = (peer: BulkPeer, type: number, value: object): void =>
  send(peer, type, Buffer.from(JSON.stringify(value)))

/** Bytes of data that may be sent now, in one piece; at least one once it is more than none. */
export const room = (peer: BulkPeer): number => {
  const { window } = peer.shared
  const free = Window.room(window)
  const piece = Window.pieceBytes(window)
  // Crumbs are not worth a frame: better wait until there is room for a piece.
  return free >= piece || window.inFlight === 0 ? Math.max(piece, 1) : 0
}

/** Resolves when there may be room, or the connection is gone. */
export const whenRoom = (peer: BulkPeer): Promise<void> =>
  new Promise((resolve) => {
    if (peer.closed !== undefined) resolve()
    else peer.shared.waiters.push(resolve)
  })

const count = (peer: BulkPeer, size: number): void => {
  peer.sent += size
  peer.records.push({ end: peer.sent, at: now() })
  Window.sent(peer.shared.window, size)
}

/** Sends a piece of data that has room for its header before it: in one write, which TLS need not copy together. */
export const sendFrame = (peer: BulkPeer, frame: Buffer, done: () => void): void => {
  if (peer.closed !== undefined) return done()
  const size = frame.length - BulkFrames.headerBytes
  count(peer, size)
  putHeader(frame, BulkFrames.Frame.data, size)
  cork(peer)
  peer.stream.write(frame, done)
}

/** Sends a piece of data, for which there is room. `done` is called when the bytes may be reused. */
export const sendData = (peer: BulkPeer, bytes: Uint8Array, done: () => void): void => {
  if (peer.closed !== undefined) return done()
  count(peer, bytes.length)
  cork(peer)
  peer.stream.write(headerOf(BulkFrames.Frame.data, bytes.length))
  peer.stream.write(bytes, done)
}

/** Stops reading until as many `resume`s have come. */
export const pause = (peer: BulkPeer): void => {
  if (peer.holds++ === 0) peer.stream.pause()
}

/** Takes back a `pause`. */
export const resume = (peer: BulkPeer): void => {
  if (--peer.holds === 0 && peer.closed === undefined) peer.stream.resume()
}

const onAcknowledge = (peer: BulkPeer, payload: Uint8Array): boolean => {
  if (payload.length !== 8) return false
  const total = new DataView(payload.buffer, payload.byteOffset, 8).getFloat64(0, true)
  if (!(total >= peer.acknowledged && total <= peer.sent)) return false
  const time = now()
  let delay: number | undefined
  const { records } = peer
  while (peer.firstRecord < records.length && records[peer.firstRecord]!.end <= total) {
    delay = time - records[peer.firstRecord++]!.at
  }
  if (peer.firstRecord > 1024 || peer.firstRecord === records.length) {
    records.splice(0, peer.firstRecord)
    peer.firstRecord = 0
  }
  Window.acknowledged(peer.shared.window, total - peer.acknowledged, delay, time)
  peer.acknowledged = total
  wake(peer.shared)
  return true
}

/** Tells what was taken, once per turn of the event loop. */
const tell = (peer: BulkPeer): void => {
  if (peer.isTelling) return
  peer.isTelling = true
  setImmediate(() => {
    peer.isTelling = false
    if (peer.closed !== undefined || peer.told === peer.taken) return
    peer.told = peer.taken
    const payload = Buffer.allocUnsafe(8)
    payload.writeDoubleLE(peer.taken)
    send(peer, BulkFrames.Frame.acknowledge, payload)
  })
}

const takeData = (peer: BulkPeer, bytes: Uint8Array): boolean => {
  peer.dataLeft -= bytes.length
  peer.taken += bytes.length
  tell(peer)
  return bytes.length === 0 || peer.handlers.onData(bytes)
}

/** Takes the frame at the start of `bytes`; returns its size, 0 when it is not complete, -1 when it is none. */
const takeFrame = (peer: BulkPeer, bytes: Uint8Array, offset: number): number => {
  const { Frame, headerBytes, maxControlBytes } = BulkFrames
  const have = bytes.length - offset
  if (have < headerBytes) return 0
  const type = bytes[offset]!
  const size = new DataView(bytes.buffer, bytes.byteOffset + offset + 1, 4).getUint32(0, true)
  if (type === Frame.data) {
    peer.dataLeft = size
    return headerBytes
  }
  if (size > maxControlBytes) return -1
  if (have < headerBytes + size) return 0
  const payload = bytes.subarray(offset + headerBytes, offset + headerBytes + size)
  const isGood = type === Frame.acknowledge ? onAcknowledge(peer, payload) : peer.handlers.onFrame(type, payload)
  return isGood ? headerBytes + size : -1
}

const parse = (peer: BulkPeer, bytes: Uint8Array): boolean => {
  let offset = 0
  while (offset < bytes.length && peer.closed === undefined) {
    if (peer.dataLeft > 0) {
      const end = Math.min(bytes.length, offset + peer.dataLeft)
      if (!takeData(peer, bytes.subarray(offset, end))) return false
      offset = end
      continue
    }
    const used = takeFrame(peer, bytes, offset)
    if (used < 0) return false
    if (used === 0) break
    offset += used
  }
  peer.partial = offset === bytes.length ? noBytes : Buffer.from(bytes.subarray(offset))
  return true
}

/** Takes bytes of the other side. */
export const feed = (peer: BulkPeer, bytes: Uint8Array): void => {
  if (peer.closed !== undefined) return
  const all = peer.partial.length === 0 ? bytes : Bytes.concat([peer.partial, bytes])
  if (!parse(peer, all)) close(peer, "the other side sent bytes that are no frames of a bulk connection")
}
