/**
 * Replies whose results are in files of the node (`wire/LargeValue.ts`), for a client that may die and have its results
 * recovered. A client acknowledges such a reply before or after it has fetched the result: the file goes when both have
 * happened, and until then what is kept of the job is whole. A value changed in place.
 */
import { entryAttempt, entryJobId, entrySize, ReplyFlags, replyFlags, viewOf } from "../wire/Entries.ts"

/** One execution of a job of a computation. */
export interface Execution {
  readonly computationId: string
  readonly jobId: number
  readonly attempt: number
}

interface LargeReply extends Execution {
  /** The reply. */
  readonly entry: Uint8Array
  isAcknowledged: boolean
  isFetched: boolean
}

/** By execution. */
export type LargeReplies = Map<string, LargeReply>

/** None. */
export const make = (): LargeReplies => new Map()

const keyOf = ({ attempt, computationId, jobId }: Execution): string => `${jobId} ${attempt} ${computationId}`

/** The large replies of a well-formed batch. */
export const inBatch = (
  computationId: string,
  batch: Uint8Array
): ReadonlyArray<Execution & { readonly entry: Uint8Array }> => {
  const view = viewOf(batch)
  const found: Array<Execution & { readonly entry: Uint8Array }> = []
  for (let offset = 0; offset < batch.length; offset += entrySize(view, offset)) {
    if ((replyFlags(view, offset) & ReplyFlags.largeResult) === 0) continue
    const entry = batch.subarray(offset, offset + entrySize(view, offset))
    found.push({ computationId, jobId: entryJobId(view, offset), attempt: entryAttempt(view, offset), entry })
  }
  return found
}

/** Replies came in. */
export const add = (large: LargeReplies, computationId: string, batch: Uint8Array): void => {
  for (const found of inBatch(computationId, batch)) {
    large.set(keyOf(found), { ...found, entry: found.entry.slice(), isAcknowledged: false, isFetched: false })
  }
}

const settled = (large: LargeReplies, reply: LargeReply): boolean =>
  reply.isAcknowledged && reply.isFetched && large.delete(keyOf(reply))

/** The client has the replies of a batch; returns those whose files are not needed any more. */
export const acknowledged = (
  large: LargeReplies,
  computationId: string,
  batch: Uint8Array
): ReadonlyArray<Execution> => {
  if (large.size === 0) return []
  return inBatch(computationId, batch).flatMap((found) => {
    const reply = large.get(keyOf(found))
    if (reply === undefined) return []
    reply.isAcknowledged = true
    return settled(large, reply) ? [reply] : []
  })
}

/** The client has a result; whether its file is not needed any more. */
export const fetched = (large: LargeReplies, execution: Execution): boolean => {
  const reply = large.get(keyOf(execution))
  if (reply === undefined) return true
  reply.isFetched = true
  return settled(large, reply)
}

/** Replies that the client has, without their results. */
export const unfetched = (large: LargeReplies): ReadonlyArray<Execution & { readonly entry: Uint8Array }> =>
  [...large.values()].filter((reply) => reply.isAcknowledged)

/** A computation was closed. */
export const drop = (large: LargeReplies, computationId: string): void => {
  for (const [key, reply] of large) if (reply.computationId === computationId) large.delete(key)
}
