/**
 * A simulated daemon: the real rules of its leases, outbox, numbered messages, slots and kept results, over the simulated
 * network and disk. What `layers/node` does with fibers (`NodeServer`, `NodeLeasing`, `NodeTenants`, `Orphanage`) is done
 * here with timers and tasks, in the same order; what a lease holds is the product's own `LeaseSession`.
 */
import { Deferred, Scope } from "effect"
import * as Leases from "../../src/domain/node/Leases.ts"
import * as Numbered from "../../src/domain/node/Numbered.ts"
import * as Outbox from "../../src/domain/node/Outbox.ts"
import * as Returned from "../../src/domain/node/Returned.ts"
import { MalformedMessage } from "../../src/domain/NodeError.ts"
import { countJobs } from "../../src/domain/wire/Entries.ts"
import * as LeaseSession from "../../src/layers/node/LeaseSession.ts"
import * as Leasing from "./Leasing.ts"
import type { Node, Tenant } from "./NodeState.ts"
import * as NodeState from "./NodeState.ts"
import * as Random from "./Random.ts"
import * as Recover from "./Recover.ts"
import * as Rpc from "./Rpc.ts"
import * as Slots from "./Slots.ts"
import * as Spool from "./Spool.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** Starts a daemon. */
export const start = (
  options: Pick<
    Node,
    "world" | "network" | "ledger" | "process" | "disk" | "cpus" | "zombieMillis" | "flaws" | "takeDown"
  >
): Node => {
  const { cpus, ledger, network, process, takeDown, world } = options
  const node: Node = {
    ...options,
    slots: Slots.make({ world, ledger, process, takeDown }, cpus),
    tenants: new Map(),
    live: new Map(),
    watchers: new Set(),
    sessions: 0,
    isDraining: false
  }
  network.listeners.set(process.machine.name, {
    process,
    accept: (end) =>
      Rpc.serve(
        world,
        network,
        end,
        (what, payload, connection, stream) => handle(node, what, payload, connection, stream),
        (connection) => {
          for (const tenant of node.tenants.values()) Leasing.countDown(node, tenant, connection)
        }
      )
  })
  return node
}

const tenantWith = (node: Node, leaseId: string, connection: number): Tenant | undefined => {
  for (const tenant of node.tenants.values()) if (Leases.isHeldBy(tenant.leases, connection, leaseId)) return tenant
  return undefined
}

const sessionOf = (node: Node, leaseId: string, connection: number): LeaseSession.LeaseSession | undefined => {
  const session = tenantWith(node, leaseId, connection)?.session
  if (session !== undefined) session.missedPulses = 0
  return session
}

const handle = function*(
  node: Node,
  what: string,
  payload: Leasing.Payload,
  connection: number,
  stream: (source: Rpc.Source) => Tasks.Task<void>
): Tasks.Task<Rpc.Answer> {
  if (what === "Hello") return Rpc.done({ incarnation: node.process.name, cpus: node.cpus })
  if (what === "AcquireLease") return yield* Leasing.acquire(node, payload, connection)
  if (what === "ResumeLease") return Leasing.resume(node, payload, connection)
  if (what === "Recover") return yield* Recover.recover(node, payload.recoverKey!, payload.terminatePending, stream)
  if (what === "Forget") return yield* Recover.forget(node, payload.recoverKey!)
  if (what === "ReleaseLease") {
    const tenant = tenantWith(node, payload.leaseId, connection)
    if (tenant !== undefined) {
      yield* NodeState.close(node, tenant, Leases.release(tenant.leases, payload.leaseId), "released")
    }
    return Rpc.done(undefined)
  }
  const session = sessionOf(node, payload.leaseId, connection)
  if (session === undefined) return Leasing.notLeased(node, what)
  switch (what) {
    case "Pulse":
      return Rpc.done(undefined)
    case "Events":
      yield* stream(subscribe(node, session, payload.received))
      return Rpc.done(undefined)
    case "OpenComputation":
      return yield* openComputation(node, session, payload)
    case "Dispatch":
      return dispatch(node, session, payload)
    case "CancelJobs":
      LeaseSession.cancel(session, payload.computationId, payload.jobIds)
      return Rpc.done(undefined)
    case "SetCpus":
      LeaseSession.setCpus(session, payload.computationId, payload.cpus)
      return Rpc.done(undefined)
    case "CloseComputation":
      yield* closeComputation(node, session, payload.computationId)
      return Rpc.done(undefined)
    default:
      return World.fail(`nobody answers ${what}`)
  }
}

const openComputation = function*(
  node: Node,
  session: LeaseSession.LeaseSession,
  { computationId, cpus }: Leasing.Payload
): Tasks.Task<Rpc.Answer> {
  const { process, world } = node
  const known = session.computations.get(computationId)
  if (known !== undefined) {
    while (known.executor === undefined && !session.isClosed) yield* Tasks.wait(Tasks.sleep(world, process, 5))
    return Rpc.done(undefined)
  }
  const opening: Parameters<typeof LeaseSession.receive>[2] = {
    name: computationId,
    scope: Scope.makeUnsafe(),
    opened: Deferred.makeUnsafe(),
    executor: undefined,
    opening: undefined,
    closed: undefined,
    outstanding: 0
  }
  session.computations.set(computationId, opening)
  const number = ++node.sessions
  NodeState.numbers.set(opening, number)
  const ready = Tasks.signal<void>()
  Slots.open(node.slots, number, {
    computationId,
    cpus,
    emit: LeaseSession.receive(session, computationId, opening),
    ready: () => {
      opening.executor = Slots.sessionOf(node.slots, number)
      Tasks.tell(ready, undefined)
    }
  })
  yield* Tasks.wait(Tasks.told(ready))
  return Rpc.done(undefined)
}

const closeComputation = function*(
  node: Node,
  session: LeaseSession.LeaseSession,
  computationId: string
): Tasks.Task<void> {
  const computation = session.computations.get(computationId)
  if (computation === undefined) return
  const closed = closings.get(computation) ?? Tasks.signal<void>()
  if (computation.closed === undefined) {
    closings.set(computation, closed)
    computation.closed = Deferred.makeUnsafe<void>()
    Outbox.drop(session.outbox, computationId)
    Slots.close(node.slots, NodeState.slotSession(session, computationId))
    // Whoever asked may be gone before it is done.
    World.after(node.world, node.process, Random.skewed(node.world.random, 0.5, 50), "", () => {
      session.computations.delete(computationId)
      Outbox.drop(session.outbox, computationId)
      session.onQuiet?.()
      Tasks.tell(closed, undefined)
    })
  }
  yield* Tasks.wait(Tasks.told(closed))
}

const closings = new WeakMap<object, Tasks.Signal<void>>()

/** See `NodeServer.makeDispatch`. */
const dispatch = (
  node: Node,
  session: LeaseSession.LeaseSession,
  { acknowledged, batch, computationId, sequence }: Leasing.Payload
): Rpc.Answer => {
  LeaseSession.acknowledge(session, acknowledged)
  if (!Numbered.take(session.taken, sequence)) {
    World.count(node.world, "dispatches that had been taken")
    if (node.flaws.takesTwice !== true) return Rpc.done(undefined)
  }
  if (batch.length === 0) return Rpc.done(undefined)
  const count = countJobs(batch)
  if (node.isDraining) {
    LeaseSession.reply(session, computationId, Returned.repliesTo(batch, count, 1.7e12 + node.world.now))
    return Rpc.done(undefined)
  }
  if (LeaseSession.dispatch(session, computationId, batch, count)) return Rpc.done(undefined)
  return Rpc.failed(new MalformedMessage({ peer: "the client", what: `jobs for a computation that is not open` }))
}

/** See `LeaseSession.subscribe`. */
const subscribe = (node: Node, session: LeaseSession.LeaseSession, received: number): Rpc.Source => {
  const stream = ++session.stream
  LeaseSession.acknowledge(session, received)
  Outbox.rewind(session.outbox, received)
  LeaseSession.wake(session)
  return function*() {
    while (true) {
      if (session.stream !== stream) return undefined
      const events = Outbox.take(session.outbox)
      if (events !== undefined) {
        if (node.flaws.forgetsSent === true) Outbox.acknowledge(session.outbox, session.outbox.log.next)
        return events
      }
      yield* Tasks.wait<void>((resumeTask) => {
        const waiter = (): void => resumeTask(undefined)
        session.waiter = waiter
        session.onQuiet?.()
        return () => {
          if (session.waiter === waiter) session.waiter = undefined
        }
      })
    }
  }
}

/** The node's owner offers another number of cpus. */
export const offerCpus = (node: Node, cpus: number): void => {
  if (!node.process.isAlive || node.slots.pool.cpus === cpus) return
  Slots.setCpus(node.slots, cpus)
  for (const { session } of node.tenants.values()) {
    if (session === undefined) continue
    session.outbox.cpus = cpus
    LeaseSession.wake(session)
  }
}

/** The daemon is asked to end: what has not started is given back, what runs has some time. */
export const drain = function*(node: Node, graceMillis: number): Tasks.Task<void> {
  node.isDraining = true
  for (const tenant of node.tenants.values()) {
    const { leases, session } = tenant
    if (leases._tag !== "Held" || leases.countdown === undefined) continue
    if (session !== undefined && LeaseSession.isWorthKeeping(session)) Leasing.expire(node, tenant, leases.countdown)
  }
  const sessions = [...node.tenants.values()].flatMap(({ session }) => session ?? [])
  for (const session of sessions) {
    session.outbox.leaving = "the node is ending"
    LeaseSession.returnQueued(session)
    LeaseSession.wake(session)
  }
  const quiet = new Set<() => void>()
  for (const session of sessions) {
    session.onQuiet = () => {
      for (const look of quiet) look()
    }
  }
  yield* Tasks.wait(Tasks.first<unknown>(
    NodeState.until(quiet, () => sessions.every(LeaseSession.isIdle)),
    Tasks.sleep(node.world, node.process, graceMillis)
  ))
  for (const spool of node.live.values()) Spool.end(spool, "the node was ended while they ran")
  World.end(node.world, node.process, "it was asked to")
}

/** What is wrong. */
export const invariants = (node: Node): ReadonlyArray<string> => {
  const wrong = [...Slots.invariants(node.slots)]
  const holders = new Set<string>()
  for (const { leases, session } of node.tenants.values()) {
    wrong.push(...Leases.invariants(leases))
    if (leases._tag !== "Free") holders.add(leases.holder.clientId)
    if (session === undefined) continue
    const { log, pending, pendingBytes } = session.outbox
    let bytes = 0
    for (let i = log.head; i < log.batches.length; i++) bytes += log.batches[i]!.batch.length
    if (bytes !== log.bytes) wrong.push(`an outbox counts ${log.bytes} bytes and has ${bytes}`)
    let waiting = 0
    for (const chunks of pending.values()) for (const chunk of chunks) waiting += chunk.length
    if (waiting !== pendingBytes) wrong.push(`an outbox counts ${pendingBytes} pending bytes and has ${waiting}`)
    if (session.taken.beyond.size > 100) wrong.push("a lease remembers too many numbers")
  }
  if (holders.size > 1) wrong.push(`${node.process.name} is leased to ${[...holders].join(" and ")}`)
  return wrong
}
