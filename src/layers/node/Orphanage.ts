/**
 * Leases whose client is gone, while their jobs go on: what comes in for them is written down (`Spool`), next to what
 * the client may not have. It is held in memory as well, up to a limit, so that a client that is back after all goes on
 * as if nothing had happened.
 */
import { Clock, Duration, Effect, Queue, type Scope } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as KeptRecords from "../../domain/node/KeptRecords.ts"
import * as LargeReplies from "../../domain/node/LargeReplies.ts"
import * as Leases from "../../domain/node/Leases.ts"
import * as Orphans from "../../domain/node/Orphans.ts"
import * as Outbox from "../../domain/node/Outbox.ts"
import { messageOf } from "../../domain/Thrown.ts"
import type { Gone } from "../../services/JobExecutor.ts"
import * as KeptResults from "./KeptResults.ts"
import * as LeaseSession from "./LeaseSession.ts"
import * as NodeFiles from "./NodeFiles.ts"
import * as NodeTenants from "./NodeTenants.ts"
import * as Spool from "./Spool.ts"

/** What it needs of the node. */
export interface Orphanage {
  readonly state: NodeTenants.NodeTenants
  readonly files: NodeFiles.NodeFiles
  readonly kept: KeptResults.KeptResults
  readonly close: NodeTenants.Closer
  readonly zombieInterval: Duration.Input
  readonly scope: Scope.Scope
}

/** A file that cannot be written is tried again after this time; its job waits. */
const retryTime = "2 seconds"

/** A client tries to come back for so many pulses. */
const awaitedPulses = 5

/** For files that do not depend on their job any more. */
const stays: Gone = { aborted: false, addEventListener: () => {}, removeEventListener: () => {} }

const noRoomCodes: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO"])

/** Why a copy was not made. */
interface NotCopied {
  readonly reason: string
  /** It may be made another time. */
  readonly isNoRoom: boolean
}

/** Succeeds with the size of the copy, which is there whole or not at all. */
const copy = (spool: Spool.Spool, from: string, to: string): Effect.Effect<number, NotCopied> =>
  Effect.tryPromise({
    try: async () => {
      Spool.makeDirectories(spool)
      const temporary = `${to}.part`
      await fs.promises.copyFile(from, temporary, fs.constants.COPYFILE_FICLONE)
      await fs.promises.chmod(temporary, 0o600)
      await fs.promises.rename(temporary, to)
      return (await fs.promises.stat(to)).size
    },
    catch: (error): NotCopied => ({
      reason: messageOf(error),
      isNoRoom: noRoomCodes.has((error as NodeJS.ErrnoException).code)
    })
  })

/** Copies a file that a job sent, as soon as there is room; then the job goes on as if the client had it. */
const keepFile = Effect.fnUntraced(function*(
  { files }: Orphanage,
  session: LeaseSession.LeaseSession,
  spool: Spool.Spool,
  file: Outbox.JobFile
) {
  const { _tag: _, computationId, ...sent } = file
  const { fileId } = sent
  const computation = spool.numbers.get(computationId)
  const jobFiles = NodeFiles.holdFor(files, session.leaseId, computationId)?.jobFiles
  const source = jobFiles?.get(fileId)
  if (computation === undefined || jobFiles === undefined || source === undefined) return
  const to = Spool.fileIn(spool.directory, computation, fileId)
  const isUnwanted = (): boolean => source.signal.aborted || spool.gone !== undefined || spool.kept.isEnded
  let isTold = false
  while (!isUnwanted()) {
    const copied = yield* Effect.result(copy(spool, source.path, to))
    if (isUnwanted()) return fs.rmSync(to, { force: true })
    if (copied._tag === "Success") {
      const sizeBytes = copied.success
      jobFiles.set(fileId, { path: to, sizeBytes, signal: stays })
      Spool.addFile(spool, { computation, ...sent, sizeBytes })
      // Not by the session, which would not tell the client of the file should it be back.
      return session.computations.get(computationId)?.executor?.answerFile(fileId, "")
    }
    const { isNoRoom, reason } = copied.failure
    if (!isNoRoom) return LeaseSession.answerFile(session, computationId, fileId, reason)
    if (!isTold) {
      yield* Effect.logWarning(
        "cannot keep a file for a client that is gone; its job waits until there is room: make some there, or see that" +
          " the daemon may write there"
      ).pipe(Effect.annotateLogs({ reason, directory: spool.directory }))
    }
    isTold = true
    yield* Effect.sleep(retryTime)
  }
})

const keeperOf = (
  { files }: Orphanage,
  { leaseId }: LeaseSession.LeaseSession,
  spool: Spool.Spool,
  file: (sent: Outbox.JobFile) => void
): LeaseSession.Keeper => ({
  replies: (computationId, entries) => {
    const values = NodeFiles.holdFor(files, leaseId, computationId)?.values ?? ""
    Spool.addReplies(spool, computationId, entries, LargeReplies.inBatch(computationId, entries), values)
  },
  file: (_, sent) => file(sent),
  backlogBytes: () => spool.pendingBytes
})

/** A reply that may have to be told again. */
export interface Told {
  readonly computationId: string
  readonly batch: Uint8Array
}

/** Replies that the client may not have, or not the results of. */
const undelivered = ({ large, outbox }: LeaseSession.LeaseSession): ReadonlyArray<Told> => [
  ...LargeReplies.unfetched(large).map(({ computationId, entry }) => ({ computationId, batch: entry })),
  ...Outbox.unacknowledged(outbox)
]

/** What a client that is gone had here: what is being closed, on its word, is none of it. */
export const leaseOf = (session: LeaseSession.LeaseSession, replies: ReadonlyArray<Told>): KeptRecords.Lease => ({
  clientName: session.clientName,
  computations: [...session.computations].flatMap(([computationId, { closed, name }]) => {
    if (closed !== undefined) return []
    const { running, waiting } = LeaseSession.jobs(session, computationId)
    return [{
      computationId,
      name,
      unreplied: KeptRecords.unrepliedOf(computationId, [...running, ...waiting], replies)
    }]
  })
})

const spoolOf = ({ kept }: Orphanage, { session }: NodeTenants.Tenant): Spool.Spool | undefined =>
  session === undefined ? undefined : kept.live.get(session.leaseId)

/** The client of a lease is gone: what it does not have is kept, and what comes, until nothing does any more. */
export const take = Effect.fnUntraced(function*(orphanage: Orphanage, tenant: NodeTenants.Tenant) {
  const { close, kept, scope, state } = orphanage
  const session = tenant.session!
  const { clientName, keyHash = "", leaseId, outbox } = session
  const replies = undelivered(session)
  const directory = KeptResults.directoryOf(kept, keyHash, leaseId)
  const spool = Spool.make(leaseId, leaseOf(session, replies), directory, kept.owner)
  kept.live.set(leaseId, spool)
  const sent = yield* Queue.unbounded<Outbox.JobFile>()
  const keeper = session.keeper = keeperOf(orphanage, session, spool, (file) => void Queue.offerUnsafe(sent, file))
  spool.watchers.add(() => LeaseSession.throttle(session))
  for (const { batch, computationId } of replies) keeper.replies(computationId, batch)
  for (const file of Outbox.openFiles(outbox)) keeper.file(file.computationId, file)
  yield* Effect.logInfo("a client is gone; its jobs go on, and their results are kept").pipe(
    Effect.annotateLogs({ clientName, directory, jobs: Spool.jobs(spool) })
  )
  const isOver = (): boolean => spool.gone !== undefined || spool.kept.isEnded
  const isDone = (): boolean => Spool.jobs(spool) === 0 && Spool.isWritten(spool)
  const keepFiles = Queue.take(sent).pipe(
    Effect.flatMap((file) => Effect.forkIn(keepFile(orphanage, session, spool, file), scope)),
    Effect.forever,
    Effect.raceFirst(Spool.until(spool, isOver))
  )
  const awaited = Effect.andThen(
    Effect.sleep(Duration.times(session.pulse, awaitedPulses)),
    Effect.sync(() => {
      if (!isOver()) tenant.leases = Leases.giveUp(tenant.leases)
    })
  )
  const finish = Effect.suspend(() => {
    if (isOver()) return Effect.void
    return Effect.andThen(
      Effect.annotateLogs(Effect.logInfo("the jobs of a client that is gone have ended; their results are kept"), {
        clientName,
        directory
      }),
      close(tenant, Leases.end(tenant.leases), "its jobs have ended")
    )
  })
  yield* Effect.forkIn(Spool.run(spool), scope)
  yield* Effect.forkIn(keepFiles, scope)
  yield* Effect.all([awaited, Spool.until(spool, () => isDone() || isOver())], { concurrency: 2 }).pipe(
    Effect.andThen(finish),
    Effect.forkIn(scope)
  )
  yield* NodeTenants.tell(state)
})

/** A client has not come back in time: its lease ends, or is an orphan if it has something to lose. */
export const expire = (
  orphanage: Orphanage,
  tenant: NodeTenants.Tenant,
  countdown: number,
  /** The node ends: a lease that nobody loses anything with ends with it. */
  isEnding = false
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const isKept = tenant.session !== undefined && LeaseSession.isWorthKeeping(tenant.session)
    if (isEnding && !isKept) return Effect.void
    const next = Leases.expire(tenant.leases, countdown, isKept)
    if (next._tag !== "Orphan" || next === tenant.leases) return orphanage.close(tenant, next, "its client is gone")
    tenant.leases = next
    return take(orphanage, tenant)
  })

/** The node's owner takes it back from a client that is gone: what it has so far is kept. */
export const release = (orphanage: Orphanage, tenant: NodeTenants.Tenant): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { leases } = tenant
    const expired = leases._tag === "Held" && leases.countdown !== undefined
      ? expire(orphanage, tenant, leases.countdown)
      : Effect.void
    return Effect.andThen(
      expired,
      Effect.suspend(() => orphanage.close(tenant, Leases.end(tenant.leases), "the node's owner took it back"))
    )
  })

/** The client is back: what was kept goes to where it would be had it never been away. */
export const giveBack = (orphanage: Orphanage, tenant: NodeTenants.Tenant): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { files, kept, state } = orphanage
    const session = tenant.session!
    const spool = spoolOf(orphanage, tenant)
    if (spool === undefined) return NodeTenants.tell(state)
    session.keeper = undefined
    kept.live.delete(spool.leaseId)
    KeptResults.closeDoor(kept, spool.leaseId)
    const moving = Effect.try({
      try: () => {
        for (const { from, to } of spool.moved) Spool.move({ from: to, to: from })
        for (const computationId of spool.numbers.keys()) {
          const hold = NodeFiles.holdFor(files, spool.leaseId, computationId)
          for (const [fileId, file] of hold?.jobFiles ?? []) {
            if (!file.path.startsWith(`${spool.directory}${path.sep}`)) continue
            const to = path.join(hold!.values, `sent-${fileId}`)
            Spool.move({ from: file.path, to })
            hold!.jobFiles.set(fileId, { ...file, path: to })
          }
        }
      },
      catch: messageOf
    })
    return moving.pipe(
      Effect.catch((reason) => Effect.annotateLogs(Effect.logWarning("cannot move back what was kept"), { reason })),
      Effect.andThen(Effect.sync(() => {
        Spool.remove(spool, "resumed")
        LeaseSession.throttle(session)
      })),
      Effect.andThen(NodeTenants.tell(state))
    )
  })

/** Nobody wants what is kept, nor what runs. */
export const discard = (orphanage: Orphanage, tenant: NodeTenants.Tenant, why: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { close, kept } = orphanage
    const spool = spoolOf(orphanage, tenant)
    if (spool !== undefined) {
      tenant.session!.keeper = undefined
      kept.live.delete(spool.leaseId)
      KeptResults.closeDoor(kept, spool.leaseId)
      Spool.remove(spool, "forgotten")
    }
    return close(tenant, Leases.end(tenant.leases), why)
  })

/** What ran under a lease was closed: nothing more is kept for it. */
export const finish = (kept: KeptResults.KeptResults, leaseId: string, why: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    const spool = kept.live.get(leaseId)
    if (spool === undefined) return Effect.void
    const jobs = Spool.jobs(spool)
    return Effect.andThen(
      KeptResults.endSpool(kept, spool, why),
      jobs === 0
        ? Effect.void
        : Effect.annotateLogs(Effect.logWarning("jobs of a client that is gone were killed"), {
          clientName: spool.clientName,
          jobs,
          why
        })
    )
  })

/** Has orphans of a client give way that is back without them, or that holds the session. */
export const giveWay = Effect.fnUntraced(function*(
  orphanage: Orphanage,
  { clientId, keyHash, sessionId }: {
    readonly clientId: string
    readonly sessionId: string
    readonly keyHash: string | undefined
  }
) {
  for (const tenant of orphanage.state.tenants.values()) {
    const { leases, session } = tenant
    if (leases._tag !== "Orphan" || leases.holder.clientId !== clientId) continue
    const isGivenUp = tenant.sessionId === sessionId
      ? session?.isOverfull === true
      : !leases.isAwaited || session?.keyHash === keyHash
    if (isGivenUp) yield* discard(orphanage, tenant, "its client gave it up")
  }
})

/** Another client wants the node: who has it and what for, or nothing when the orphans there were have given way. */
export const claim = Effect.fnUntraced(function*(
  orphanage: Orphanage,
  clientId: string
): Effect.fn.Return<{ readonly holder: string; readonly isGone: boolean } | undefined> {
  const { close, state, zombieInterval } = orphanage
  const others = [...state.tenants.values()].flatMap((tenant) => {
    const { leases } = tenant
    return leases._tag === "Free" || leases.holder.clientId === clientId ? [] : [{ tenant, leases }]
  })
  const [first] = others
  if (first === undefined) return undefined
  const here = others.find(({ leases }) => leases._tag !== "Orphan")
  if (here !== undefined) return { holder: here.leases.holder.clientName, isGone: false }
  const now = Number((yield* Clock.monotonicTimeNanos) / 1_000_000n)
  const spools = others.flatMap(({ tenant }) => spoolOf(orphanage, tenant) ?? [])
  const decision = Orphans.claim({
    clientName: first.leases.holder.clientName,
    goneMillis: Math.min(...others.map(({ tenant }) => now - tenant.goneAt)),
    jobs: spools.reduce((sum, spool) => sum + Spool.jobs(spool), 0),
    unwritten: spools.reduce((sum, spool) => sum + spool.pending.length, 0)
  }, Duration.toMillis(zombieInterval))
  if (decision._tag === "Wait") return { holder: decision.holder, isGone: true }
  const why = `another client took the node, after the zombie interval of ${
    Duration.format(Duration.fromInputUnsafe(zombieInterval))
  }`
  for (const { tenant } of others) yield* close(tenant, Leases.end(tenant.leases), why)
  return undefined
})
