/**
 * What a durable recover file says of single jobs, beside the entries of `RecoverFile.ts`: a record for each, with the
 * computation by a short number of its own (`Computation.index`). Little-endian.
 *
 * ```
 * Job       u32 index | u32 number | u16 flags | u32 timeoutMillis | u32 bytes of details | details (JSON) … | arguments …
 * Sent      u32 index | f64 millis | u8 bytes of address | address … | ranges …      before they are sent to a node
 * Returned  u32 index | ranges …                                      their node had not started them: they wait again
 * Replies   u32 index | u8 bytes of address | address … | reply entries …       before the node may forget them
 * Noted     u32 index | ranges …                                      the program has their outcome
 * ranges    (u32 first | u32 last) …
 * ```
 * So a job is `Job [Sent [Returned]]… [Replies] [Noted]`, and whoever reads the file knows what each still needs.
 */
import { Option, Schema } from "effect"
import * as AsciiJson from "../journal/AsciiJson.ts"
import * as RecordWriter from "../journal/RecordWriter.ts"
import { failureTags } from "../scheduler/Retry.ts"
import { countReplies, entrySize, noBytes, Outcome, readReply, type ReplyFields, viewOf } from "../wire/Entries.ts"
import * as NumberRanges from "./NumberRanges.ts"

/** Kinds of records; 1 is that of `RecoverFile.ts`. */
export const Kind = { job: 2, sent: 3, returned: 4, replies: 5, noted: 6 } as const

const kinds: ReadonlySet<number> = new Set(Object.values(Kind))

/** Whether records of this kind are of jobs. */
export const isKind = (kind: number): boolean => kinds.has(kind)

/** What most jobs have nothing of. */
export const JobDetails = Schema.Struct({
  /** The user's id, encoded, as base64. */
  id: Schema.optionalKey(Schema.String),
  /** Address of the only node where it may run. */
  pinnedTo: Schema.optionalKey(Schema.String),
  /** Large arguments: the file in the directory beside the recover file that has them, and its size. */
  held: Schema.optionalKey(Schema.Struct({ name: Schema.String, sizeBytes: Schema.Number })),
  /** What it takes along: paths and modules, and the directory that paths were relative to. */
  takes: Schema.optionalKey(Schema.Struct({
    directory: Schema.String,
    paths: Schema.Array(Schema.String),
    modules: Schema.Array(Schema.Struct({ name: Schema.String, module: Schema.String })),
    maxFileBytes: Schema.Number
  })),
  /** Memory that it may use. */
  memoryKiB: Schema.optionalKey(Schema.Number),
  /** Its retries and further timeouts. */
  terms: Schema.optionalKey(Schema.Struct({
    retry: Schema.UndefinedOr(Schema.Struct({
      times: Schema.Number,
      delayMillis: Schema.Number,
      factor: Schema.Number,
      maxDelayMillis: Schema.Number,
      on: Schema.Array(Schema.Literals(failureTags))
    })),
    queueMillis: Schema.Number,
    totalMillis: Schema.Number
  }))
})

/** What most jobs have nothing of. */
export type JobDetails = typeof JobDetails.Type

/** What is written of a job. */
export interface JobFields {
  readonly number: number
  readonly flags: number
  readonly timeoutMillis: number
  /** Undefined for none. */
  readonly details: JobDetails | undefined
  /** Encoded; empty where they are in a file. */
  readonly args: Uint8Array
}

/** A node that a job was sent to. */
export interface Sending {
  /** Its address. */
  readonly node: string
  /** When, in milliseconds since 1970 by the client's clock. */
  readonly millis: number
}

/** What a node replied, before the program had it. */
export interface QueuedReply {
  readonly node: string
  readonly reply: ReplyFields
}

/** A job that the program did not have the outcome of. */
export interface QueuedJob extends JobFields {
  /** In order. */
  readonly sent: Array<Sending>
  /** Whether a node may have it: it was sent, and not given back. */
  isOut: boolean
  readonly replies: Array<QueuedReply>
}

/** The jobs of a computation. */
export interface JobQueue {
  /** By number, those that are not noted. */
  readonly jobs: Map<number, QueuedJob>
  /** Those that the program has the outcome of. */
  readonly noted: NumberRanges.NumberRanges
}

/** Numbers as ranges, in their order. */
const rangesOf = (numbers: ReadonlyArray<number>): ReadonlyArray<number> => {
  const bounds: Array<number> = []
  for (const number of numbers) {
    if (bounds.length > 0 && bounds.at(-1) === number - 1) bounds[bounds.length - 1] = number
    else bounds.push(number, number)
  }
  return bounds
}

const writeRanges = (view: DataView, offset: number, bounds: ReadonlyArray<number>): void => {
  for (let i = 0; i < bounds.length; i++) view.setUint32(offset + 4 * i, bounds[i]!, true)
}

const writeAscii = (bytes: Uint8Array, offset: number, text: string): void => {
  for (let i = 0; i < text.length; i++) bytes[offset + i] = text.charCodeAt(i)
}

/** Addresses are host names and numbers. */
const shortened = (address: string): string => address.slice(0, 255)

const jobHeaderBytes = 18

/** Bytes of a job's record, about. */
export const jobSize = ({ args, details }: JobFields): number =>
  jobHeaderBytes + 16 + args.length + (details === undefined ? 0 : JSON.stringify(details).length)

/** Writes a job. */
export const writeJob = (writer: RecordWriter.RecordWriter, index: number, job: JobFields): void => {
  const details = job.details === undefined ? noBytes : AsciiJson.encode(JSON.stringify(job.details))
  const start = RecordWriter.begin(writer, Kind.job, jobHeaderBytes + details.length + job.args.length)
  const { bytes, view } = writer
  view.setUint32(start, index, true)
  view.setUint32(start + 4, job.number, true)
  view.setUint16(start + 8, job.flags, true)
  view.setUint32(start + 10, job.timeoutMillis, true)
  view.setUint32(start + 14, details.length, true)
  bytes.set(details, start + jobHeaderBytes)
  bytes.set(job.args, start + jobHeaderBytes + details.length)
  RecordWriter.end(writer)
}

/** Writes that these jobs are about to be sent to a node. */
export const writeSent = (
  writer: RecordWriter.RecordWriter,
  index: number,
  { millis, node }: Sending,
  numbers: ReadonlyArray<number>
): void => {
  const address = shortened(node)
  const bounds = rangesOf(numbers)
  const start = RecordWriter.begin(writer, Kind.sent, 13 + address.length + 4 * bounds.length)
  const { bytes, view } = writer
  view.setUint32(start, index, true)
  view.setFloat64(start + 4, millis, true)
  view.setUint8(start + 12, address.length)
  writeAscii(bytes, start + 13, address)
  writeRanges(view, start + 13 + address.length, bounds)
  RecordWriter.end(writer)
}

const writeNumbers = (
  writer: RecordWriter.RecordWriter,
  kind: number,
  index: number,
  bounds: ReadonlyArray<number>
): void => {
  const start = RecordWriter.begin(writer, kind, 4 + 4 * bounds.length)
  writer.view.setUint32(start, index, true)
  writeRanges(writer.view, start + 4, bounds)
  RecordWriter.end(writer)
}

/** Writes that these jobs wait again. */
export const writeReturned = (
  writer: RecordWriter.RecordWriter,
  index: number,
  numbers: ReadonlyArray<number>
): void => writeNumbers(writer, Kind.returned, index, rangesOf(numbers))

/** Writes that the program has the outcome of these jobs. */
export const writeNoted = (
  writer: RecordWriter.RecordWriter,
  index: number,
  numbers: ReadonlyArray<number>
): void => writeNumbers(writer, Kind.noted, index, rangesOf(numbers))

/** Writes what a node replied, as it came. */
export const writeReplies = (
  writer: RecordWriter.RecordWriter,
  index: number,
  node: string,
  batch: Uint8Array
): void => {
  const address = shortened(node)
  const start = RecordWriter.begin(writer, Kind.replies, 5 + address.length + batch.length)
  const { bytes, view } = writer
  view.setUint32(start, index, true)
  view.setUint8(start + 4, address.length)
  writeAscii(bytes, start + 5, address)
  bytes.set(batch, start + 5 + address.length)
  RecordWriter.end(writer)
}

/** Writes all that is known of these jobs. */
export const writeQueue = (
  writer: RecordWriter.RecordWriter,
  index: number,
  { jobs, noted }: JobQueue,
  encodeReply: (reply: ReplyFields) => Uint8Array
): void => {
  writeNumbers(writer, Kind.noted, index, noted.bounds)
  for (const job of jobs.values()) {
    writeJob(writer, index, job)
    for (const sending of job.sent) writeSent(writer, index, sending, [job.number])
    if (job.sent.length > 0 && !job.isOut) writeReturned(writer, index, [job.number])
    for (const { node, reply } of job.replies) writeReplies(writer, index, node, encodeReply(reply))
  }
}

/** The computation that a record is of; undefined for a malformed one. */
export const indexOf = (payload: Uint8Array): number | undefined =>
  payload.length < 4 ? undefined : viewOf(payload).getUint32(0, true)

const decodeDetails = Schema.decodeOption(Schema.fromJsonString(JobDetails))

const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes)

const readJob = (queue: JobQueue, payload: Uint8Array, view: DataView): boolean => {
  if (payload.length < jobHeaderBytes) return false
  const number = view.getUint32(4, true)
  const end = jobHeaderBytes + view.getUint32(14, true)
  if (end > payload.length) return false
  const details = end === jobHeaderBytes
    ? Option.some(undefined)
    : decodeDetails(AsciiJson.decode(payload.subarray(jobHeaderBytes, end)))
  if (Option.isNone(details)) return false
  if (NumberRanges.has(queue.noted, number)) return true
  queue.jobs.set(number, {
    number,
    flags: view.getUint16(8, true),
    timeoutMillis: view.getUint32(10, true),
    details: details.value,
    args: payload.subarray(end),
    sent: [],
    isOut: false,
    replies: []
  })
  return true
}

/** Calls back for every number of the ranges at the end of a record. */
const eachOf = (payload: Uint8Array, view: DataView, offset: number, each: (number: number) => void): boolean => {
  if (offset > payload.length || (payload.length - offset) % 8 !== 0) return false
  for (let at = offset; at < payload.length; at += 8) {
    const last = view.getUint32(at + 4, true)
    for (let number = view.getUint32(at, true); number <= last; number++) each(number)
  }
  return true
}

const readNoted = (queue: JobQueue, payload: Uint8Array, view: DataView): boolean => {
  if (payload.length % 8 !== 4) return false
  for (let at = 4; at < payload.length; at += 8) {
    const [first, last] = [view.getUint32(at, true), view.getUint32(at + 4, true)]
    NumberRanges.add(queue.noted, first, last)
    if (last - first < queue.jobs.size) { for (let number = first; number <= last; number++) queue.jobs.delete(number) }
    else for (const number of queue.jobs.keys()) if (number >= first && number <= last) queue.jobs.delete(number)
  }
  return true
}

const readReplies = (queue: JobQueue, payload: Uint8Array, view: DataView): boolean => {
  const start = payload.length < 5 ? payload.length + 1 : 5 + view.getUint8(4)
  if (start > payload.length) return false
  const node = textOf(payload.subarray(5, start))
  const batch = payload.subarray(start)
  if (countReplies(batch) < 0) return false
  const entries = viewOf(batch)
  for (let offset = 0; offset < batch.length; offset += entrySize(entries, offset)) {
    const reply = readReply(batch, entries, offset)
    if (reply.outcome === Outcome.returned || reply.outcome === Outcome.provisional) continue
    queue.jobs.get(reply.jobId)?.replies.push({ node, reply })
  }
  return true
}

const readSent = (queue: JobQueue, payload: Uint8Array, view: DataView): boolean => {
  if (payload.length < 13) return false
  const start = 13 + view.getUint8(12)
  const sending = { millis: view.getFloat64(4, true), node: textOf(payload.subarray(13, start)) }
  return eachOf(payload, view, start, (number) => {
    const job = queue.jobs.get(number)
    if (job === undefined) return
    job.sent.push(sending)
    job.isOut = true
    // It is tried again: what came of it before was not the end.
    job.replies.length = 0
  })
}

const readReturned = (queue: JobQueue, payload: Uint8Array, view: DataView): boolean =>
  eachOf(payload, view, 4, (number) => {
    const job = queue.jobs.get(number)
    if (job !== undefined) job.isOut = false
  })

/** Takes in a record of the computation; false for a malformed one. Arguments and replies are views of it. */
export const read = (queue: JobQueue, kind: number, payload: Uint8Array): boolean => {
  const view = viewOf(payload)
  switch (kind) {
    case Kind.job:
      return readJob(queue, payload, view)
    case Kind.sent:
      return readSent(queue, payload, view)
    case Kind.returned:
      return readReturned(queue, payload, view)
    case Kind.replies:
      return readReplies(queue, payload, view)
    case Kind.noted:
      return readNoted(queue, payload, view)
    default:
      return false
  }
}
