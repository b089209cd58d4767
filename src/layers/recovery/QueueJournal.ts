/**
 * The jobs of durable computations, as they go into a recover file: gathered in memory and written in one go, before
 * something is sent to a node and at the end of a turn of the event loop. Room for a job is made when it is taken; what
 * is said of it later fits into room that is kept free, or waits in memory until there is some.
 *
 * Large arguments lie in a directory beside the file, one file for each, until the job is noted. When most of the jobs
 * in the file are noted it is written anew without them.
 */
import { Result } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { JobNotWritten } from "../../domain/ClusterError.ts"
import * as RecordWriter from "../../domain/journal/RecordWriter.ts"
import * as JobEntries from "../../domain/recovery/JobEntries.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import type { HeldArguments } from "../../domain/scheduler/JobRecord.ts"
import { messageOf } from "../../domain/Thrown.ts"
import { noBytes } from "../../domain/wire/Entries.ts"
import type { JobJournal } from "../../services/RecoverLog.ts"
import * as RecordFile from "./RecordFile.ts"

/** What the journals of a recover file share. */
export interface Journals {
  /** The file; undefined while there is none. Throws where none can be made. */
  readonly open: () => RecordFile.RecordFile
  /** Name of the file, for messages. */
  readonly fileName: () => string
  /** Whether the disk is to confirm what was written before it counts. */
  readonly isSynced: boolean
  /** Told why nothing can be written, once until it can be again; and that it can. */
  readonly onFailure: (reason: string | undefined) => void
  opened: RecordFile.RecordFile | undefined
  isFailing: boolean
  isScheduled: boolean
  readonly heard: Array<Heard>
  /** Jobs that were written and that were noted since the file was written anew. */
  written: number
  noted: number
  /** Bytes from which on it is looked at whether to write the file anew. */
  compactFrom: number
}

/** A job whose user has its outcome. */
interface Heard {
  readonly index: number
  readonly number: number
  /** File with its arguments; "" for none. */
  readonly held: string
}

/** Arguments beyond this have a file of their own. */
export const largestBytes = 64 * 1024

/** Room for what is said of jobs later; jobs leave it free. */
const spareBytes = 64 * 1024

/** Pending bytes that are written at once. */
const batchBytes = 256 * 1024

/** Without room on the disk replies are not gathered beyond this: their results go to the program all the same. */
const mostPendingBytes = 4 * 1024 * 1024

/** A larger file could not be read. */
export const maxBytes = 1024 * 1024 * 1024

/** Smaller files stay as they are. */
const leastCompactBytes = 4 * 1024 * 1024

/** Of the jobs in the file, the part that must be noted before it is written anew. */
const compactShare = 0.75

/** Nothing written yet. */
export const make = (options: Pick<Journals, "open" | "fileName" | "isSynced" | "onFailure">): Journals => ({
  ...options,
  opened: undefined,
  isFailing: false,
  isScheduled: false,
  heard: [],
  written: 0,
  noted: 0,
  compactFrom: leastCompactBytes
})

/** Directory with the large arguments of a recover file. */
export const directoryOf = (file: string): string => `${file}.args`

const reasonOf = (error: unknown): string => {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOSPC":
      return "the disk is full"
    case "EDQUOT":
      return "the quota is used up"
    case "EROFS":
      return "the disk is read-only"
    default:
      return messageOf(error)
  }
}

const freeBytes = (file: string): number => {
  try {
    const { bavail, bsize } = fs.statfsSync(path.dirname(file))
    return bavail * bsize
  } catch {
    return -1
  }
}

const failed = (self: Journals, error: unknown): void => {
  if (self.isFailing) return
  self.isFailing = true
  self.onFailure(reasonOf(error))
}

/** Writes what is pending; false when that is not possible now. */
const write = (self: Journals): boolean => {
  const { opened } = self
  if (opened === undefined || opened.pending.size === 0) return true
  try {
    RecordFile.flush(opened)
    if (self.isSynced) fs.fdatasyncSync(opened.descriptor)
  } catch (error) {
    failed(self, error)
    return false
  }
  if (self.isFailing) self.onFailure(undefined)
  self.isFailing = false
  return true
}

/** Writes what is not written yet. */
export const flush = (self: Journals): void => {
  if (self.opened !== undefined && self.opened.pending.size > 0 && !write(self)) schedule(self)
}

/** Appends an entry; it is written now, or as soon as that is possible. */
export const append = (self: Journals, entry: RecoverFile.Entry): void => {
  if (self.opened === undefined) return
  RecordWriter.append(self.opened.pending, RecoverFile.kind, RecoverFile.payloadOf(entry))
  flush(self)
}

/** Nothing more is written. */
export const close = (self: Journals): void => {
  const { opened } = self
  if (opened === undefined) return
  write(self)
  self.opened = undefined
  RecordFile.close(opened)
}

/** Writes the file anew without the jobs that are noted, when they are most of it. */
const compact = (self: Journals, opened: RecordFile.RecordFile): void => {
  if (opened.end < self.compactFrom || self.noted < compactShare * self.written || !write(self)) return
  const rest = RecoverFile.compact(RecordFile.content(opened))
  self.compactFrom = Math.max(leastCompactBytes, 2 * opened.end)
  // What is damaged stays as it is: whoever recovers is to be told.
  if (rest === undefined) return
  try {
    RecordFile.replace(opened, rest)
  } catch {
    // There is no room for both; the file does as it is.
    return
  }
  self.written -= self.noted
  self.noted = 0
  self.compactFrom = Math.max(leastCompactBytes, 2 * opened.end)
}

/** How long it takes until what did not fit is tried again. */
const retryMillis = 1000

const schedule = (self: Journals): void => {
  if (self.isScheduled) return
  self.isScheduled = true
  if (self.isFailing) setTimeout(turn, retryMillis, self).unref()
  else setImmediate(turn, self)
}

/** Between two turns whoever awaits a result has had it. */
const turn = (self: Journals): void => {
  self.isScheduled = false
  const { opened } = self
  if (opened === undefined) return
  const byIndex = Map.groupBy(self.heard.splice(0), ({ index }) => index)
  for (const [index, heard] of byIndex) {
    JobEntries.writeNoted(opened.pending, index, heard.map(({ number }) => number))
    self.noted += heard.length
  }
  if (!write(self)) return schedule(self)
  for (const heard of byIndex.values()) {
    for (const { held } of heard) if (held !== "") fs.rm(held, { force: true }, () => {})
  }
  compact(self, opened)
}

const hold = (opened: RecordFile.RecordFile, index: number, job: JobEntries.JobFields): HeldArguments => {
  const directory = directoryOf(opened.file)
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
  const held = path.join(directory, `${index}-${job.number}`)
  try {
    fs.writeFileSync(held, job.args, { mode: 0o600 })
  } catch (error) {
    fs.rmSync(held, { force: true })
    throw error
  }
  return { path: held, sizeBytes: job.args.length }
}

const notWritten = (): Error => new Error("it could not be written a moment ago")

const put = (self: Journals, index: number, job: JobEntries.JobFields): HeldArguments | undefined => {
  const opened = self.opened ??= self.open()
  const isLarge = job.args.length > largestBytes
  const size = isLarge ? JobEntries.jobSize({ ...job, args: noBytes }) + 64 : JobEntries.jobSize(job)
  if (opened.end + opened.pending.size + size > maxBytes) {
    throw new Error(`it has ${maxBytes} bytes, the most that can be read again; wait until some of its jobs are done`)
  }
  if ((self.isFailing || opened.pending.size > batchBytes) && !write(self)) throw notWritten()
  RecordFile.reserve(opened, size + spareBytes)
  const held = isLarge ? hold(opened, index, job) : undefined
  const before = opened.pending.size
  JobEntries.writeJob(
    opened.pending,
    index,
    held === undefined ? job : {
      ...job,
      args: noBytes,
      details: { ...job.details, held: { name: path.basename(held.path), sizeBytes: held.sizeBytes } }
    }
  )
  if (!self.isSynced || write(self)) return held
  // What was refused must not be run by whoever reads the file.
  opened.pending.size = before
  if (held !== undefined) fs.rmSync(held.path, { force: true })
  throw notWritten()
}

/** Remembers the jobs of a computation. `nameOf` gives a node's name in the file, by its address. */
export const journal = (
  self: Journals,
  { index, name, nameOf }: { readonly index: number; readonly name: string; readonly nameOf: (node: string) => string }
): JobJournal => {
  /** Files with arguments, by job. */
  const held = new Map<number, string>()
  const say = (add: (pending: RecordWriter.RecordWriter) => void): void => {
    if (self.opened === undefined) return
    add(self.opened.pending)
    schedule(self)
  }
  return {
    accept: (job) => {
      try {
        const large = put(self, index, job)
        if (large !== undefined) held.set(job.number, large.path)
        self.written++
        schedule(self)
        return Result.succeed(large)
      } catch (error) {
        const file = self.fileName()
        return Result.fail(
          new JobNotWritten({ cluster: name, file, freeBytes: freeBytes(file), reason: reasonOf(error) })
        )
      }
    },
    sent: (node, numbers) =>
      say((pending) => JobEntries.writeSent(pending, index, { node: nameOf(node), millis: Date.now() }, numbers)),
    returned: (numbers) => say((pending) => JobEntries.writeReturned(pending, index, numbers)),
    replied: (node, batch) =>
      say((pending) => {
        if (!self.isFailing || pending.size + batch.length <= mostPendingBytes) {
          JobEntries.writeReplies(pending, index, nameOf(node), batch)
        }
      }),
    noted: (number) => {
      const file = held.get(number) ?? ""
      if (file !== "") held.delete(number)
      self.heard.push({ index, number, held: file })
      schedule(self)
    }
  }
}

/** Removes the large arguments of a recover file. */
export const removeArguments = (file: string): void => fs.rmSync(directoryOf(file), { recursive: true, force: true })
