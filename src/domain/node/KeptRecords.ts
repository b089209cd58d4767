/**
 * What a node writes down of a client that is gone, as records of a file (`journal/Records.ts`), and what of it is told
 * to whoever recovers it.
 *
 * ```
 * Owner    JSON {format, owner}            which process writes the file, so that others leave it alone
 * Lease    JSON {clientName, computations} what there was, with the jobs whose reply the client does not have
 * Replies  u32 computation | entries …     as they came
 * File     JSON SentFile                   a job sent it; it lies beside
 * Lost     JSON {computation, jobIds, reason}
 * End      no more comes
 * ```
 * Computations are numbered by their place in the lease.
 */
import { Option, Schema } from "effect"
import * as AsciiJson from "../journal/AsciiJson.ts"
import type * as Records from "../journal/Records.ts"
import type { KeptEvent } from "../NodeRpcs.ts"
import { endedJobs, viewOf } from "../wire/Entries.ts"

const format = 1

const Kind = { owner: 0, lease: 1, replies: 2, file: 3, lost: 4, end: 5 } as const

const Owner = Schema.Struct({ format: Schema.Literal(format), owner: Schema.String })

const Lease = Schema.Struct({
  clientName: Schema.String,
  computations: Schema.Array(Schema.Struct({
    computationId: Schema.String,
    name: Schema.String,
    unreplied: Schema.Array(Schema.Number)
  }))
})

/** What a lease was when its client was gone. */
export type Lease = typeof Lease.Type

const SentFile = Schema.Struct({
  computation: Schema.Number,
  fileId: Schema.Number,
  jobId: Schema.Number,
  path: Schema.String,
  sizeBytes: Schema.Number,
  mode: Schema.Number,
  modifiedMillis: Schema.Number
})

/** A file that a job sent. */
export type SentFile = typeof SentFile.Type

const Lost = Schema.Struct({
  computation: Schema.Number,
  jobIds: Schema.Array(Schema.Number),
  reason: Schema.String
})

type Type<S> = S extends Schema.Codec<infer A, unknown> ? A : never

const json = <S extends Schema.Codec<unknown, unknown>>(kind: number, schema: S) => {
  const codec = Schema.fromJsonString(schema)
  const encode = Schema.encodeSync(codec)
  const decode = Schema.decodeUnknownOption(codec)
  return {
    encode: (value: Type<S>): Records.JournalRecord => ({
      kind,
      payload: AsciiJson.encode(encode(value))
    }),
    decode: (payload: Uint8Array): Type<S> | undefined =>
      Option.getOrUndefined(decode(AsciiJson.decode(payload))) as Type<S> | undefined
  }
}

const owners = json(Kind.owner, Owner)
const leases = json(Kind.lease, Lease)
const files = json(Kind.file, SentFile)
const losses = json(Kind.lost, Lost)

/** The first record of a file. */
export const owner = (name: string): Records.JournalRecord => owners.encode({ format, owner: name })

/** The second one. */
export const lease = (value: Lease): Records.JournalRecord => leases.encode(value)

/** Replies of a computation. */
export const replies = (computation: number, batch: Uint8Array): Records.JournalRecord => {
  const payload = new Uint8Array(4 + batch.length)
  viewOf(payload).setUint32(0, computation, true)
  payload.set(batch, 4)
  return { kind: Kind.replies, payload }
}

/** A file that a job sent. */
export const file = (sent: SentFile): Records.JournalRecord => files.encode(sent)

/** Jobs that will have no reply. */
export const lost = (computation: number, jobIds: ReadonlyArray<number>, reason: string): Records.JournalRecord =>
  losses.encode({ computation, jobIds, reason })

/** The last record of a file. */
export const end: Records.JournalRecord = { kind: Kind.end, payload: new Uint8Array(0) }

/** Which process wrote a file; undefined when that cannot be read. */
export const ownerIn = (records: ReadonlyArray<Records.JournalRecord>): string | undefined => {
  const first = records[0]
  return first?.kind === Kind.owner ? owners.decode(first.payload)?.owner : undefined
}

/**
 * The jobs of a computation that a lease names: those without a reply, and those whose replies follow. Such a reply may
 * not get onto the disk, or be damaged there, and then its job is lost, which is to be told as well.
 */
export const unrepliedOf = (
  computationId: string,
  jobs: ReadonlyArray<number>,
  unacknowledged: ReadonlyArray<{ readonly computationId: string; readonly batch: Uint8Array }>
): ReadonlyArray<number> => [
  ...new Set([
    ...jobs,
    ...unacknowledged.flatMap((told) => told.computationId === computationId ? endedJobs(told.batch) : [])
  ])
]

/** What is known of a lease from its records so far. A value changed in place. */
export interface Kept {
  readonly leaseId: string
  lease: Lease | undefined
  /** Jobs without a reply, by the number of the computation. */
  readonly remaining: Array<Set<number>>
  isEnded: boolean
}

/** Nothing was read. */
export const make = (leaseId: string): Kept => ({ leaseId, lease: undefined, remaining: [], isEnded: false })

/** A lease of which this was written. */
export const begun = (leaseId: string, value: Lease): Kept => ({
  leaseId,
  lease: value,
  remaining: value.computations.map(({ unreplied }) => new Set(unreplied)),
  isEnded: false
})

/** Jobs that have no reply yet. */
export const remainingJobs = (kept: Kept): number => kept.remaining.reduce((sum, jobs) => sum + jobs.size, 0)

/** These replies came in. */
export const replied = (kept: Kept, computation: number, batch: Uint8Array): void => {
  const jobs = kept.remaining[computation]
  if (jobs === undefined) return
  for (const jobId of endedJobs(batch)) jobs.delete(jobId)
}

/** What a record tells; undefined for one that tells nothing, or that no version of ours wrote. */
export const take = (kept: Kept, { kind, payload }: Records.JournalRecord): KeptEvent | undefined => {
  const { leaseId } = kept
  switch (kind) {
    case Kind.lease: {
      const value = leases.decode(payload)
      if (value === undefined || kept.lease !== undefined) return undefined
      Object.assign(kept, begun(leaseId, value))
      return { _tag: "KeptLease", leaseId, computations: value.computations }
    }
    case Kind.replies: {
      if (payload.length < 4) return undefined
      const computation = viewOf(payload).getUint32(0, true)
      const computationId = kept.lease?.computations[computation]?.computationId
      if (computationId === undefined) return undefined
      const batch = payload.subarray(4)
      replied(kept, computation, batch)
      return { _tag: "KeptReplies", leaseId, computationId, batch }
    }
    case Kind.file: {
      const sent = files.decode(payload)
      const computationId = kept.lease?.computations[sent?.computation ?? -1]?.computationId
      if (sent === undefined || computationId === undefined) return undefined
      const { computation: _, ...rest } = sent
      return { _tag: "KeptFile", leaseId, computationId, ...rest }
    }
    case Kind.lost: {
      const loss = losses.decode(payload)
      const computationId = kept.lease?.computations[loss?.computation ?? -1]?.computationId
      if (loss === undefined || computationId === undefined) return undefined
      for (const jobId of loss.jobIds) kept.remaining[loss.computation]?.delete(jobId)
      return { _tag: "KeptLost", leaseId, computationId, jobIds: loss.jobIds, reason: loss.reason }
    }
    case Kind.end:
      kept.isEnded = true
      return undefined
    default:
      return undefined
  }
}

/** The file ends here, and its writer with it: jobs that have no reply are lost. */
export const lostAtEnd = (kept: Kept, reason: string): ReadonlyArray<KeptEvent> =>
  (kept.lease?.computations ?? []).flatMap(({ computationId }, i): ReadonlyArray<KeptEvent> => {
    const jobIds = [...kept.remaining[i] ?? []]
    return jobIds.length === 0 ? [] : [{ _tag: "KeptLost", leaseId: kept.leaseId, computationId, jobIds, reason }]
  })
