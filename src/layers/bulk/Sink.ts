/**
 * Content on its way in: into memory, or into a temporary file of the receiver's
 * own. Hashed while it comes; whoever sends faster than the disk writes is held up.
 */
import { createHash, type Hash } from "node:crypto"
import * as fs from "node:fs"
import { promisify } from "node:util"

const writev = promisify(fs.writev)
const closeFile = promisify(fs.close)
const sync = promisify(fs.fdatasync)

/** Bytes that wait for the disk before the sender is held up, and after which it may go on. */
const highBytes = 8 * 1024 * 1024
const lowBytes = 4 * 1024 * 1024

/** Bytes written at once. */
const writeBytes = 2 * 1024 * 1024

/** Takes content; a file's errors come at the end. */
export interface Sink {
  /** Bytes that came, with those that were there before. */
  received: number
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
  waiting: Array<Uint8Array>
  waitingBytes: number
  isPaused: boolean
  failure: Error | undefined
  writing: Promise<void> | undefined
}

const drain = async (sink: FileSink, fd: number, flow: Flow): Promise<void> => {
  while (sink.waiting.length > 0 && sink.failure === undefined) {
    let count = 0
    let size = 0
    while (count < sink.waiting.length && (count === 0 || size + sink.waiting[count]!.length <= writeBytes)) {
      size += sink.waiting[count++]!.length
    }
    const parts = sink.waiting.splice(0, count)
    try {
      await writeAll(fd, parts, size)
    } catch (error) {
      sink.failure = error as Error
      sink.waiting = []
    }
    sink.waitingBytes -= size
    if (sink.isPaused && (sink.waitingBytes < lowBytes || sink.failure !== undefined)) {
      sink.isPaused = false
      flow.resume()
    }
  }
  sink.writing = undefined
}

const writeAll = async (fd: number, parts: Array<Uint8Array>, size: number): Promise<void> => {
  let { bytesWritten } = await writev(fd, parts)
  // A disk that is nearly full takes a part, and says no the next time.
  while (bytesWritten < size) {
    const rest = Buffer.concat(parts).subarray(bytesWritten)
    bytesWritten += (await writev(fd, [rest])).bytesWritten
  }
}

/** Into a file that is open for writing, at its end; `hash` has what it holds already. */
const toFile = (fd: number, path: string, hash: Hash, received: number, flow: Flow, isSynced = false): Sink => {
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
    waiting: [],
    waitingBytes: 0,
    isPaused: false,
    failure: undefined,
    writing: undefined,
    write: (part) => {
      hash.update(part)
      sink.received += part.length
      if (sink.failure !== undefined) return
      sink.waiting.push(part)
      sink.waitingBytes += part.length
      if (!sink.isPaused && sink.waitingBytes > highBytes) {
        sink.isPaused = true
        flow.pause()
      }
      sink.writing ??= Promise.resolve().then(() => drain(sink, fd, flow))
    },
    finish: async () => {
      await sink.writing
      // Waits for the disk, which a file in memory costs nothing.
      if (isSynced && sink.failure === undefined) await sync(fd).catch(keepFailure)
      await settle()
      if (sink.failure !== undefined) throw sink.failure
      return { sha256: hash.digest(), bytes: nothing }
    },
    release: () => settle().catch(() => {}),
    discard: async () => {
      sink.waiting = []
      await settle().catch(() => {})
      await fs.promises.rm(path, { force: true })
    }
  }
  return sink
}

/** Into a new file, which nobody else can read yet; with `isSynced` it is on the disk itself when it is finished. */
export const toNewFile = (path: string, flow: Flow, isSynced = false): Sink => {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
  // At once, so that there is something to take what comes right behind the announcement.
  const fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | (O_NOFOLLOW ?? 0), 0o600)
  return toFile(fd, path, createHash("sha256"), 0, flow, isSynced)
}

/** Into a file that has a first part already, which is hashed again: nothing is trusted. */
export const toPartialFile = async (path: string, flow: Flow): Promise<Sink> => {
  const { O_NOFOLLOW, O_RDWR } = fs.constants
  const fd = await promisify(fs.open)(path, O_RDWR | (O_NOFOLLOW ?? 0))
  const hash = createHash("sha256")
  const buffer = Buffer.allocUnsafe(512 * 1024)
  let received = 0
  for (;;) {
    // Reading moves the position along, so that what comes is written behind.
    const { bytesRead } = await promisify(fs.read)(fd, buffer, 0, buffer.length, null)
    if (bytesRead === 0) return toFile(fd, path, hash, received, flow)
    hash.update(buffer.subarray(0, bytesRead))
    received += bytesRead
  }
}
