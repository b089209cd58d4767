/** How clients get a lease of a node, go on with it, and lose it when they are silent. */
import { Clock, Deferred, Duration, Effect } from "effect"
import { randomUUID } from "node:crypto"
import * as LargeReplies from "../../domain/node/LargeReplies.ts"
import * as Leases from "../../domain/node/Leases.ts"
import { MalformedMessage, NodeBusy, NotLeased } from "../../domain/NodeError.ts"
import type { NodeInfo } from "../../domain/NodeInfo.ts"
import * as KeptResults from "./KeptResults.ts"
import * as LeaseSession from "./LeaseSession.ts"
import * as NodeFiles from "./NodeFiles.ts"
import * as NodeTenants from "./NodeTenants.ts"
import * as Orphanage from "./Orphanage.ts"

/** The shortest interval that a client can ask for. */
const leastPulse = Duration.millis(100)

/** Pulses in a row that a client may miss, as dispy has it. */
const missedPulses = 5

/** Tells a client every pulse how busy the machine is, until its lease ends; a client that tells nothing is gone. */
export const makePulse =
  (availInfo: Effect.Effect<NodeInfo["availInfo"]>, disconnect: (tenant: NodeTenants.Tenant) => Effect.Effect<void>) =>
  (tenant: NodeTenants.Tenant, session: LeaseSession.LeaseSession): Effect.Effect<unknown> =>
    Effect.flatMap(availInfo, (now) => {
      session.outbox.availInfo = now
      LeaseSession.wake(session)
      return ++session.missedPulses > missedPulses ? disconnect(tenant) : Effect.void
    }).pipe(Effect.delay(session.pulse), Effect.forever, Effect.forkIn(session.scope))

/** A connection broke: when it was the last of a client, that has a while to come back. */
export const makeCountDown = (orphanage: Orphanage.Orphanage, leaseResume: Duration.Input) =>
  Effect.fnUntraced(function*(tenant: NodeTenants.Tenant, connection: number) {
    const before = tenant.leases
    const after = tenant.leases = Leases.disconnect(before, connection)
    if (after === before || after._tag !== "Held" || after.countdown === undefined) return
    const { countdown, holder } = after
    const { session } = tenant
    const silentMillis = session === undefined ? 0 : session.missedPulses * Duration.toMillis(session.pulse)
    tenant.goneAt = Number((yield* Clock.monotonicTimeNanos) / 1_000_000n) - silentMillis
    // Of a client that has nothing here it is no news, and could be repeated to fill the log.
    const isNews = session !== undefined && session.computations.size > 0
    yield* (isNews ? Effect.logWarning : Effect.logDebug)("the client's connection broke; its jobs go on for a while")
      .pipe(Effect.annotateLogs({
        clientName: holder.clientName,
        resume: Duration.format(Duration.fromInputUnsafe(leaseResume))
      }))
    yield* Effect.suspend(() => Orphanage.expire(orphanage, tenant, countdown)).pipe(
      Effect.delay(leaseResume),
      Effect.forkIn(orphanage.scope)
    )
  })

/** A peer that skips Hello may speak anything: a defect ends its connection. */
export const greeted = (state: NodeTenants.NodeTenants, connection: number): Effect.Effect<void> =>
  state.greeted.has(connection)
    ? Effect.void
    : Effect.die(new MalformedMessage({ peer: "a client", what: "a request before Hello" }))

/** What is kept for a new lease. */
const newSession = (
  { files, scope, state }: Orphanage.Orphanage,
  { clientName, keyHash, leaseId, pulse }: Pick<
    LeaseSession.LeaseSession,
    "clientName" | "keyHash" | "leaseId" | "pulse"
  >
): LeaseSession.LeaseSession => {
  const session = LeaseSession.make({
    leaseId,
    clientName,
    keyHash,
    pulse,
    tally: state.tally,
    discardResult: (execution) => NodeFiles.discardResult(files, leaseId, execution)
  }, scope)
  NodeFiles.openLease(files, leaseId, clientName, (execution) => LargeReplies.fetched(session.large, execution))
  return session
}

/** Gives the node to a client, unless another has it. */
export const makeAcquire = (
  { cpus, name, orphanage, ownPulse, pulse }: {
    readonly orphanage: Orphanage.Orphanage
    readonly name: string
    readonly pulse: ReturnType<typeof makePulse>
    readonly ownPulse: Duration.Input
    readonly cpus: () => number
  }
) =>
  Effect.fnUntraced(function*(
    { clientId, clientName, pulseMillis, recoverKey, sessionId }: {
      readonly clientId: string
      readonly clientName: string
      readonly sessionId: string
      readonly pulseMillis?: number
      readonly recoverKey?: string
    },
    connection: number
  ) {
    const { state } = orphanage
    const keyHash = recoverKey === undefined ? undefined : KeptResults.hashOf(recoverKey)
    yield* greeted(state, connection)
    if (state.isDraining) return yield* new NodeBusy({ node: name, holder: "nobody: it is ending" })
    if (state.endingBecause !== "" && !NodeTenants.isHolder(state, clientId)) {
      return yield* new NodeBusy({ node: name, holder: `nobody who comes now: ${state.endingBecause}` })
    }
    while (true) {
      const other = yield* Orphanage.claim(orphanage, clientId)
      if (other !== undefined) return yield* new NodeBusy({ node: name, ...other })
      yield* Orphanage.giveWay(orphanage, { clientId, sessionId, keyHash })
      // Those that gave way took their time, and another may have come.
      if (NodeTenants.isOthers(state, clientId)) continue
      const tenant = NodeTenants.tenantOf(state, sessionId)
      const [leases, decision] = Leases.acquire(tenant.leases, {
        clientId,
        clientName,
        connection,
        newLeaseId: randomUUID()
      })
      tenant.leases = leases
      if (decision._tag !== "Granted") {
        yield* Deferred.await(tenant.freed)
        continue
      }
      if (decision.isNew) {
        const interval = Duration.max(leastPulse, Duration.fromInputUnsafe(pulseMillis ?? ownPulse))
        const { leaseId } = decision
        tenant.session = newSession(orphanage, { clientName, keyHash, leaseId, pulse: interval })
        // Greeted before the number changed, perhaps: nobody told this client.
        if (state.tally.cpuChanges > 0) tenant.session.outbox.cpus = cpus()
        yield* pulse(tenant, tenant.session)
        yield* Effect.logDebug("a client took the node").pipe(Effect.annotateLogs({ clientName }))
      } else {
        tenant.session!.missedPulses = 0
        yield* Orphanage.giveBack(orphanage, tenant)
      }
      return { leaseId: decision.leaseId, pulseMillis: Duration.toMillis(tenant.session!.pulse) }
    }
  })

/** Gives a lease to the connection of a client that is back. */
export const makeResume = (orphanage: Orphanage.Orphanage, name: string) =>
  Effect.fnUntraced(function*(request: { readonly leaseId: string; readonly clientId: string }, connection: number) {
    const { state } = orphanage
    for (const tenant of state.greeted.has(connection) ? state.tenants.values() : []) {
      const leases = Leases.resume(tenant.leases, { ...request, connection })
      if (leases === undefined) continue
      if (tenant.session!.isOverfull) {
        return yield* new NotLeased({
          node: name,
          what: "to resume a lease: so much came in since its client was gone that it can only be recovered"
        })
      }
      tenant.leases = leases
      tenant.session!.missedPulses = 0
      yield* Orphanage.giveBack(orphanage, tenant)
      return yield* Effect.logDebug("a client is back").pipe(
        Effect.annotateLogs({ clientName: tenant.session!.clientName })
      )
    }
    return yield* new NotLeased({ node: name, what: "to resume a lease" })
  })
