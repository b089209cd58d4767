/**
 * Reads what a node keeps of a client that is gone, a few megabytes at a time: from the file of a lease whose jobs may
 * still run, or of one whose writer has ended or was killed. Damage costs the records that it touches: the jobs whose
 * replies were in there are told as lost.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Records from "../../domain/journal/Records.ts"
import * as KeptRecords from "../../domain/node/KeptRecords.ts"
import type { KeptEvent } from "../../domain/NodeRpcs.ts"
import * as Spool from "./Spool.ts"

/** How far somebody has read. */
export interface SpoolReader {
  readonly kept: KeptRecords.Kept
  readonly directory: string
  /** Absent for a file that nobody writes any more. */
  readonly spool: Spool.Spool | undefined
  offset: number
  isDamaged: boolean
  isDone: boolean
}

/** Bytes that are read at once, when no record is longer. */
const readBytes = 4 * 1024 * 1024

/** The first records tell whose file it is. */
const headBytes = 4096

/** Begins to read. */
export const make = (leaseId: string, directory: string, spool?: Spool.Spool): SpoolReader => ({
  kept: KeptRecords.make(leaseId),
  directory,
  spool,
  offset: 0,
  isDamaged: false,
  isDone: false
})

const readAt = (
  directory: string,
  offset: number,
  most: number
): { readonly bytes: Uint8Array; readonly size: number } => {
  const fd = fs.openSync(path.join(directory, Spool.repliesName), "r")
  try {
    const { size } = fs.fstatSync(fd)
    const bytes = new Uint8Array(Math.max(0, Math.min(most, size - offset)))
    let done = 0
    while (done < bytes.length) {
      const count = fs.readSync(fd, bytes, done, bytes.length - done, offset + done)
      if (count === 0) break
      done += count
    }
    return { bytes: bytes.subarray(0, done), size }
  } finally {
    fs.closeSync(fd)
  }
}

/** Which process writes, or wrote, what is kept in a directory; undefined when that cannot be read. */
export const ownerOf = (directory: string): string | undefined => {
  try {
    return KeptRecords.ownerIn(Records.readSome(readAt(directory, 0, headBytes).bytes, false).records)
  } catch {
    return undefined
  }
}

/** The next records; none at the end of what is written. */
const read = (reader: SpoolReader): ReadonlyArray<Records.JournalRecord> => {
  const { directory, offset, spool } = reader
  for (let most = readBytes;; most *= 2) {
    const limit = spool === undefined ? most : Math.min(most, spool.written - offset)
    if (limit <= 0) return []
    const { bytes, size } = readAt(directory, offset, limit)
    const isEnd = offset + bytes.length >= (spool === undefined ? size : spool.written)
    const { damaged, records, used } = Records.readSome(bytes, isEnd)
    if (damaged.length > 0) reader.isDamaged = true
    reader.offset += used
    if (records.length > 0 || used > 0 || isEnd) return records
  }
}

/** Whether somebody may still write what was not read. */
const isFollowing = ({ kept, spool }: SpoolReader): boolean =>
  spool !== undefined && spool.gone === undefined && !spool.kept.isEnded && !kept.isEnded &&
  (Spool.jobs(spool) > 0 || !Spool.isWritten(spool))

/** What comes next: nothing when it is still to come, or when the reader is done. `killed` says why jobs are lost. */
export const next = (reader: SpoolReader, killed: string): ReadonlyArray<KeptEvent> => {
  try {
    while (!reader.isDone) {
      const before = reader.offset
      const events = read(reader).flatMap((record) => KeptRecords.take(reader.kept, record) ?? [])
      if (events.length > 0) return events
      if (reader.offset > before) continue
      if (isFollowing(reader)) return []
      reader.isDone = true
      if (reader.spool?.gone !== undefined) return []
      return KeptRecords.lostAtEnd(
        reader.kept,
        reader.isDamaged ? "the node's file of their results is damaged" : killed
      )
    }
  } catch {
    // It was removed meanwhile.
    reader.isDone = true
  }
  return []
}
