/**
 * The byte layout of jobs and replies, shared by client, node and slot. A batch
 * is a concatenation of entries; an entry written by the client reaches the slot
 * unchanged, and a reply written by the slot reaches the client unchanged, so a
 * node moves bytes and never decodes a user's value. Little-endian throughout.
 *
 * ```
 * job    u32 size | u32 jobId | u16 attempt | u16 flags | u32 timeoutMillis | u32 memoryKiB | arguments …
 * reply  u32 size | u32 jobId | u16 attempt | u8 outcome | u8 flags | f64 startMillis | f64 durationMicros
 *        | u32 resultBytes | u32 stdoutBytes | result … | stdout … | stderr …
 * ```
 * `size` counts the whole entry, itself included.
 */

/** Bytes before a job's arguments. */
export const jobHeaderBytes = 20

/** Bytes before a reply's result. */
export const replyHeaderBytes = 36

/** Flags of a job entry. */
export const JobFlags = {
  /**
   * The arguments are an array of items (made by `map`): the computation is called once per item. The result is
   * `[values, failures]`: the values in order (fewer than items when the results got large: the rest was not started), `undefined` for an item that failed, and for each of those a pair
   * `[index, error]` with the error's encoded bytes. An item that fails does not stop the others.
   */
  chunk: 1,
  /** The entry has no arguments: they are in a file of the node (`LargeValue.ts`). */
  largeArgs: 2,
  /** What the job itself takes along is in front of its arguments (`JobDepends`). */
  depends: 4
} as const

/** What became of one attempt of a job, as its slot or node tells it. */
export const Outcome = {
  /** The computation returned; the result is its encoded value. */
  succeeded: 0,
  /** The computation threw; the result is the encoded error. */
  failed: 1,
  /** The slot died under the job (exit, signal, out of memory); the result is an encoded `SlotDeath`. */
  slotDied: 2,
  /** The job ran longer than its timeout and was ended; with `ReplyFlags.partialResult` the result is what it returned. */
  timedOut: 3,
  /** The job was cancelled, before it started or by ending it; the result is as for `timedOut`. */
  cancelled: 4,
  /** The job did not start on this node and may run elsewhere. */
  returned: 5,
  /** The computation returned something that cannot be sent; the result is the encoded error. */
  notCloneable: 6,
  /** No outcome yet: the result is a provisional one, and the job goes on. */
  provisional: 7,
  /** The arguments or the result did not make it over the bulk connection; the result is the encoded error. */
  notTransferred: 8,
  /** The job used more memory than its limit and was killed; the result is an encoded `MemoryPeak`. */
  outOfMemory: 9
} as const

/** One of the numbers in {@link Outcome}. */
export type Outcome = typeof Outcome[keyof typeof Outcome]

const lastOutcome: number = Outcome.outOfMemory

/** Flags of a reply entry. */
export const ReplyFlags = {
  /** The job printed more to stdout than the limit; a note in the middle of the text says how much was cut. */
  stdoutTruncated: 1,
  /** The same for stderr. */
  stderrTruncated: 2,
  /** The job was cancelled or overdue, and the result is what it returned before it would have been killed. */
  partialResult: 8,
  /** The result is in a file of the node (`LargeValue.ts`); the entry has its size, as a float of 64 bits. */
  largeResult: 4
} as const

/** What `writeJob` needs to know of a job. */
export interface JobFields {
  readonly jobId: number
  readonly attempt: number
  readonly flags: number
  /** Longest running time in milliseconds; 0 for none. */
  readonly timeoutMillis: number
  /** Most memory that its slot and all it started may use; 0, the default, for any. */
  readonly memoryKiB?: number
  readonly args: Uint8Array
}

/** What `writeReply` needs to know of a reply. */
export interface ReplyFields {
  readonly jobId: number
  readonly attempt: number
  readonly outcome: Outcome
  readonly flags: number
  /** Wall clock of the node when the job started, in milliseconds since 1970; 0 if it did not start. */
  readonly startMillis: number
  readonly durationMicros: number
  readonly result: Uint8Array
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
}

/** No bytes: the default for results and output. */
export const noBytes = new Uint8Array(0)

/** The `DataView` over exactly these bytes. */
export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Size of the entry at `offset`, of either kind. */
export const entrySize = (view: DataView, offset: number): number => view.getUint32(offset, true)

/** Job id of the entry at `offset`, of either kind. */
export const entryJobId = (view: DataView, offset: number): number => view.getUint32(offset + 4, true)

/** Attempt number of the entry at `offset`, of either kind. */
export const entryAttempt = (view: DataView, offset: number): number => view.getUint16(offset + 8, true)

/** Flags of the job entry at `offset`. */
export const jobFlags = (view: DataView, offset: number): number => view.getUint16(offset + 10, true)

/** Timeout in milliseconds of the job entry at `offset`; 0 for none. */
export const jobTimeoutMillis = (view: DataView, offset: number): number => view.getUint32(offset + 12, true)

/** Memory limit in KiB of the job entry at `offset`; 0 for none. */
export const jobMemoryKiB = (view: DataView, offset: number): number => view.getUint32(offset + 16, true)

/** The arguments of the job entry at `offset`, as a view into `bytes`. */
export const jobArgs = (bytes: Uint8Array, view: DataView, offset: number): Uint8Array =>
  bytes.subarray(offset + jobHeaderBytes, offset + entrySize(view, offset))

/** Size of the entry that `writeJob` writes. */
export const jobSize = (args: Uint8Array): number => jobHeaderBytes + args.length

/** Writes a job entry at `offset` and returns the offset behind it. */
export const writeJob = (bytes: Uint8Array, view: DataView, offset: number, job: JobFields): number => {
  const size = jobHeaderBytes + job.args.length
  view.setUint32(offset, size, true)
  view.setUint32(offset + 4, job.jobId, true)
  view.setUint16(offset + 8, job.attempt, true)
  view.setUint16(offset + 10, job.flags, true)
  view.setUint32(offset + 12, job.timeoutMillis, true)
  view.setUint32(offset + 16, job.memoryKiB ?? 0, true)
  bytes.set(job.args, offset + jobHeaderBytes)
  return offset + size
}

/** One batch that holds these jobs in order. */
export const encodeJobs = (jobs: ReadonlyArray<JobFields>): Uint8Array => {
  let size = 0
  for (const job of jobs) size += jobSize(job.args)
  const bytes = new Uint8Array(size)
  const view = viewOf(bytes)
  let offset = 0
  for (const job of jobs) offset = writeJob(bytes, view, offset, job)
  return bytes
}

/** Outcome of the reply entry at `offset`. */
export const replyOutcome = (view: DataView, offset: number): Outcome => view.getUint8(offset + 10) as Outcome

/** Makes the reply entry at `offset` that of a job which was ended; what it returned becomes its partial result. */
export const endEarly = (view: DataView, offset: number, outcome: Outcome): void => {
  if (replyOutcome(view, offset) === Outcome.succeeded) {
    view.setUint8(offset + 11, view.getUint8(offset + 11) | ReplyFlags.partialResult)
  }
  view.setUint8(offset + 10, outcome)
}

/** Flags of the reply entry at `offset`. */
export const replyFlags = (view: DataView, offset: number): number => view.getUint8(offset + 11)

/** How long the job of the reply entry at `offset` ran, in microseconds. */
export const replyDurationMicros = (view: DataView, offset: number): number => view.getFloat64(offset + 20, true)

/** Reads the reply entry at `offset`; its byte fields are views into `bytes`. */
export const readReply = (bytes: Uint8Array, view: DataView, offset: number): ReplyFields => {
  const end = offset + entrySize(view, offset)
  const resultAt = offset + replyHeaderBytes
  const stdoutAt = resultAt + view.getUint32(offset + 28, true)
  const stderrAt = stdoutAt + view.getUint32(offset + 32, true)
  return {
    jobId: entryJobId(view, offset),
    attempt: entryAttempt(view, offset),
    outcome: replyOutcome(view, offset),
    flags: replyFlags(view, offset),
    startMillis: view.getFloat64(offset + 12, true),
    durationMicros: replyDurationMicros(view, offset),
    result: stdoutAt === resultAt ? noBytes : bytes.subarray(resultAt, stdoutAt),
    stdout: stderrAt === stdoutAt ? noBytes : bytes.subarray(stdoutAt, stderrAt),
    stderr: end === stderrAt ? noBytes : bytes.subarray(stderrAt, end)
  }
}

/** Size of the entry that `writeReply` writes. */
export const replySize = (reply: ReplyFields): number =>
  replyHeaderBytes + reply.result.length + reply.stdout.length + reply.stderr.length

/** Writes a reply entry at `offset` and returns the offset behind it. */
export const writeReply = (bytes: Uint8Array, view: DataView, offset: number, reply: ReplyFields): number => {
  const size = replySize(reply)
  view.setUint32(offset, size, true)
  view.setUint32(offset + 4, reply.jobId, true)
  view.setUint16(offset + 8, reply.attempt, true)
  view.setUint8(offset + 10, reply.outcome)
  view.setUint8(offset + 11, reply.flags)
  view.setFloat64(offset + 12, reply.startMillis, true)
  view.setFloat64(offset + 20, reply.durationMicros, true)
  view.setUint32(offset + 28, reply.result.length, true)
  view.setUint32(offset + 32, reply.stdout.length, true)
  bytes.set(reply.result, offset + replyHeaderBytes)
  bytes.set(reply.stdout, offset + replyHeaderBytes + reply.result.length)
  bytes.set(reply.stderr, offset + size - reply.stderr.length)
  return offset + size
}

/** One batch that holds this reply. */
export const encodeReply = (reply: ReplyFields): Uint8Array => encodeReplies([reply])

/** One batch that holds these replies in order. */
export const encodeReplies = (replies: ReadonlyArray<ReplyFields>): Uint8Array => {
  let size = 0
  for (const reply of replies) size += replySize(reply)
  const bytes = new Uint8Array(size)
  const view = viewOf(bytes)
  let offset = 0
  for (const reply of replies) offset = writeReply(bytes, view, offset, reply)
  return bytes
}

/** Bytes of the result that is in a file; `NaN` where the entry does not say. */
export const largeResultBytes = ({ result }: Pick<ReplyFields, "result">): number =>
  result.length === 8 ? viewOf(result).getFloat64(0, true) : Number.NaN

/** Whether a well-formed batch has a reply whose result is in a file. */
export const hasLargeResults = (bytes: Uint8Array): boolean => {
  const view = viewOf(bytes)
  for (let offset = 0; offset < bytes.length; offset += entrySize(view, offset)) {
    if ((replyFlags(view, offset) & ReplyFlags.largeResult) !== 0) return true
  }
  return false
}

/**
 * Checks a batch of job entries from a peer: returns the number of jobs, or -1
 * when the bytes are not a whole number of well-formed entries.
 */
export const countJobs = (bytes: Uint8Array): number => {
  const view = viewOf(bytes)
  let count = 0
  let offset = 0
  while (offset < bytes.length) {
    if (bytes.length - offset < jobHeaderBytes) return -1
    const size = entrySize(view, offset)
    if (size < jobHeaderBytes || size > bytes.length - offset) return -1
    offset += size
    count++
  }
  return count
}

/** Latest time that a `Date` can be, and more than any duration. */
const mostTime = 8.64e15

const isTime = (value: number): boolean => value >= 0 && value <= mostTime

/**
 * Checks a batch of reply entries from a peer: returns the number of replies, or
 * -1 when the bytes are not a whole number of well-formed entries.
 */
export const countReplies = (bytes: Uint8Array): number => {
  const view = viewOf(bytes)
  let count = 0
  let offset = 0
  while (offset < bytes.length) {
    if (bytes.length - offset < replyHeaderBytes) return -1
    const size = entrySize(view, offset)
    if (size < replyHeaderBytes || size > bytes.length - offset) return -1
    if (view.getUint8(offset + 10) > lastOutcome) return -1
    if (!isTime(view.getFloat64(offset + 12, true)) || !isTime(view.getFloat64(offset + 20, true))) return -1
    if (view.getUint32(offset + 28, true) + view.getUint32(offset + 32, true) > size - replyHeaderBytes) return -1
    offset += size
    count++
  }
  return count
}

/** How many jobs end with well-formed reply entries, and what they took together; provisional results end none. */
export const tallyEnded = (bytes: Uint8Array): { readonly jobs: number; readonly micros: number } => {
  const view = viewOf(bytes)
  let jobs = 0
  let micros = 0
  for (let offset = 0; offset < bytes.length; offset += entrySize(view, offset)) {
    if (replyOutcome(view, offset) === Outcome.provisional) continue
    jobs++
    micros += replyDurationMicros(view, offset)
  }
  return { jobs, micros }
}

/** Ids of the jobs that end with well-formed reply entries; provisional results end none. */
export const endedJobs = (bytes: Uint8Array): ReadonlyArray<number> => {
  const view = viewOf(bytes)
  const ids: Array<number> = []
  for (let offset = 0; offset < bytes.length; offset += entrySize(view, offset)) {
    if (replyOutcome(view, offset) !== Outcome.provisional) ids.push(entryJobId(view, offset))
  }
  return ids
}
