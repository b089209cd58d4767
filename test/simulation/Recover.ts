/** How a simulated node keeps what it has for a client that is gone, and gives it to whoever has the key: as `layers/node/Orphanage.ts` and `Recovery.ts` do. */
import { Duration } from "effect"
import * as Leases from "../../src/domain/node/Leases.ts"
import * as Outbox from "../../src/domain/node/Outbox.ts"
import { NothingKept } from "../../src/domain/NodeError.ts"
import * as LeaseSession from "../../src/layers/node/LeaseSession.ts"
import * as Orphanage from "../../src/layers/node/Orphanage.ts"
import * as Disk from "./Disk.ts"
import type { Node, Tenant } from "./NodeState.ts"
import * as NodeState from "./NodeState.ts"
import * as Rpc from "./Rpc.ts"
import * as Spool from "./Spool.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** Pulses for which a client tries to come back. */
const awaitedPulses = 5

/** The client of a lease is gone: what it does not have is kept, and what comes. */
export const keep = (node: Node, tenant: Tenant): void => {
  const { disk, ledger, live, process, world } = node
  const session = tenant.session!
  const { clientName, keyHash, leaseId, outbox } = session
  const replies = Outbox.unacknowledged(outbox)
  const spool = Spool.make(
    { world, ledger, process, disk, path: Spool.pathOf(keyHash!, leaseId) },
    leaseId,
    Orphanage.leaseOf(session, replies)
  )
  live.set(leaseId, spool)
  World.count(world, "orphaned leases")
  World.note(world, `${process.name} keeps what it has for ${clientName}: ${Spool.jobs(spool)} jobs without a reply`)
  session.keeper = {
    replies: (computationId, entries) => Spool.addReplies(spool, computationId, entries),
    file: () => {},
    backlogBytes: () => 0
  }
  for (const { batch, computationId } of replies) {
    session.keeper.replies(computationId, batch)
  }
  const task = function*(): Tasks.Task<void> {
    const isOver = (): boolean => Spool.isOver(spool)
    yield* Tasks.wait(Tasks.sleep(world, process, Duration.toMillis(session.pulse) * awaitedPulses))
    if (!isOver()) tenant.leases = Leases.giveUp(tenant.leases)
    yield* Tasks.wait(
      NodeState.until(spool.watchers, () => (Spool.jobs(spool) === 0 && spool.pending.length === 0) || isOver())
    )
    if (!isOver()) yield* NodeState.close(node, tenant, Leases.end(tenant.leases), "its jobs have ended")
  }
  Tasks.run(world, process, task())
  NodeState.tellWatchers(node)
}

/** Nobody wants what is kept, nor what runs. */
export const discard = function*(node: Node, tenant: Tenant, why: string): Tasks.Task<void> {
  const spool = node.live.get(tenant.session!.leaseId)
  if (spool !== undefined) {
    tenant.session!.keeper = undefined
    node.live.delete(tenant.session!.leaseId)
    for (const job of spool.keeps) job.kept.delete(node.process.machine.name)
    Spool.remove(spool, "forgotten")
  }
  yield* NodeState.close(node, tenant, Leases.end(tenant.leases), why)
}

const nothing = (node: Node, reason: string, isInUse = false): Rpc.Answer =>
  Rpc.failed(new NothingKept({ node: node.process.machine.name, reason, ...(isInUse ? { isInUse } : {}) }))

const tenantsWith = (node: Node, key: string): ReadonlyArray<Tenant> =>
  [...node.tenants.values()].filter(({ session }) => session?.keyHash === key)

const orphans = function*(node: Node, key: string): Tasks.Task<ReadonlyArray<Tenant> | "Held"> {
  const isCounting = ({ leases }: Tenant): boolean => leases._tag === "Held" && leases.countdown !== undefined
  yield* Tasks.wait(NodeState.until(node.watchers, () => !tenantsWith(node, key).some(isCounting)))
  const tenants = tenantsWith(node, key)
  return tenants.some(({ leases }) => leases._tag === "Held") ? "Held" : tenants
}

const find = (node: Node, key: string): ReadonlyArray<Spool.Reader> => {
  const live = [...node.live.values()].filter(({ path }) => path.startsWith(`kept/${key}/`))
  const ended = Disk.list(node.disk, `kept/${key}/`).filter((path) => !live.some((spool) => spool.path === path))
  return [
    ...ended.filter((path) => Disk.read(node.disk, path)!.length > 0).map((path) =>
      Spool.reader(path.slice(path.lastIndexOf("/") + 1), node.disk, path)
    ),
    ...live.map((spool) => Spool.reader(spool.kept.leaseId, node.disk, spool.path, spool))
  ]
}

/** Everything that is kept under a key, and what comes until no job runs any more. */
export const recover = function*(
  node: Node,
  key: string,
  terminatePending: boolean,
  stream: (source: Rpc.Source) => Tasks.Task<void>
): Tasks.Task<Rpc.Answer> {
  const tenants = yield* orphans(node, key)
  if (tenants === "Held") return nothing(node, "its client is connected", true)
  const readers = find(node, key)
  if (readers.length === 0) return nothing(node, "it keeps no results of this client (any more)")
  for (const { session } of terminatePending ? tenants : []) {
    for (const computationId of session!.computations.keys()) {
      const { running, waiting } = LeaseSession.jobs(session!, computationId)
      LeaseSession.cancel(session!, computationId, [...waiting, ...running])
    }
  }
  let isBack = false
  yield* stream(function*() {
    while (true) {
      const spools = readers.flatMap(({ spool }) => spool ?? [])
      if (spools.some(({ gone }) => gone === "resumed")) {
        isBack = true
        return undefined
      }
      for (const reader of readers) {
        const events = Spool.next(reader, "the node was killed while they ran")
        if (events.length > 0) return events
      }
      if (readers.every(({ isDone }) => isDone)) return undefined
      yield* Tasks.wait<void>((told) => {
        const resume = (): void => told(undefined)
        for (const { watchers } of spools) watchers.add(resume)
        return () => {
          for (const { watchers } of spools) watchers.delete(resume)
        }
      })
    }
  })
  return isBack ? nothing(node, "its client is connected", true) : Rpc.done(undefined)
}

/** What is kept under a key goes, and what runs for it is killed. */
export const forget = function*(node: Node, key: string): Tasks.Task<Rpc.Answer> {
  const tenants = yield* orphans(node, key)
  if (tenants === "Held") return nothing(node, "its client is connected", true)
  const readers = find(node, key)
  if (tenants.length === 0 && readers.length === 0) return nothing(node, "it keeps nothing (any more)")
  for (const tenant of tenants) yield* discardFetched(node, tenant)
  for (const { path } of readers) node.disk.files.delete(path)
  return Rpc.done(undefined)
}

/** Like `discard`, for what was handed over. */
const discardFetched = function*(node: Node, tenant: Tenant): Tasks.Task<void> {
  const spool = node.live.get(tenant.session!.leaseId)
  if (spool !== undefined) {
    tenant.session!.keeper = undefined
    node.live.delete(tenant.session!.leaseId)
    Spool.remove(spool, "forgotten")
  }
  yield* NodeState.close(node, tenant, Leases.end(tenant.leases), "what it kept was fetched")
}
