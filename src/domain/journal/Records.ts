/**
 * The layout of files that are only appended to: what they hold survives a crash of whoever writes them. Every record
 * is found and checked by itself, so a torn end and a damaged part cost the records that they touch and no others. Between
 * records there may be zeros: room that was made for others before they were there.
 *
 * ```
 * record   u32 mark | u32 payload bytes | u8 kind | payload … | u32 CRC-32 of size, kind and payload
 * ```
 * Little-endian.
 */
import { concat } from "../wire/Bytes.ts"
import { viewOf } from "../wire/Entries.ts"
import { crc32 } from "./Crc32.ts"

/** "dspy", the first bytes of every record. */
export const mark = 0x79_70_73_64
const markBytes = new Uint8Array([0x64, 0x73, 0x70, 0x79])

/** Bytes before a payload. */
export const headerBytes = 9

/** Bytes behind it. */
export const checkBytes = 4

/** What is written in one piece. */
export interface JournalRecord {
  /** Below 256; its meaning is the file's. */
  readonly kind: number
  readonly payload: Uint8Array
}

/** A part of a file that holds no record. */
export interface Damage {
  readonly from: number
  readonly to: number
}

/** What a file holds. */
export interface Contents {
  readonly records: ReadonlyArray<JournalRecord>
  /** Bytes at the end that are the beginning of a record: its writer was stopped. 0 for none. */
  readonly tornBytes: number
  /** Where whole records were, and are not any more. */
  readonly damaged: ReadonlyArray<Damage>
  /** Zeros at the end. */
  readonly zeroBytes: number
}

/** The bytes of a record. */
export const encode = ({ kind, payload }: JournalRecord): Uint8Array => {
  const header = new Uint8Array(headerBytes)
  const view = viewOf(header)
  view.setUint32(0, mark, true)
  view.setUint32(4, payload.length, true)
  view.setUint8(8, kind)
  const check = new Uint8Array(checkBytes)
  viewOf(check).setUint32(0, crc32(payload, crc32(header.subarray(4))), true)
  return concat([header, payload, check])
}

type Found =
  | { readonly _tag: "Record"; readonly record: JournalRecord; readonly end: number }
  | { readonly _tag: "Incomplete" }
  | { readonly _tag: "Damaged" }

const at = (bytes: Uint8Array, view: DataView, offset: number): Found => {
  if (bytes.length - offset < headerBytes) {
    const isBeginning = markBytes.every((byte, i) => offset + i >= bytes.length || bytes[offset + i] === byte)
    return { _tag: isBeginning ? "Incomplete" : "Damaged" }
  }
  if (view.getUint32(offset, true) !== mark) return { _tag: "Damaged" }
  const start = offset + headerBytes
  const end = start + view.getUint32(offset + 4, true) + checkBytes
  if (end > bytes.length) return { _tag: "Incomplete" }
  const checked = bytes.subarray(offset + 4, end - checkBytes)
  if (crc32(checked) !== view.getUint32(end - checkBytes, true)) return { _tag: "Damaged" }
  const record = { kind: view.getUint8(offset + 8), payload: bytes.subarray(start, end - checkBytes) }
  return { _tag: "Record", record, end }
}

/** The next place behind `offset` where a whole record is; the end where there is none. */
const nextRecord = (bytes: Uint8Array, view: DataView, offset: number): number => {
  for (
    let place = bytes.indexOf(markBytes[0]!, offset + 1);
    place >= 0;
    place = bytes.indexOf(markBytes[0]!, place + 1)
  ) {
    if (at(bytes, view, place)._tag === "Record") return place
  }
  return bytes.length
}

/** What the first part of a file holds. */
export interface Portion {
  readonly records: ReadonlyArray<JournalRecord>
  /** Bytes that were read; what follows is to be read again with more behind it. */
  readonly used: number
  readonly damaged: ReadonlyArray<Damage>
}

/** Reads as many whole records as there are, from a part of a file that begins with one; `isEnd` when nothing follows. */
export const readSome = (bytes: Uint8Array, isEnd: boolean): Portion => {
  const view = viewOf(bytes)
  const records: Array<JournalRecord> = []
  const damaged: Array<Damage> = []
  let offset = 0
  while (offset < bytes.length) {
    if (bytes[offset] === 0) {
      offset++
      continue
    }
    const found = at(bytes, view, offset)
    if (found._tag === "Record") {
      records.push(found.record)
      offset = found.end
      continue
    }
    if (found._tag === "Incomplete" && !isEnd) break
    const next = nextRecord(bytes, view, offset)
    // Whether a beginning is torn or damaged, what follows decides.
    if (next === bytes.length && (found._tag === "Incomplete" || !isEnd)) break
    damaged.push({ from: offset, to: next })
    offset = next
  }
  return { records, used: offset, damaged }
}

/** Reads a file; its payloads are views of `bytes`. */
export const read = (bytes: Uint8Array): Contents => {
  const { damaged, records, used } = readSome(bytes, true)
  let end = used
  while (end > 0 && used === bytes.length && bytes[end - 1] === 0) end--
  // A record may end with zeros of its own.
  const last = records.at(-1)?.payload
  const lastEnd = last === undefined ? 0 : last.byteOffset - bytes.byteOffset + last.length + checkBytes
  return {
    records,
    tornBytes: bytes.length - used,
    damaged,
    zeroBytes: used === bytes.length ? used - Math.max(end, lastEnd) : 0
  }
}
