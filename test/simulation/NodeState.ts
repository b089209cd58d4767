/** What a simulated daemon knows, and how a lease of it ends. */
import type * as Leases from "../../src/domain/node/Leases.ts"
import * as LeaseSession from "../../src/layers/node/LeaseSession.ts"
import type * as Disk from "./Disk.ts"
import type * as Ledger from "./Ledger.ts"
import type * as Network from "./Network.ts"
import * as Random from "./Random.ts"
import * as Slots from "./Slots.ts"
import * as Spool from "./Spool.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** A lease with what is kept for it. */
export interface Tenant {
  readonly sessionId: string
  leases: Leases.Leases
  session: LeaseSession.LeaseSession | undefined
  goneAt: number
  readonly freed: Tasks.Signal<void>
}

/** Ways in which a node can be wrong, to see whether the rules notice. */
export interface NodeFlaws {
  /** It takes every dispatch, also one that it has taken. */
  readonly takesTwice?: boolean
  /** It forgets replies when it has sent them. */
  readonly forgetsSent?: boolean
  /** It gives itself to anybody. */
  readonly hasNoLeases?: boolean
  /** It writes nothing down of a client that is gone. */
  readonly keepsNothing?: boolean
}

/** See above. */
export interface Node {
  readonly world: World.World
  readonly network: Network.Network
  readonly ledger: Ledger.Ledger
  readonly process: World.Process
  readonly disk: Disk.Disk
  readonly slots: Slots.Slots
  readonly cpus: number
  readonly zombieMillis: number
  readonly flaws: NodeFlaws
  /** Ends the daemon, as a job may. */
  readonly takeDown: () => void
  readonly tenants: Map<string, Tenant>
  /** By lease. */
  readonly live: Map<string, Spool.Spool>
  readonly watchers: Set<() => void>
  sessions: number
  isDraining: boolean
}

/** Waits until this holds. */
export const until = (watchers: Set<() => void>, holds: () => boolean): Tasks.Wait<void> => (resume) => {
  const look = (): void => {
    if (!holds()) return
    watchers.delete(look)
    resume(undefined)
  }
  watchers.add(look)
  look()
  return () => watchers.delete(look)
}

/** Tells those who wait for something of the node to end. */
export const tellWatchers = (node: Node): void => {
  for (const watcher of node.watchers) watcher()
}

/** Numbers of computations in the slot pool, by what the lease knows of them. */
export const numbers = new WeakMap<object, number>()

/** Number of a computation of a lease in the slot pool. */
export const slotSession = (session: LeaseSession.LeaseSession, computationId: string): number =>
  numbers.get(session.computations.get(computationId)!)!

/** See `NodeTenants.makeCloser`. */
export const close = function*(node: Node, tenant: Tenant, next: Leases.Leases, why: string): Tasks.Task<void> {
  const isNewlyClosing = next._tag === "Closing" && (tenant.leases._tag === "Held" || tenant.leases._tag === "Orphan")
  tenant.leases = next
  if (next._tag !== "Closing") return
  if (isNewlyClosing) {
    World.note(node.world, `${node.process.name} closes the lease of ${next.holder.clientName}: ${why}`)
    Tasks.run(node.world, node.process, closeSession(node, tenant, why))
  }
  yield* Tasks.wait(Tasks.told(tenant.freed))
}

const closeSession = function*(node: Node, tenant: Tenant, why: string): Tasks.Task<void> {
  const { process, world } = node
  const session = tenant.session!
  session.stream++
  LeaseSession.wake(session)
  for (const computationId of session.computations.keys()) Slots.close(node.slots, slotSession(session, computationId))
  yield* Tasks.wait(Tasks.sleep(world, process, Random.skewed(world.random, 0.5, 100)))
  session.computations.clear()
  session.isClosed = true
  const spool = node.live.get(session.leaseId)
  if (spool !== undefined) {
    Spool.end(spool, why)
    node.live.delete(session.leaseId)
  }
  node.tenants.delete(tenant.sessionId)
  Tasks.tell(tenant.freed, undefined)
  tellWatchers(node)
}
