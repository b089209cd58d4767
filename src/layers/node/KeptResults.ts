/**
 * All that a node keeps of clients that are gone, found by the hash of their key: what its own orphans write, and what
 * daemons wrote under the same prefix that have ended. What a daemon writes that runs is left to that.
 */
import { Clock, Duration, Effect } from "effect"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import type { KeptEvent } from "../../domain/NodeRpcs.ts"
import { messageOf } from "../../domain/Thrown.ts"
import type * as BulkFrames from "../../domain/transfer/BulkFrames.ts"
import * as BulkPeer from "../bulk/BulkPeer.ts"
import { type BulkLease, type Offering, Refusal } from "../bulk/BulkServer.ts"
import * as ProcessName from "../files/ProcessName.ts"
import * as NodeDirectory from "./NodeDirectory.ts"
import * as Spool from "./Spool.ts"
import * as SpoolReader from "./SpoolReader.ts"

/** See above. */
export interface KeptResults {
  readonly root: string
  /** Name of this process. */
  readonly owner: string
  /** Spools of leases whose client is gone, while they are written; by lease. */
  readonly live: Map<string, Spool.Spool>
  /** Where values and files are fetched from that were told of, by lease. */
  readonly doors: Map<string, BulkLease>
}

/** What is kept by a run of a daemon in this directory, and by those before. */
export const make = (run: string): KeptResults => ({
  root: NodeDirectory.spoolDirectory(path.resolve(run)),
  owner: ProcessName.own(),
  live: new Map(),
  doors: new Map()
})

/** The key itself is not on the disk. */
export const hashOf = (key: string): string => createHash("sha256").update(key).digest("hex").slice(0, 32)

/** Where a lease is kept. */
export const directoryOf = (kept: KeptResults, keyHash: string, leaseId: string): string =>
  path.join(kept.root, keyHash, leaseId)

const namesIn = (directory: string): ReadonlyArray<string> => {
  try {
    return fs.readdirSync(directory)
  } catch {
    return []
  }
}

/** Whether a daemon writes there that runs: this one, or another. */
const isWritten = (kept: KeptResults, leaseId: string, directory: string): boolean => {
  if (kept.live.has(leaseId)) return true
  const owner = SpoolReader.ownerOf(directory)
  return owner !== undefined && owner !== kept.owner && !ProcessName.isStale(owner)
}

/** Leases under a key that no daemon writes which runs, as far as one can read. */
const ended = (kept: KeptResults, keyHash: string): ReadonlyArray<SpoolReader.SpoolReader> =>
  namesIn(path.join(kept.root, keyHash)).flatMap((leaseId) => {
    const directory = directoryOf(kept, keyHash, leaseId)
    return isWritten(kept, leaseId, directory) ? [] : [SpoolReader.make(leaseId, directory)]
  })

/** Whether something was written: a daemon that is about to is no business of others. */
const hasReplies = ({ directory }: SpoolReader.SpoolReader): boolean =>
  (fs.lstatSync(path.join(directory, Spool.repliesName), { throwIfNoEntry: false })?.size ?? 0) > 0

/** Leases that are kept under a key and belong to no other daemon. */
export const find = (kept: KeptResults, keyHash: string): ReadonlyArray<SpoolReader.SpoolReader> => [
  ...ended(kept, keyHash).filter(hasReplies),
  ...[...kept.live.values()]
    .filter(({ directory }) => path.basename(path.dirname(directory)) === keyHash)
    .map((spool) => SpoolReader.make(spool.leaseId, spool.directory, spool))
]

const offering = (directory: string, computations: ReadonlyArray<string>, header: BulkFrames.GetHeader): Offering => {
  const { computationId, source } = header
  const number = computations.indexOf(computationId)
  if (number < 0) throw new Refusal("nothing is kept of this computation")
  const file = source._tag === "JobFile"
    ? Spool.fileIn(directory, number, source.fileId)
    : Spool.valueIn(directory, number, source)
  const stats = fs.lstatSync(file, { throwIfNoEntry: false })
  if (stats?.isFile() !== true) throw new Refusal("it is not kept (any more)")
  return { content: { _tag: "File", path: file, sizeBytes: stats.size }, onFetched: () => {}, signal: undefined }
}

/** Somebody was told of a lease: what it kept can be fetched from now on, as often as need be. */
export const openDoor = (
  kept: KeptResults,
  directory: string,
  { computations, leaseId }: Extract<KeptEvent, { readonly _tag: "KeptLease" }>
): void => {
  if (kept.doors.has(leaseId)) return
  const ids = computations.map(({ computationId }) => computationId)
  kept.doors.set(leaseId, {
    window: BulkPeer.makeWindow(),
    connections: new Set(),
    partials: new Map(),
    receiving: new Map(),
    admit: () => {
      throw new Refusal("the client of this lease is gone")
    },
    offering: (header) => offering(directory, ids, header),
    describe: messageOf,
    discard: () => {}
  })
}

/** What a lease kept is not to be had any more. */
export const closeDoor = (kept: KeptResults, leaseId: string): void => {
  const door = kept.doors.get(leaseId)
  kept.doors.delete(leaseId)
  for (const peer of door?.connections ?? []) BulkPeer.close(peer, "what the lease kept is gone")
}

/** Removes what is kept for a lease that no daemon writes. */
export const remove = (kept: KeptResults, { kept: { leaseId }, directory }: SpoolReader.SpoolReader): void => {
  closeDoor(kept, leaseId)
  Spool.removeDirectory(directory)
}

/** Removes what nobody fetched for so long. What cannot be removed is tried again another time. */
const removeOld = (kept: KeptResults, keepMillis: number, now: number): Effect.Effect<void> =>
  Effect.forEach(
    namesIn(kept.root).flatMap((keyHash) => ended(kept, keyHash)),
    (reader) =>
      Effect.suspend(() => {
        const { directory } = reader
        const file = fs.lstatSync(path.join(directory, Spool.repliesName), { throwIfNoEntry: false }) ??
          fs.lstatSync(directory, { throwIfNoEntry: false })
        if (file === undefined || now - file.mtimeMs < keepMillis) return Effect.void
        return Effect.try({ try: () => remove(kept, reader), catch: messageOf }).pipe(
          Effect.andThen(Effect.logInfo("removed what nobody fetched of a client that is gone")),
          Effect.catch((reason) =>
            Effect.annotateLogs(Effect.logWarning("cannot remove what nobody fetched"), { reason })
          ),
          Effect.annotateLogs({ directory })
        )
      }),
    { discard: true }
  )

/** Does that now, and every hour; with 0 it is kept until it is fetched. */
export const removeOldHourly = (kept: KeptResults, keep: Duration.Input): Effect.Effect<void> => {
  const keepMillis = Duration.toMillis(keep)
  if (keepMillis === 0) return Effect.void
  return Effect.flatMap(Clock.currentTimeMillis, (now) => removeOld(kept, keepMillis, now)).pipe(
    Effect.andThen(Effect.sleep("1 hour")),
    Effect.forever
  )
}

/** The daemon ends: jobs that still run will have no reply. */
export const close = (kept: KeptResults): Effect.Effect<void> =>
  Effect.forEach([...kept.live.values()], (spool) => endSpool(kept, spool, "the node was ended while they ran"), {
    discard: true
  })

/** Nothing more comes for a lease; jobs without a reply are lost for this reason. */
export const endSpool = (kept: KeptResults, spool: Spool.Spool, reason: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    const problem = Spool.end(spool, reason)
    kept.live.delete(spool.leaseId)
    return problem === undefined
      ? Effect.void
      : Effect.annotateLogs(Effect.logError("results of a client that is gone are lost: they cannot be written"), {
        reason: problem,
        directory: spool.directory
      })
  })
