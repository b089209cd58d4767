/**
 * What a node keeps of one client that is gone, on its disk, while jobs of it may still run:
 *
 * ```
 * <prefix>/dispy-<user>/kept/<hash of the key>/<lease>/
 *     replies                            records (domain/node/KeptRecords.ts), only appended to
 *     values/<computation>-result-…      large results
 *     files/<computation>-<file>         files that jobs sent
 * ```
 * What came in goes out in one write, and what comes in while the disk confirms that (`fdatasync`) goes with the next:
 * when a daemon is killed, what was written is there, when the machine goes down, what was confirmed. What cannot be
 * written stays in memory and is tried again every second; a write that broke off is begun anew at the same place, so
 * that no half record comes to lie in the middle.
 */
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Records from "../../domain/journal/Records.ts"
import * as KeptRecords from "../../domain/node/KeptRecords.ts"
import type { Execution } from "../../domain/node/LargeReplies.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as Bytes from "../../domain/wire/Bytes.ts"
import { resultName } from "../../domain/wire/LargeValue.ts"

/** A file that goes along with a record. */
interface Move {
  readonly from: string
  readonly to: string
}

interface Item {
  readonly bytes: Uint8Array
  readonly moves: ReadonlyArray<Move>
}

/** Why nothing is added any more. */
type Gone = "resumed" | "forgotten"

/** See above. */
export interface Spool {
  readonly leaseId: string
  readonly clientName: string
  readonly directory: string
  readonly kept: KeptRecords.Kept
  /** Numbers of computations, by id. */
  readonly numbers: ReadonlyMap<string, number>
  fd: number | undefined
  /** Bytes of `replies` that are written. */
  written: number
  pending: Array<Item>
  pendingBytes: number
  /** Large results that were moved. */
  moved: Array<Move>
  gone: Gone | undefined
  /** Told when something was added, written, or is not to come any more. */
  readonly watchers: Set<() => void>
}

const retryTime = "1 second"

/** Size at which a write is full. */
const writeBytes = 4 * 1024 * 1024

/** Name of the file with the records. */
export const repliesName = "replies"

/** Where a large result lies. */
export const valueIn = (
  directory: string,
  computation: number,
  execution: Pick<Execution, "jobId" | "attempt">
): string => path.join(directory, "values", `${computation}-${resultName(execution)}`)

/** Where a file that a job sent lies. */
export const fileIn = (directory: string, computation: number, fileId: number): string =>
  path.join(directory, "files", `${computation}-${fileId}`)

const tell = (spool: Spool): void => {
  for (const watcher of spool.watchers) watcher()
}

const add = (spool: Spool, record: Records.JournalRecord, moves: ReadonlyArray<Move> = []): void => {
  const bytes = Records.encode(record)
  spool.pending.push({ bytes, moves })
  spool.pendingBytes += bytes.length
  tell(spool)
}

/** A spool for a lease with these jobs; nothing is written yet. */
export const make = (
  leaseId: string,
  lease: KeptRecords.Lease,
  directory: string,
  owner: string
): Spool => {
  const spool: Spool = {
    leaseId,
    clientName: lease.clientName,
    directory,
    kept: KeptRecords.begun(leaseId, lease),
    numbers: new Map(lease.computations.map(({ computationId }, i) => [computationId, i])),
    fd: undefined,
    written: 0,
    pending: [],
    pendingBytes: 0,
    moved: [],
    gone: undefined,
    watchers: new Set()
  }
  add(spool, KeptRecords.owner(owner))
  add(spool, KeptRecords.lease(lease))
  return spool
}

/** Jobs came to an end, or said something; their large results lie in `values`. */
export const addReplies = (
  spool: Spool,
  computationId: string,
  batch: Uint8Array,
  large: ReadonlyArray<Execution>,
  values: string
): void => {
  const number = spool.numbers.get(computationId)
  if (number === undefined) return
  KeptRecords.replied(spool.kept, number, batch)
  const moves = large.map((execution) => ({
    from: path.join(values, resultName(execution)),
    to: valueIn(spool.directory, number, execution)
  }))
  add(spool, KeptRecords.replies(number, batch), moves)
}

/** A file that a job sent lies in its place. */
export const addFile = (spool: Spool, sent: KeptRecords.SentFile): void => add(spool, KeptRecords.file(sent))

/** Jobs that run will have no reply. */
export const addLost = (spool: Spool, reason: string): void =>
  spool.kept.remaining.forEach((jobs, number) => {
    if (jobs.size > 0) add(spool, KeptRecords.lost(number, [...jobs], reason))
    jobs.clear()
  })

/** Jobs that have no reply. */
export const jobs = (spool: Spool): number => KeptRecords.remainingJobs(spool.kept)

/** Whether all that came in is written. */
export const isWritten = (spool: Spool): boolean => spool.pending.length === 0

/** For this user alone, whatever the umask says. */
const makePrivate = (directory: string): void => {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
  fs.chmodSync(directory, 0o700)
}

/** Makes the directories down to that of `files` and `values`. */
export const makeDirectories = ({ directory }: Pick<Spool, "directory">): void => {
  const key = path.dirname(directory)
  for (
    const one of [path.dirname(key), key, directory, path.join(directory, "values"), path.join(directory, "files")]
  ) {
    makePrivate(one)
  }
}

const open = (spool: Spool): number => {
  if (spool.fd !== undefined) return spool.fd
  makeDirectories(spool)
  const fd = fs.openSync(path.join(spool.directory, repliesName), "w", 0o600)
  fs.fchmodSync(fd, 0o600)
  return spool.fd = fd
}

/** Renames, or copies to another disk. What is not there was moved before. */
export const move = ({ from, to }: Move): void => {
  if (!fs.existsSync(from)) return
  try {
    fs.renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error
    fs.copyFileSync(from, to, fs.constants.COPYFILE_FICLONE)
    fs.rmSync(from)
  }
  fs.chmodSync(to, 0o600)
}

const writeAll = (fd: number, bytes: Uint8Array, position: number): void => {
  let done = 0
  while (done < bytes.length) done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done)
}

/** Writes what came in. Says why it cannot. */
const flush = (spool: Spool): string | undefined => {
  // Closed: to open it again would empty it.
  if (spool.gone !== undefined || spool.kept.isEnded) return undefined
  try {
    const fd = open(spool)
    while (spool.pending.length > 0) {
      let count = 0
      let size = 0
      while (count < spool.pending.length && (count === 0 || size < writeBytes)) {
        size += spool.pending[count++]!.bytes.length
      }
      const items = spool.pending.slice(0, count)
      for (const one of items.flatMap(({ moves }) => moves)) {
        move(one)
        spool.moved.push(one)
      }
      writeAll(fd, Bytes.concat(items.map(({ bytes }) => bytes)), spool.written)
      spool.written += size
      spool.pendingBytes -= size
      spool.pending = spool.pending.slice(count)
    }
    tell(spool)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

/** Waits until this holds; it is asked for whenever something changed. */
export const until = (spool: Spool, holds: () => boolean): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const look = (): void => {
      if (!holds()) return
      spool.watchers.delete(look)
      resume(Effect.void)
    }
    spool.watchers.add(look)
    look()
    return Effect.sync(() => spool.watchers.delete(look))
  })

/** Waits until something was added or written, or is not to come any more. */
export const untilChanged = (spool: Spool): Effect.Effect<void> => {
  let isFirst = true
  return until(spool, () => {
    const holds = !isFirst
    isFirst = false
    return holds
  })
}

const confirm = ({ fd }: Spool): Effect.Effect<void> =>
  fd === undefined
    ? Effect.void
    : Effect.callback<void>((resume) => fs.fdatasync(fd, () => resume(Effect.void)))

/** Writes down what comes in, for as long as something may come. */
export const run = (spool: Spool): Effect.Effect<void> =>
  Effect.gen(function*() {
    let trouble = ""
    while (spool.gone === undefined && !spool.kept.isEnded) {
      yield* until(spool, () => spool.pending.length > 0 || spool.gone !== undefined || spool.kept.isEnded)
      // Not at once: what other slots reply in this turn of the loop then goes with the same write.
      yield* Effect.yieldNow
      const problem = flush(spool)
      if (problem === undefined) {
        if (trouble !== "") yield* Effect.logInfo("the results of a client that is gone can be written again")
        trouble = ""
        yield* confirm(spool)
        continue
      }
      if (trouble === "") {
        yield* Effect.logWarning(
          "cannot write down the results of a client that is gone; they stay in memory until there is room: make some" +
            " there, or see that the daemon may write there"
        ).pipe(Effect.annotateLogs({ reason: problem }))
      }
      trouble = problem
      yield* Effect.sleep(retryTime)
    }
  }).pipe(Effect.annotateLogs({ clientName: spool.clientName, directory: spool.directory }))

/** Closes the file. */
const close = (spool: Spool): void => {
  if (spool.fd !== undefined) fs.closeSync(spool.fd)
  spool.fd = undefined
}

/** Nothing more comes: jobs without a reply are lost. Says why something could not be written, and is lost as well. */
export const end = (spool: Spool, reason: string): string | undefined => {
  if (spool.gone !== undefined || spool.kept.isEnded) return undefined
  addLost(spool, reason)
  add(spool, KeptRecords.end)
  const problem = flush(spool)
  spool.kept.isEnded = true
  if (spool.fd !== undefined && problem === undefined) fs.fdatasyncSync(spool.fd)
  close(spool)
  tell(spool)
  return problem
}

/** What was kept is not to be had any more. */
export const remove = (spool: Spool, why: Gone): void => {
  spool.gone = why
  spool.pending = []
  spool.pendingBytes = 0
  close(spool)
  removeDirectory(spool.directory)
  tell(spool)
}

/** Removes what is kept for a lease, and the directories above as far as they are empty. */
export const removeDirectory = (directory: string): void => {
  fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  const key = path.dirname(directory)
  for (const one of [key, path.dirname(key)]) {
    try {
      fs.rmdirSync(one)
    } catch {
      // Something else is kept there.
    }
  }
}
