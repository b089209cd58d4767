/**
 * A file of records that is written in place: a write that fails is done again where it began, so no torn record stays.
 * Room for what must not fail later is made before it is needed, as zeros that the records then replace. Writes are
 * synchronous: what the kernel has survives the process.
 */
import * as fs from "node:fs"
import * as RecordWriter from "../../domain/journal/RecordWriter.ts"

/** A file that is written. */
export interface RecordFile {
  file: string
  descriptor: number
  /** Where the next record goes. */
  end: number
  /** Bytes that the file has, zeros at the end included. */
  size: number
  /** Records that are not in the file yet. */
  readonly pending: RecordWriter.RecordWriter
}

/** Memory that is kept for records. */
const capacity = 64 * 1024

/** Room that is made at a time: as much as there is, within these bounds. */
const [leastRoom, mostRoom] = [64 * 1024, 1024 * 1024]

const zeros = new Uint8Array(leastRoom)

/** Mode of the file: it has the key to the results. */
const mode = 0o600

/** A file that was not there. */
export const create = (file: string): RecordFile => {
  const descriptor = fs.openSync(file, "wx+", mode)
  // The mask of the process may have taken bits away.
  fs.fchmodSync(descriptor, mode)
  return { file, descriptor, end: 0, size: 0, pending: RecordWriter.make(capacity) }
}

/** A file that is there, of which so many bytes are in use; what comes after them goes. */
export const reopen = (file: string, usedBytes: number): RecordFile => {
  const descriptor = fs.openSync(file, "r+")
  fs.ftruncateSync(descriptor, usedBytes)
  return { file, descriptor, end: usedBytes, size: usedBytes, pending: RecordWriter.make(capacity) }
}

const writeAt = (descriptor: number, bytes: Uint8Array, position: number): void => {
  for (let at = 0; at < bytes.length;) at += fs.writeSync(descriptor, bytes, at, bytes.length - at, position + at)
}

/** Writes what is pending; throws when that is not possible, and can be called again. */
export const flush = (self: RecordFile): void => {
  const bytes = RecordWriter.written(self.pending)
  if (bytes.length === 0) return
  try {
    writeAt(self.descriptor, bytes, self.end)
  } catch (error) {
    cut(self)
    throw error
  }
  self.end += bytes.length
  self.size = Math.max(self.size, self.end)
  RecordWriter.clear(self.pending, 4 * capacity)
}

/** Takes the part of a record away that did fit, and the room behind it. */
const cut = (self: RecordFile): void => {
  try {
    fs.ftruncateSync(self.descriptor, self.end)
    self.size = self.end
  } catch {
    // On a read-only disk it stays; readers skip it, and the next write goes over it.
  }
}

/** Has room for so many bytes more than what is pending, so that writing them cannot fail for want of it; or throws. */
export const reserve = (self: RecordFile, bytes: number): void => {
  const needed = self.end + self.pending.size + bytes - self.size
  if (needed <= 0) return
  const wanted = Math.max(needed, Math.min(mostRoom, Math.max(leastRoom, self.size)))
  try {
    extend(self, wanted)
  } catch (error) {
    // Perhaps there is no room for all that, and enough for this.
    if (self.end + self.pending.size + bytes > self.size) throw error
  }
}

const extend = (self: RecordFile, bytes: number): void => {
  const target = self.size + bytes
  while (self.size < target) {
    const length = Math.min(zeros.length, target - self.size)
    self.size += fs.writeSync(self.descriptor, zeros, 0, length, self.size)
  }
}

/** Writes a file anew under the same name, in one step: there is the old one or the new one at any time. */
export const replace = (self: RecordFile, bytes: Uint8Array): void => {
  const partial = `${self.file}.new`
  fs.rmSync(partial, { force: true })
  const descriptor = fs.openSync(partial, "wx+", mode)
  try {
    fs.fchmodSync(descriptor, mode)
    writeAt(descriptor, bytes, 0)
    fs.fdatasyncSync(descriptor)
    fs.renameSync(partial, self.file)
  } catch (error) {
    fs.closeSync(descriptor)
    fs.rmSync(partial, { force: true })
    throw error
  }
  fs.closeSync(self.descriptor)
  self.descriptor = descriptor
  self.end = bytes.length
  self.size = bytes.length
}

/** All that was written so far. */
export const content = (self: RecordFile): Uint8Array => {
  const bytes = new Uint8Array(self.end)
  for (let at = 0; at < bytes.length;) {
    const read = fs.readSync(self.descriptor, bytes, at, bytes.length - at, at)
    if (read === 0) break
    at += read
  }
  return bytes
}

/** Closes the file. */
export const close = (self: RecordFile): void => fs.closeSync(self.descriptor)
