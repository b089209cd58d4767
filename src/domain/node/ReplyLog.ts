/**
 * The reply batches that a client has not acknowledged yet, numbered from 1, so
 * that a client that reconnects gets them again. Appending and acknowledging are
 * amortised constant; the log is a value that its functions change in place.
 */

/** A batch with its number. */
export interface LoggedBatch {
  readonly computationId: string
  readonly sequence: number
  readonly batch: Uint8Array
}

/** The unacknowledged batches, in order. */
export interface ReplyLog {
  /** Number of the next batch. */
  next: number
  /** Batches by number; those before `head` are acknowledged. */
  batches: Array<LoggedBatch>
  head: number
  /** Bytes of the unacknowledged batches. */
  bytes: number
}

/** A log without batches. */
export const make = (): ReplyLog => ({ next: 1, batches: [], head: 0, bytes: 0 })

/** Adds a batch and returns it with its number. */
export const append = (log: ReplyLog, computationId: string, batch: Uint8Array): LoggedBatch => {
  const logged = { computationId, sequence: log.next++, batch }
  log.batches.push(logged)
  log.bytes += batch.length
  return logged
}

/** Forgets the batches up to and including a number. */
export const acknowledge = (log: ReplyLog, sequence: number): void => {
  while (log.head < log.batches.length && log.batches[log.head]!.sequence <= sequence) {
    log.bytes -= log.batches[log.head++]!.batch.length
  }
  compact(log)
}

/** The batches that are not acknowledged, from a number on. */
export const from = (log: ReplyLog, sequence: number): ReadonlyArray<LoggedBatch> => {
  let start = log.head
  while (start < log.batches.length && log.batches[start]!.sequence < sequence) start++
  return log.batches.slice(start)
}

/** The batches that are not acknowledged, up to and including a number. */
export const until = (log: ReplyLog, sequence: number): ReadonlyArray<LoggedBatch> => {
  let end = log.head
  while (end < log.batches.length && log.batches[end]!.sequence <= sequence) end++
  return log.batches.slice(log.head, end)
}

/** Forgets the batches of a computation that was closed. */
export const dropComputation = (log: ReplyLog, computationId: string): void => {
  log.batches = log.batches.slice(log.head).filter((logged) => logged.computationId !== computationId)
  log.head = 0
  log.bytes = log.batches.reduce((sum, logged) => sum + logged.batch.length, 0)
}

const compact = (log: ReplyLog): void => {
  if (log.head === log.batches.length) {
    log.batches.length = 0
    log.head = 0
  } else if (log.head > 64 && log.head * 2 > log.batches.length) {
    log.batches = log.batches.slice(log.head)
    log.head = 0
  }
}
