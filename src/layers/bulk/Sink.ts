/**
 * Content on its way in: into memory, or into a temporary file of the receiver's
 * own. Hashed while it comes; whoever sends faster than the disk writes is held up.
 */
import { createHash, type Hash } from "node:crypto"
import * as fs from "node:fs"
import { promisify } from "node:util"
import * as Buffers from "./Buffers.ts"

const writeSome = promisify(fs.write)
const closeFile = promisify(fs.close)
const sync = promisify(fs.fdatasync)

/** Bytes that wait for the disk before the sender is held up, and after which it may go on. */
const highBytes = 8 * 1024 * 1024
const lowBytes = 4 * 1024 * 1024

/** Takes content; a file's errors come at the end. */
export interface Sink {
  /** Bytes that came, with those that were there before. */
  received: number
  /** The bytes may be used for others when it returns. */
  readonly write: (bytes: Uint8Array) => void
  /** All that came is where it belongs: the hash of it, and the bytes if they are kept in memory. */
  readonly finish: () => Promise<{ readonly sha256: Buffer; readonly bytes: Uint8Array }>
  /** Nothing more comes. What there is stays, for a later try. */
  readonly release: () => Promise<void>
  /** Nothing more comes, and what there is goes. */
  readonly discard: () => Promise<void>
}

const nothing = new Uint8Array(0)

/** Into memory. */
export const toMemory = (sizeBytes: number): Sink => {
  const bytes = Buffer.allocUnsafeSlow(sizeBytes)
  const hash = createHash("sha256")
  const sink: Sink = {
    received: 0,
    write: (part) => {
      hash.update(part)
      // What is too much was never announced: the size at the end says so.
      if (sink.received + part.length <= sizeBytes) bytes.set(part, sink.received)
      sink.received += part.length
    },
    finish: () => Promise.resolve({ sha256: hash.digest(), bytes }),
    release: () => Promise.resolve(),
    discard: () => Promise.resolve()
  }
  return sink
}

/** How to hold up the sender. */
export interface Flow {
  readonly pause: () => void
  readonly resume: () => void
}

interface FileSink extends Sink {
  /** What is collected before it is written, and how much of it is used. */
  filling: Buffer | undefined
  filled: number
  /** What is to be written. */
  waiting: Array<Buffer>
  waitingBytes: number
  isPaused: boolean
  failure: Error | undefined
  writing: Promise<void> | undefined
}

const drain = async (sink: FileSink, fd: number, flow: Flow): Promise<void> => {
  for (let bytes = sink.waiting.shift(); bytes !== undefined; bytes = sink.waiting.shift()) {
    try {
      if (sink.failure === undefined) await writeAll(fd, bytes)
    } catch (error) {
      sink.failure = error as Error
    }
    sink.waitingBytes -= bytes.length
    Buffers.release(bytes)
    if (sink.isPaused && (sink.waitingBytes < lowBytes || sink.failure !== undefined)) {
      sink.isPaused = false
      flow.resume()
    }
  }
  sink.writing = undefined
}

const writeAll = async (fd: number, bytes: Uint8Array): Promise<void> => {
  // A disk that is nearly full takes a part, and says no the next time.
  for (let at = 0; at < bytes.length;) at += (await writeSome(fd, bytes, at)).bytesWritten
}

/** Copies a part to what is written next: many small pieces that come are a few large ones on the disk. */
const collect = (sink: FileSink, part: Uint8Array, sizeBytes: number, flush: () => void): void => {
  for (let at = 0; at < part.length;) {
    const left = sizeBytes - sink.received
    sink.filling ??= left < Buffers.bufferBytes ? Buffer.allocUnsafe(Math.max(left, part.length)) : Buffers.acquire()
    const some = part.subarray(at, at + sink.filling.length - sink.filled)
    sink.filling.set(some, sink.filled)
    sink.filled += some.length
    at += some.length
    sink.received += some.length
    if (sink.filled === sink.filling.length) flush()
  }
}

/** A file that is open for writing, at its end. */
interface OpenFile {
  readonly fd: number
  readonly path: string
  /** Bytes that it holds already, and their hash. */
  readonly received: number
  readonly hash: Hash
}

/** Into a file; `sizeBytes` is what it is to have in the end. */
const toFile = ({ fd, hash, path, received }: OpenFile, sizeBytes: number, flow: Flow, isSynced = false): Sink => {
  const flush = (): void => {
    const { filled, filling } = sink
    sink.filling = undefined
    sink.filled = 0
    if (filling === undefined || sink.failure !== undefined) return
    sink.waiting.push(filled === filling.length ? filling : filling.subarray(0, filled))
    sink.waitingBytes += filled
    if (!sink.isPaused && sink.waitingBytes > highBytes) {
      sink.isPaused = true
      flow.pause()
    }
    sink.writing ??= Promise.resolve().then(() => drain(sink, fd, flow))
  }
  const settle = async (): Promise<void> => {
    await sink.writing
    if (sink.isPaused) {
      sink.isPaused = false
      flow.resume()
    }
    await closeFile(fd)
  }
  const keepFailure = (error: Error): void => {
    sink.failure = error
  }
  const sink: FileSink = {
    received,
    filling: undefined,
    filled: 0,
    waiting: [],
    waitingBytes: 0,
    isPaused: false,
    failure: undefined,
    writing: undefined,
    write: (part) => {
      hash.update(part)
      collect(sink, part, sizeBytes, flush)
    },
    finish: async () => {
      flush()
      await sink.writing
      // Waits for the disk, which a file in memory costs nothing.
      if (isSynced && sink.failure === undefined) await sync(fd).catch(keepFailure)
      await settle()
      if (sink.failure !== undefined) throw sink.failure
      return { sha256: hash.digest(), bytes: nothing }
    },
    release: () => {
      flush()
      return settle().catch(() => {})
    },
    discard: async () => {
      sink.waiting = []
      sink.filling = undefined
      await settle().catch(() => {})
      await fs.promises.rm(path, { force: true })
    }
  }
  return sink
}

/** Into a new file, which nobody else can read yet; with `isSynced` it is on the disk itself when it is finished. */
export const toNewFile = (path: string, sizeBytes: number, flow: Flow, isSynced = false): Sink => {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
  // At once, so that there is something to take what comes right behind the announcement.
  const fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | (O_NOFOLLOW ?? 0), 0o600)
  return toFile({ fd, path, received: 0, hash: createHash("sha256") }, sizeBytes, flow, isSynced)
}

/** Into a file that has a first part already, which is hashed again: nothing is trusted. */
export const toPartialFile = async (path: string, sizeBytes: number, flow: Flow): Promise<Sink> => {
  const { O_NOFOLLOW, O_RDWR } = fs.constants
  const fd = await promisify(fs.open)(path, O_RDWR | (O_NOFOLLOW ?? 0))
  const hash = createHash("sha256")
  const buffer = Buffers.acquire()
  let received = 0
  for (;;) {
    // Reading moves the position along, so that what comes is written behind.
    const { bytesRead } = await promisify(fs.read)(fd, buffer, 0, buffer.length, null)
    if (bytesRead === 0) {
      Buffers.release(buffer)
      return toFile({ fd, path, received, hash }, sizeBytes, flow)
    }
    hash.update(buffer.subarray(0, bytesRead))
    received += bytesRead
  }
}
