/**
 * What a node still has to tell the client that holds it: replies that came in
 * since the client was last served, replies it has not acknowledged, and news of
 * the node itself, of which only the latest counts. Replies of a computation are
 * joined into batches when they are taken, so that a busy client gets large
 * messages and an idle one gets each reply at once. A value changed in place.
 */
import type { AvailInfo } from "../NodeInfo.ts"
import type { NodeEvent } from "../NodeRpcs.ts"
import { concat } from "../wire/Bytes.ts"
import { entrySize, viewOf } from "../wire/Entries.ts"
import * as ReplyLog from "./ReplyLog.ts"

/** Size at which a message is full; a single larger reply travels alone. */
export const messageBytes = 4 * 1024 * 1024

/** What is still to be told. */
export interface Outbox {
  readonly log: ReplyLog.ReplyLog
  /** Logged batches to send again to a client that came back. */
  resend: ReadonlyArray<ReplyLog.LoggedBatch>
  /** Replies by computation that are in no batch yet. */
  readonly pending: Map<string, Array<Uint8Array>>
  /** Of `pending`. */
  pendingBytes: number
  /** Files that jobs send and the client has not been told of. */
  jobFiles: Array<JobFile>
  /** Those it was told of and has not answered, by computation and number. */
  readonly unanswered: Map<string, JobFile>
  cpus: number | undefined
  availInfo: AvailInfo | undefined
  leaving: string | undefined
  /** What was told last; it may have been on its way when a connection broke. */
  readonly told: { cpus: number | undefined; leaving: string | undefined }
}

/** A file that a job sends. */
export type JobFile = Extract<NodeEvent, { readonly _tag: "JobFile" }>

const fileKey = (computationId: string, fileId: number): string => `${computationId} ${fileId}`

/** Nothing to tell. */
export const make = (): Outbox => ({
  log: ReplyLog.make(),
  resend: [],
  pending: new Map(),
  pendingBytes: 0,
  jobFiles: [],
  unanswered: new Map(),
  cpus: undefined,
  availInfo: undefined,
  leaving: undefined,
  told: { cpus: undefined, leaving: undefined }
})

/** Adds reply entries of a computation. */
export const push = (outbox: Outbox, computationId: string, entries: Uint8Array): void => {
  if (entries.length === 0) return
  outbox.pendingBytes += entries.length
  const pending = outbox.pending.get(computationId)
  if (pending === undefined) outbox.pending.set(computationId, split(entries))
  else if (entries.length <= messageBytes) pending.push(entries)
  else pending.push(...split(entries))
}

/** The next message's events; undefined when there is nothing to tell. */
export const take = (outbox: Outbox): [NodeEvent, ...Array<NodeEvent>] | undefined => {
  const events: Array<NodeEvent> = []
  if (outbox.leaving !== undefined) {
    events.push({ _tag: "Leaving", reason: outbox.leaving })
    outbox.told.leaving = outbox.leaving
    outbox.leaving = undefined
  }
  if (outbox.cpus !== undefined) {
    events.push({ _tag: "CpusChanged", cpus: outbox.cpus })
    outbox.told.cpus = outbox.cpus
    outbox.cpus = undefined
  }
  if (outbox.availInfo !== undefined) {
    events.push({ _tag: "Pulse", availInfo: outbox.availInfo })
    outbox.availInfo = undefined
  }
  if (outbox.jobFiles.length > 0) {
    for (const file of outbox.jobFiles) {
      events.push(file)
      outbox.unanswered.set(fileKey(file.computationId, file.fileId), file)
    }
    outbox.jobFiles = []
  }
  takeReplies(outbox, events)
  return events.length === 0 ? undefined : events as [NodeEvent, ...Array<NodeEvent>]
}

/** Batches that are not acknowledged yet and come up to and including a number. */
export const before = (outbox: Outbox, sequence: number): ReadonlyArray<ReplyLog.LoggedBatch> =>
  ReplyLog.until(outbox.log, sequence)

/** The client acknowledged the batches up to and including a number. */
export const acknowledge = (outbox: Outbox, sequence: number): void => {
  ReplyLog.acknowledge(outbox.log, sequence)
  if (outbox.resend.length > 0) outbox.resend = outbox.resend.filter((batch) => batch.sequence > sequence)
}

/** A file of a job was answered for, by the client or without it. */
export const answerFile = (outbox: Outbox, computationId: string, fileId: number): void => {
  const isAnswered = (file: JobFile): boolean => file.fileId === fileId && file.computationId === computationId
  if (outbox.jobFiles.some(isAnswered)) outbox.jobFiles = outbox.jobFiles.filter((file) => !isAnswered(file))
  outbox.unanswered.delete(fileKey(computationId, fileId))
}

/** The client listens anew: what it has not received, of replies those after a number, is to be told again. */
export const rewind = (outbox: Outbox, received: number): void => {
  acknowledge(outbox, received)
  outbox.resend = ReplyLog.from(outbox.log, received + 1)
  outbox.jobFiles = [...outbox.unanswered.values(), ...outbox.jobFiles]
  outbox.unanswered.clear()
  outbox.cpus ??= outbox.told.cpus
  outbox.leaving ??= outbox.told.leaving
}

/** Forgets a computation that was closed. */
export const drop = (outbox: Outbox, computationId: string): void => {
  for (const chunk of outbox.pending.get(computationId) ?? []) outbox.pendingBytes -= chunk.length
  outbox.pending.delete(computationId)
  outbox.jobFiles = outbox.jobFiles.filter((file) => file.computationId !== computationId)
  for (const [key, file] of outbox.unanswered) if (file.computationId === computationId) outbox.unanswered.delete(key)
  ReplyLog.dropComputation(outbox.log, computationId)
  outbox.resend = outbox.resend.filter((batch) => batch.computationId !== computationId)
}

/** Whether all replies have been taken. */
export const isDelivered = (outbox: Outbox): boolean => outbox.resend.length === 0 && outbox.pending.size === 0

/** Replies that the client may not have, in order. */
export const unacknowledged = (
  outbox: Outbox
): ReadonlyArray<{ readonly computationId: string; readonly batch: Uint8Array }> => [
  ...ReplyLog.from(outbox.log, 0),
  ...[...outbox.pending].flatMap(([computationId, chunks]) => chunks.map((batch) => ({ computationId, batch })))
]

/** Files that jobs send and nobody has answered for. */
export const openFiles = (outbox: Outbox): ReadonlyArray<JobFile> => [
  ...outbox.unanswered.values(),
  ...outbox.jobFiles
]

/** Forgets all replies, for a client that is to have them in another way. */
export const clear = (outbox: Outbox): void => {
  acknowledge(outbox, outbox.log.next)
  outbox.pending.clear()
  outbox.pendingBytes = 0
}

/** Bytes of replies held. */
export const sizeBytes = (outbox: Outbox): number => outbox.log.bytes + outbox.pendingBytes

const takeReplies = (outbox: Outbox, events: Array<NodeEvent>): void => {
  let room = messageBytes
  while (outbox.resend.length > 0) {
    const next = outbox.resend[0]!
    if (next.batch.length > room && room < messageBytes) return
    room -= next.batch.length
    events.push({ _tag: "Replies", ...next })
    outbox.resend = outbox.resend.slice(1)
  }
  for (const [computationId, chunks] of outbox.pending) {
    const count = fitting(chunks, room)
    if (count === 0 && room < messageBytes) return
    const batch = joined(chunks.splice(0, Math.max(count, 1)))
    outbox.pendingBytes -= batch.length
    if (chunks.length === 0) outbox.pending.delete(computationId)
    room -= batch.length
    events.push({ _tag: "Replies", ...ReplyLog.append(outbox.log, computationId, batch) })
    if (chunks.length > 0) return
  }
}

/** How many chunks go into `room` bytes. */
const fitting = (chunks: ReadonlyArray<Uint8Array>, room: number): number => {
  let bytes = 0
  let count = 0
  while (count < chunks.length && bytes + chunks[count]!.length <= room) bytes += chunks[count++]!.length
  return count
}

/** Copies even a single chunk: a small view would keep the whole buffer it was read into alive until acknowledged. */
const joined = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  if (chunks.length === 1) {
    const only = chunks[0]!
    return only.length * 2 < only.buffer.byteLength ? only.slice() : only
  }
  return concat(chunks)
}

/** Cuts entries into runs of at most one message, between entries. */
const split = (entries: Uint8Array): Array<Uint8Array> => {
  if (entries.length <= messageBytes) return [entries]
  const view = viewOf(entries)
  const runs: Array<Uint8Array> = []
  let start = 0
  let offset = 0
  while (offset < entries.length) {
    const end = offset + entrySize(view, offset)
    if (end - start > messageBytes && offset > start) {
      runs.push(entries.subarray(start, offset))
      start = offset
    }
    offset = end
  }
  runs.push(entries.subarray(start))
  return runs
}
