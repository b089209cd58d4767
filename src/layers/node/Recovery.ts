/**
 * The requests of whoever has the key of a client that is gone: everything that is kept under it, then what comes, and
 * the word that it can go. Several may ask at a time, and again: each reads for itself.
 */
import { Cause, Effect, type Pull, Stream } from "effect"
import { NothingKept } from "../../domain/NodeError.ts"
import type { KeptEvent } from "../../domain/NodeRpcs.ts"
import * as KeptResults from "./KeptResults.ts"
import * as LeaseSession from "./LeaseSession.ts"
import * as NodeTenants from "./NodeTenants.ts"
import * as Orphanage from "./Orphanage.ts"
import * as Spool from "./Spool.ts"
import * as SpoolReader from "./SpoolReader.ts"

type Events = readonly [KeptEvent, ...Array<KeptEvent>]

const tenantsWith = (state: NodeTenants.NodeTenants, keyHash: string): ReadonlyArray<NodeTenants.Tenant> =>
  [...state.tenants.values()].filter(({ session }) => session?.keyHash === keyHash)

const isCountingDown = ({ leases }: NodeTenants.Tenant): boolean =>
  leases._tag === "Held" && leases.countdown !== undefined

/** Orphans under a key. One whose connection broke a moment ago is waited for: it is back, or is one. */
const orphans = Effect.fnUntraced(function*(
  { state }: Orphanage.Orphanage,
  node: string,
  keyHash: string
) {
  yield* NodeTenants.until(state, () => !tenantsWith(state, keyHash).some(isCountingDown))
  const tenants = tenantsWith(state, keyHash)
  const held = tenants.find(({ leases }) => leases._tag === "Held")
  if (held !== undefined) return yield* connected(node, held.session!.clientName)
  return tenants
})

const connected = (node: string, clientName: string): NothingKept =>
  new NothingKept({ node, reason: `its client ${clientName} is connected`, isInUse: true })

const nothing = (node: string): NothingKept =>
  new NothingKept({ node, reason: "it keeps no results of this client (any more)" })

/** What the readers read, in turns, until none has more to come. */
const pullFrom = (
  readers: ReadonlyArray<SpoolReader.SpoolReader>,
  { kept }: Orphanage.Orphanage,
  node: string
): Pull.Pull<Events, NothingKept> => {
  const killed = `node ${node} was killed, or its machine went down, while they ran`
  const spools = readers.flatMap(({ spool }) => spool ?? [])
  const pull: Pull.Pull<Events, NothingKept> = Effect.suspend(() => {
    const back = spools.find((spool) => spool.gone === "resumed")
    if (back !== undefined) return Effect.fail(connected(node, back.clientName))
    for (const reader of readers) {
      const events = SpoolReader.next(reader, killed)
      for (const event of events) if (event._tag === "KeptLease") KeptResults.openDoor(kept, reader.directory, event)
      if (events.length > 0) return Effect.succeed(events as unknown as Events)
    }
    return readers.every(({ isDone }) => isDone) ? Cause.done() : Effect.andThen(change, pull)
  })
  const change = Effect.raceAllFirst(spools.map((spool) => Spool.untilChanged(spool)))
  return pull
}

/** Everything that is kept under a key, and what comes until no job runs any more. */
export const recover = (
  orphanage: Orphanage.Orphanage,
  node: string,
  { recoverKey, terminatePending }: { readonly recoverKey: string; readonly terminatePending: boolean }
): Stream.Stream<KeptEvent, NothingKept> =>
  Stream.unwrap(Effect.gen(function*() {
    const keyHash = KeptResults.hashOf(recoverKey)
    const tenants = yield* orphans(orphanage, node, keyHash)
    const readers = KeptResults.find(orphanage.kept, keyHash)
    if (readers.length === 0) return yield* nothing(node)
    for (const { session } of terminatePending ? tenants : []) {
      for (const computationId of session!.computations.keys()) {
        const { running, waiting } = LeaseSession.jobs(session!, computationId)
        LeaseSession.cancel(session!, computationId, [...waiting, ...running])
      }
    }
    yield* Effect.logInfo("the results of a client that is gone are recovered").pipe(
      Effect.annotateLogs({
        leases: readers.length,
        jobs: readers.reduce((sum, { spool }) => sum + (spool === undefined ? 0 : Spool.jobs(spool)), 0)
      })
    )
    return Stream.fromPull(Effect.sync(() => pullFrom(readers, orphanage, node)))
  }))

/** What is kept under a key goes, and what runs for it is killed. */
export const forget = Effect.fnUntraced(function*(orphanage: Orphanage.Orphanage, node: string, recoverKey: string) {
  const keyHash = KeptResults.hashOf(recoverKey)
  const tenants = yield* orphans(orphanage, node, keyHash)
  const readers = KeptResults.find(orphanage.kept, keyHash)
  if (tenants.length === 0 && readers.length === 0) return yield* nothing(node)
  for (const tenant of tenants) yield* Orphanage.discard(orphanage, tenant, "what it kept was fetched")
  yield* Effect.sync(() => {
    for (const reader of readers) KeptResults.remove(orphanage.kept, reader)
  })
  yield* Effect.logInfo("removed the results of a client that is gone: they were fetched").pipe(
    Effect.annotateLogs({ leases: readers.length })
  )
})
