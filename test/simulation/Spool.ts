/**
 * What a simulated node keeps of a client that is gone: the real records (`domain/journal/Records.ts`,
 * `domain/node/KeptRecords.ts`) on a simulated disk. How they get there and are read is as `layers/node/Spool.ts` and
 * `SpoolReader.ts` do it, without large results and files.
 */
import * as Records from "../../src/domain/journal/Records.ts"
import * as KeptRecords from "../../src/domain/node/KeptRecords.ts"
import type { KeptEvent } from "../../src/domain/NodeRpcs.ts"
import { concat } from "../../src/domain/wire/Bytes.ts"
import { entryAttempt, entryJobId, entrySize, Outcome, replyOutcome, viewOf } from "../../src/domain/wire/Entries.ts"
import * as Disk from "./Disk.ts"
import * as Ledger from "./Ledger.ts"
import * as Random from "./Random.ts"
import * as World from "./World.ts"

interface Item {
  readonly bytes: Uint8Array
  /** Jobs whose outcome it has, and of which attempt. */
  readonly jobs: ReadonlyArray<{ readonly job: Ledger.Job; readonly attempt: number }>
}

/** See above. */
export interface Spool {
  readonly world: World.World
  readonly ledger: Ledger.Ledger
  readonly process: World.Process
  readonly disk: Disk.Disk
  readonly path: string
  readonly kept: KeptRecords.Kept
  readonly numbers: ReadonlyMap<string, number>
  /** Jobs that it keeps. */
  readonly keeps: Set<Ledger.Job>
  written: number
  pending: Array<Item>
  /** Jobs whose records are written and not confirmed. */
  unsynced: Array<Ledger.Job>
  gone: "" | "resumed" | "forgotten"
  isFlushing: boolean
  readonly watchers: Set<() => void>
}

/** Where what is kept lies, by key and lease. */
export const pathOf = (key: string, leaseId: string): string => `kept/${key}/${leaseId}`

const tell = (spool: Spool): void => {
  for (const watcher of spool.watchers) watcher()
}

const add = (spool: Spool, record: Records.JournalRecord, jobs: Item["jobs"] = []): void => {
  spool.pending.push({ bytes: Records.encode(record), jobs })
  tell(spool)
  schedule(spool, 0)
}

/** A spool for a lease with these jobs. */
export const make = (
  options: Pick<Spool, "world" | "ledger" | "process" | "disk" | "path">,
  leaseId: string,
  lease: KeptRecords.Lease
): Spool => {
  const spool: Spool = {
    ...options,
    kept: KeptRecords.begun(leaseId, lease),
    numbers: new Map(lease.computations.map(({ computationId }, i) => [computationId, i])),
    keeps: new Set(),
    written: 0,
    pending: [],
    unsynced: [],
    gone: "",
    isFlushing: false,
    watchers: new Set()
  }
  add(spool, KeptRecords.owner(`process ${options.process.id}`))
  add(spool, KeptRecords.lease(lease))
  for (const { computationId, unreplied } of lease.computations) {
    for (const number of unreplied) noteKept(spool, computationId, number)
  }
  return spool
}

const noteKept = (spool: Spool, computationId: string, number: number): Ledger.Job => {
  Ledger.keeps(spool.ledger, computationId, number, spool.process.machine.name)
  const job = Ledger.jobOf(spool.ledger, computationId, number)
  spool.keeps.add(job)
  return job
}

/** Jobs came to an end, or said something. */
export const addReplies = (spool: Spool, computationId: string, batch: Uint8Array): void => {
  const number = spool.numbers.get(computationId)
  if (number === undefined || spool.gone !== "" || spool.kept.isEnded) return
  KeptRecords.replied(spool.kept, number, batch)
  const jobs: Array<Item["jobs"][number]> = []
  const view = viewOf(batch)
  for (let offset = 0; offset < batch.length; offset += entrySize(view, offset)) {
    const outcome = replyOutcome(view, offset)
    if (outcome === Outcome.provisional) continue
    const job = noteKept(spool, computationId, entryJobId(view, offset))
    if (outcome !== Outcome.returned) jobs.push({ job, attempt: entryAttempt(view, offset) })
  }
  add(spool, KeptRecords.replies(number, batch), jobs)
}

/** Jobs that have no reply. */
export const jobs = (spool: Spool): number => KeptRecords.remainingJobs(spool.kept)

/** Whether nothing is added any more. */
export const isOver = (spool: Spool): boolean => spool.gone !== "" || spool.kept.isEnded

const entryOf = (spool: Spool, { kept }: Ledger.Job): Partial<Ledger.Kept> => kept.get(spool.process.machine.name) ?? {}

const flush = (spool: Spool): boolean => {
  if (isOver(spool)) return true
  const items = spool.pending
  if (items.length === 0) return true
  const { random } = spool.world
  if (!Disk.write(random, spool.disk, spool.path, spool.written, concat(items.map(({ bytes }) => bytes)))) {
    World.count(spool.world, "writes that did not fit")
    return false
  }
  // The lease is the first that is written, and names them all.
  if (spool.written === 0) { for (const job of spool.keeps) entryOf(spool, job).isListed = true }
  for (const { bytes, jobs: written } of items) {
    spool.written += bytes.length
    for (const { attempt, job } of written) {
      Object.assign(entryOf(spool, job), { isWritten: true, isSynced: false, attempt })
      spool.unsynced.push(job)
    }
  }
  spool.pending = []
  tell(spool)
  return true
}

const confirm = (spool: Spool, upTo: number, confirmed: ReadonlyArray<Ledger.Job>): void => {
  Disk.sync(spool.disk, spool.path, upTo)
  if (upTo > 0) { for (const job of spool.keeps) entryOf(spool, job).isListSynced = true }
  for (const job of confirmed) entryOf(spool, job).isSynced = true
}

/** Time between tries to write what did not fit. */
const retryMillis = 1000

const schedule = (spool: Spool, millis: number): void => {
  if (spool.isFlushing) return
  spool.isFlushing = true
  World.after(spool.world, spool.process, millis, "", () => {
    if (isOver(spool)) return
    const isWritten = flush(spool)
    const upTo = spool.written
    const confirmed = isWritten ? spool.unsynced.splice(0) : []
    const next = isWritten ? Random.skewed(spool.world.random, 0.2, 50) : retryMillis
    World.after(spool.world, spool.process, next, "", () => {
      spool.isFlushing = false
      if (isWritten && !isOver(spool)) confirm(spool, upTo, confirmed)
      if (spool.pending.length > 0) schedule(spool, 0)
    })
  })
}

/** Nothing more comes: jobs without a reply are lost. */
export const end = (spool: Spool, reason: string): void => {
  if (isOver(spool)) return
  spool.kept.remaining.forEach((numbers, computation) => {
    if (numbers.size > 0) {
      spool.pending.push({ bytes: Records.encode(KeptRecords.lost(computation, [...numbers], reason)), jobs: [] })
    }
    numbers.clear()
  })
  spool.pending.push({ bytes: Records.encode(KeptRecords.end), jobs: [] })
  const isWritten = flush(spool)
  spool.kept.isEnded = true
  if (isWritten) confirm(spool, spool.written, spool.unsynced.splice(0))
  else {
    // The node's log says that these are lost.
    for (const job of spool.keeps) {
      if (entryOf(spool, job).isListed !== true) job.kept.delete(spool.process.machine.name)
    }
    World.count(spool.world, "spools that ended on a full disk")
  }
  tell(spool)
}

/** What was kept is not to be had any more. */
export const remove = (spool: Spool, why: "resumed" | "forgotten"): void => {
  spool.gone = why
  spool.pending = []
  spool.disk.files.delete(spool.path)
  if (why === "resumed") { for (const job of spool.keeps) job.kept.delete(spool.process.machine.name) }
  tell(spool)
}

/** How far somebody has read. */
export interface Reader {
  readonly kept: KeptRecords.Kept
  readonly disk: Disk.Disk
  readonly path: string
  readonly spool: Spool | undefined
  offset: number
  isDamaged: boolean
  isDone: boolean
}

/** Begins to read. */
export const reader = (leaseId: string, disk: Disk.Disk, path: string, spool?: Spool): Reader => ({
  kept: KeptRecords.make(leaseId),
  disk,
  path,
  spool,
  offset: 0,
  isDamaged: false,
  isDone: false
})

/** What comes next: nothing when it is still to come, or when the reader is done. */
export const next = (self: Reader, killed: string): ReadonlyArray<KeptEvent> => {
  const { disk, kept, path, spool } = self
  while (!self.isDone) {
    const all = Disk.read(disk, path)
    if (all === undefined && spool?.gone !== "" && spool !== undefined) {
      self.isDone = true
      return []
    }
    const limit = spool === undefined ? all?.length ?? 0 : spool.written
    const { damaged, records, used } = Records.readSome((all ?? new Uint8Array(0)).slice(self.offset, limit), true)
    if (damaged.length > 0) self.isDamaged = true
    self.offset += used
    const events = records.flatMap((record) => KeptRecords.take(kept, record) ?? [])
    if (events.length > 0) return events
    if (used > 0) continue
    const isFollowing = spool !== undefined && !isOver(spool) && !kept.isEnded &&
      (jobs(spool) > 0 || spool.pending.length > 0)
    if (isFollowing) return []
    self.isDone = true
    if (spool !== undefined && spool.gone !== "") return []
    return KeptRecords.lostAtEnd(kept, self.isDamaged ? "the file is damaged" : killed)
  }
  return []
}
