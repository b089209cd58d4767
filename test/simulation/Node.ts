/**
 * A simulated daemon: the real rules of its leases, outbox, numbered messages, slots and kept results, over the simulated
 * network and disk. What `layers/node` does with fibers (`NodeServer`, `NodeLeasing`, `NodeTenants`, `Orphanage`) is done
 * here with timers and tasks, in the same order; what a lease holds is the product's own `LeaseSession`.
 */
import { Deferred, Duration, Scope } from "effect"
import * as Leases from "../../src/domain/node/Leases.ts"
import * as Numbered from "../../src/domain/node/Numbered.ts"
import * as Orphans from "../../src/domain/node/Orphans.ts"
import * as Outbox from "../../src/domain/node/Outbox.ts"
import * as Returned from "../../src/domain/node/Returned.ts"
import { MalformedMessage, NodeBusy, NotLeased } from "../../src/domain/NodeError.ts"
import { countJobs } from "../../src/domain/wire/Entries.ts"
import * as LeaseSession from "../../src/layers/node/LeaseSession.ts"
import type * as Disk from "./Disk.ts"
import * as Ledger from "./Ledger.ts"
import * as Network from "./Network.ts"
import * as Random from "./Random.ts"
import * as Recover from "./Recover.ts"
import * as Rpc from "./Rpc.ts"
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
  readonly tenants: Map<string, Tenant>
  /** By lease. */
  readonly live: Map<string, Spool.Spool>
  readonly watchers: Set<() => void>
  sessions: number
  isDraining: boolean
}

/** How long a client whose connection broke may take to come back, and how many pulses it may miss, as in the product. */
const [resumeMillis, missedPulses] = [5000, 5]

const tally = (): LeaseSession.Tally => ({ jobsDone: 0, jobMicros: 0, cpuChanges: 0 })

/** Starts a daemon. */
export const start = (
  options: Pick<Node, "world" | "network" | "ledger" | "process" | "disk" | "cpus" | "zombieMillis" | "flaws">
): Node => {
  const { cpus, ledger, network, process, world } = options
  const node: Node = {
    ...options,
    slots: Slots.make(world, ledger, process, cpus),
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
          for (const tenant of node.tenants.values()) countDown(node, tenant, connection)
        }
      )
  })
  return node
}

const notLeased = (node: Node, what: string): Rpc.Answer =>
  Rpc.failed(new NotLeased({ node: node.process.machine.name, what }))

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
  for (const watcher of [...node.watchers]) watcher()
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

interface Payload {
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

const handle = function*(
  node: Node,
  what: string,
  payload: Payload,
  connection: number,
  stream: (source: Rpc.Source) => Tasks.Task<void>
): Tasks.Task<Rpc.Answer> {
  if (what === "Hello") return Rpc.done({ incarnation: `${node.process.name}`, cpus: node.cpus })
  if (what === "AcquireLease") return yield* acquire(node, payload, connection)
  if (what === "ResumeLease") return yield* resume(node, payload, connection)
  if (what === "Recover") return yield* Recover.recover(node, payload.recoverKey!, payload.terminatePending, stream)
  if (what === "Forget") return yield* Recover.forget(node, payload.recoverKey!)
  if (what === "ReleaseLease") {
    const tenant = tenantWith(node, payload.leaseId, connection)
    if (tenant !== undefined) yield* close(node, tenant, Leases.release(tenant.leases, payload.leaseId), "released")
    return Rpc.done(undefined)
  }
  const session = sessionOf(node, payload.leaseId, connection)
  if (session === undefined) return notLeased(node, what)
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

const acquire = function*(node: Node, request: Payload, connection: number): Tasks.Task<Rpc.Answer> {
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

const resume = function*(node: Node, request: Payload, connection: number): Tasks.Task<Rpc.Answer> {
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

const countDown = (node: Node, tenant: Tenant, connection: number): void => {
  const before = tenant.leases
  const now = tenant.leases = Leases.disconnect(before, connection)
  if (now === before || now._tag !== "Held" || now.countdown === undefined) return
  const { countdown } = now
  tenant.goneAt = node.world.now
  World.after(node.world, node.process, resumeMillis, "", () => expire(node, tenant, countdown))
}

const expire = (node: Node, tenant: Tenant, countdown: number): void => {
  if (tenant.leases._tag === "Held" && tenant.leases.countdown === countdown) observe(node, tenant.session!)
  const isKept = tenant.session !== undefined && LeaseSession.isWorthKeeping(tenant.session) &&
    node.flaws.keepsNothing !== true
  const next = Leases.expire(tenant.leases, countdown, isKept)
  if (next._tag !== "Orphan" || next === tenant.leases) {
    Tasks.run(node.world, node.process, close(node, tenant, next, "its client is gone"))
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
    for (const number of Ledger.jobsIn(batch)) keep(computationId, number)
  }
}

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
  for (const { tenant } of others) yield* close(node, tenant, Leases.end(tenant.leases), "another client took the node")
  return undefined
}

const isOthers = (node: Node, clientId: string): boolean =>
  node.flaws.hasNoLeases !== true &&
  [...node.tenants.values()].some(({ leases }) => leases._tag !== "Free" && leases.holder.clientId !== clientId)

const giveWay = function*(node: Node, request: Payload): Tasks.Task<void> {
  for (const tenant of [...node.tenants.values()]) {
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
  tellWatchers(node)
}

const slotSession = (session: LeaseSession.LeaseSession, computationId: string): number =>
  numbers.get(session.computations.get(computationId)!)!

/** Numbers of computations in the slot pool, by what the lease knows of them. */
const numbers = new WeakMap<object, number>()

const openComputation = function*(
  node: Node,
  session: LeaseSession.LeaseSession,
  { computationId, cpus }: Payload
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
  numbers.set(opening, number)
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
    Slots.close(node.slots, slotSession(session, computationId))
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
  { acknowledged, batch, computationId, sequence }: Payload
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
  for (const tenant of [...node.tenants.values()]) {
    const { leases, session } = tenant
    if (leases._tag !== "Held" || leases.countdown === undefined) continue
    if (session !== undefined && LeaseSession.isWorthKeeping(session)) expire(node, tenant, leases.countdown)
  }
  const sessions = [...node.tenants.values()].flatMap(({ session }) => session ?? [])
  for (const session of sessions) {
    session.outbox.leaving = "the node is ending"
    LeaseSession.returnQueued(session)
    LeaseSession.wake(session)
  }
  const quiet = new Set<() => void>()
  for (const session of sessions) session.onQuiet = () => [...quiet].forEach((look) => look())
  yield* Tasks.wait(Tasks.first<unknown>(
    until(quiet, () => sessions.every(LeaseSession.isIdle)),
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
