/** Writes records one behind another into memory that is used again, for files that get thousands of them a second. */
import { viewOf } from "../wire/Entries.ts"
import { crc32 } from "./Crc32.ts"
import { checkBytes, headerBytes, mark } from "./Records.ts"

/** Records that wait to be written. */
export interface RecordWriter {
  bytes: Uint8Array
  view: DataView
  /** Bytes of whole records. */
  size: number
}

/** None. */
export const make = (capacity: number): RecordWriter => {
  const bytes = new Uint8Array(capacity)
  return { bytes, view: viewOf(bytes), size: 0 }
}

/** Room for a record with a payload of so many bytes; where that begins. To be followed by `end`. */
export const begin = (self: RecordWriter, kind: number, payloadBytes: number): number => {
  const needed = self.size + headerBytes + payloadBytes + checkBytes
  if (needed > self.bytes.length) {
    const larger = new Uint8Array(Math.max(needed, 2 * self.bytes.length))
    larger.set(self.bytes.subarray(0, self.size))
    self.bytes = larger
    self.view = viewOf(larger)
  }
  self.view.setUint32(self.size, mark, true)
  self.view.setUint32(self.size + 4, payloadBytes, true)
  self.view.setUint8(self.size + 8, kind)
  return self.size + headerBytes
}

/** The payload is complete. */
export const end = (self: RecordWriter): void => {
  const check = self.size + headerBytes + self.view.getUint32(self.size + 4, true)
  self.view.setUint32(check, crc32(self.bytes.subarray(self.size + 4, check)), true)
  self.size = check + checkBytes
}

/** A record whose payload is there already. */
export const append = (self: RecordWriter, kind: number, payload: Uint8Array): void => {
  const start = begin(self, kind, payload.length)
  self.bytes.set(payload, start)
  end(self)
}

/** What was written; a view that is good until more is. */
export const written = ({ bytes, size }: RecordWriter): Uint8Array => bytes.subarray(0, size)

/** Begins anew; memory beyond `capacity` is given back. */
export const clear = (self: RecordWriter, capacity: number): void => {
  self.size = 0
  if (self.bytes.length <= capacity) return
  self.bytes = new Uint8Array(capacity)
  self.view = viewOf(self.bytes)
}
