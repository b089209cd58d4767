/** How clients get a lease of a simulated daemon, go on with it, and lose it when they are silent: as `layers/node/NodeLeasing.ts` and `Orphanage.ts` do. */
import { Duration, Scope } from "effect"
import * as Leases from "../../src/domain/node/Leases.ts"
import * as Orphans from "../../src/domain/node/Orphans.ts"
import * as Outbox from "../../src/domain/node/Outbox.ts"
import { NodeBusy, NotLeased } from "../../src/domain/NodeError.ts"
import { endedJobs } from "../../src/domain/wire/Entries.ts"
import * as LeaseSession from "../../src/layers/node/LeaseSession.ts"
import * as Ledger from "./Ledger.ts"
import type { Node, Tenant } from "./NodeState.ts"
import * as NodeState from "./NodeState.ts"
import * as Recover from "./Recover.ts"
import * as Rpc from "./Rpc.ts"
import * as Spool from "./Spool.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** What clients send; each call has some of it. */
export interface Payload {
  readonly leaseId: string
  readonly clientId: string
  readonly clientName: string
  readonly sessionId: string
  readonly pulseMillis: number
  readonly recoverKey: string | undefined
  readonly terminatePending: boolean
  readonly received: number
  readonly computationId: string
  readonly cpus: number
  readonly sequence: number
  readonly batch: Uint8Array
  readonly acknowledged: number
  readonly jobIds: ReadonlyArray<number>
}

/** How long a client whose connection broke may take to come back, and how many pulses it may miss, as in the product. */
const [resumeMillis, missedPulses] = [5000, 5]

const tally = (): LeaseSession.Tally => ({ jobsDone: 0, jobMicros: 0, cpuChanges: 0 })

/** The lease is another's, or nobody's. */
export const notLeased = (node: Node, what: string): Rpc.Answer =>
  Rpc.failed(new NotLeased({ node: node.process.machine.name, what }))

/** Gives the node to a client, unless another has it. */
export const acquire = function*(node: Node, request: Payload, connection: number): Tasks.Task<Rpc.Answer> {
  const { process, world } = node
  const busy = (holder: string, isGone = false): Rpc.Answer =>
    Rpc.failed(new NodeBusy({ node: process.machine.name, holder, ...(isGone ? { isGone } : {}) }))
  if (node.isDraining) return busy("nobody: it is ending")
  while (true) {
    const other = yield* claim(node, request.clientId)
    if (other !== undefined) return busy(other)
    yield* giveWay(node, request)
    if (isOthers(node, request.clientId)) continue
    let tenant = node.tenants.get(request.sessionId)
    if (tenant === undefined) {
      tenant = {
        sessionId: request.sessionId,
        leases: Leases.free,
        session: undefined,
        goneAt: 0,
        freed: Tasks.signal()
      }
      node.tenants.set(request.sessionId, tenant)
    }
    const { clientId, clientName } = request
    const [leases, decision] = Leases.acquire(tenant.leases, {
      clientId,
      clientName,
      connection,
      newLeaseId: `${process.name}-lease-${++node.sessions}`
    })
    tenant.leases = leases
    if (decision._tag !== "Granted") {
      yield* Tasks.wait(Tasks.told(tenant.freed))
      continue
    }
    const { leaseId } = decision
    if (decision.isNew) {
      tenant.session = LeaseSession.make({
        leaseId,
        clientName,
        keyHash: request.recoverKey,
        pulse: Duration.millis(request.pulseMillis),
        tally: tally(),
        discardResult: () => {}
      }, Scope.makeUnsafe())
      pulse(node, tenant, tenant.session, request.pulseMillis)
      if (node.slots.pool.cpus !== node.cpus) tenant.session.outbox.cpus = node.slots.pool.cpus
      World.note(world, `${process.name} is leased to ${clientName}`)
    } else {
      tenant.session!.missedPulses = 0
      giveBack(node, tenant)
    }
    return Rpc.done(leaseId)
  }
}

/** Gives a lease to the connection of a client that is back. */
export const resume = (node: Node, request: Payload, connection: number): Rpc.Answer => {
  for (const tenant of node.tenants.values()) {
    const leases = Leases.resume(tenant.leases, { ...request, connection })
    if (leases === undefined) continue
    tenant.leases = leases
    tenant.session!.missedPulses = 0
    giveBack(node, tenant)
    World.count(node.world, "resumed leases")
    return Rpc.done(undefined)
  }
  return notLeased(node, "to resume a lease")
}

/** Tells the client every pulse that the node is there; a client that tells nothing is gone. */
const pulse = (node: Node, tenant: Tenant, session: LeaseSession.LeaseSession, millis: number): void =>
  World.after(node.world, node.process, millis, "", () => {
    if (session.isClosed) return
    session.outbox.availInfo = { cpuPercent: 0, availMemoryMb: 0, availDiskMb: 0, availSwapMb: 0 } as never
    LeaseSession.wake(session)
    if (++session.missedPulses > missedPulses && tenant.leases._tag === "Held") {
      for (const connection of tenant.leases.connections) countDown(node, tenant, connection)
    }
    pulse(node, tenant, session, millis)
  })

/** A connection broke: when it was the last of a client, that has a while to come back. */
export const countDown = (node: Node, tenant: Tenant, connection: number): void => {
  const before = tenant.leases
  const now = tenant.leases = Leases.disconnect(before, connection)
  if (now === before || now._tag !== "Held" || now.countdown === undefined) return
  const { countdown } = now
  tenant.goneAt = node.world.now
  World.after(node.world, node.process, resumeMillis, "", () => expire(node, tenant, countdown))
}

/** A client has not come back in time. */
export const expire = (node: Node, tenant: Tenant, countdown: number): void => {
  if (tenant.leases._tag === "Held" && tenant.leases.countdown === countdown) observe(node, tenant.session!)
  const isKept = tenant.session !== undefined && LeaseSession.isWorthKeeping(tenant.session) &&
    node.flaws.keepsNothing !== true
  const next = Leases.expire(tenant.leases, countdown, isKept)
  if (next._tag !== "Orphan" || next === tenant.leases) {
    Tasks.run(node.world, node.process, NodeState.close(node, tenant, next, "its client is gone"))
    return
  }
  tenant.leases = next
  Recover.keep(node, tenant)
}

/** Whoever sees everything notes what the client of a lease, if it is gone, would lose. */
const observe = (node: Node, session: LeaseSession.LeaseSession): void => {
  if (session.keyHash === undefined) return
  const keep = (computationId: string, number: number): void =>
    Ledger.keeps(node.ledger, computationId, number, node.process.machine.name)
  for (const [computationId, { closed }] of session.computations) {
    if (closed !== undefined) continue
    const { running, waiting } = LeaseSession.jobs(session, computationId)
    for (const number of [...running, ...waiting]) keep(computationId, number)
  }
  for (const { batch, computationId } of Outbox.unacknowledged(session.outbox)) {
    for (const number of endedJobs(batch)) keep(computationId, number)
  }
}

/** See `Orphanage.claim`. */
const claim = function*(node: Node, clientId: string): Tasks.Task<string | undefined> {
  if (node.flaws.hasNoLeases === true) return undefined
  const others = [...node.tenants.values()].flatMap((tenant) => {
    const { leases } = tenant
    return leases._tag === "Free" || leases.holder.clientId === clientId ? [] : [{ tenant, leases }]
  })
  const [one] = others
  if (one === undefined) return undefined
  const here = others.find(({ leases }) => leases._tag !== "Orphan")
  if (here !== undefined) return here.leases.holder.clientName
  const spools = others.flatMap(({ tenant }) => node.live.get(tenant.session!.leaseId) ?? [])
  const decision = Orphans.claim({
    clientName: one.leases.holder.clientName,
    goneMillis: Math.min(...others.map(({ tenant }) => node.world.now - tenant.goneAt)),
    jobs: spools.reduce((sum, spool) => sum + Spool.jobs(spool), 0),
    unwritten: spools.reduce((sum, spool) => sum + spool.pending.length, 0)
  }, node.zombieMillis)
  if (decision._tag === "Wait") return decision.holder
  World.count(node.world, `orphans ${decision._tag === "Free" ? "that were done" : "that were overdue"} gave way`)
  for (const { tenant } of others) {
    yield* NodeState.close(node, tenant, Leases.end(tenant.leases), "another client took the node")
  }
  return undefined
}

const isOthers = (node: Node, clientId: string): boolean =>
  node.flaws.hasNoLeases !== true &&
  [...node.tenants.values()].some(({ leases }) => leases._tag !== "Free" && leases.holder.clientId !== clientId)

const giveWay = function*(node: Node, request: Payload): Tasks.Task<void> {
  for (const tenant of node.tenants.values()) {
    const { leases, session } = tenant
    if (leases._tag !== "Orphan" || leases.holder.clientId !== request.clientId) continue
    const isGivenUp = tenant.sessionId === request.sessionId
      ? session?.isOverfull === true
      : !leases.isAwaited || session?.keyHash === request.recoverKey
    if (isGivenUp) yield* Recover.discard(node, tenant, "its client gave it up")
  }
}

/** The client is back: see `Orphanage.giveBack`. */
const giveBack = (node: Node, tenant: Tenant): void => {
  const session = tenant.session!
  const spool = node.live.get(session.leaseId)
  if (spool !== undefined) {
    session.keeper = undefined
    node.live.delete(session.leaseId)
    Spool.remove(spool, "resumed")
    LeaseSession.throttle(session)
    World.count(node.world, "orphans whose client was back")
  }
  NodeState.tellWatchers(node)
}
