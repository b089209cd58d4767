/**
 * Keeps one node in use: connects, asks the node lists, takes the lease, offers
 * every computation, passes on what the node tells, and starts over when the node
 * is lost or was not there.
 *
 * ```
 * connecting ──▶ connected ──▶ (lost: NodeLost) ──▶ missing ──▶ connecting …
 *     ├──▶ missing   does not answer            tried again every retryInterval
 *     ├──▶ busy      leased to another client   tried again every retryInterval
 *     └──▶ idle      no node list wants it      tried again when one may
 * ```
 */
import { Clock, Deferred, Effect, FiberSet, Stream } from "effect"
import { MalformedMessage, NodeUnreachable } from "../../domain/NodeError.ts"
import type { NodeEvent } from "../../domain/NodeRpcs.ts"
import { countReplies } from "../../domain/wire/Entries.ts"
import type { ClusterConfig } from "../../services/ClusterConfig.ts"
import type { FileTransfer, TransferSession } from "../../services/FileTransfer.ts"
import type { NodeLauncher } from "../../services/NodeLauncher.ts"
import type { NodeConnection, NodeLink } from "../../services/NodeLink.ts"
import type { RecoverLog } from "../../services/RecoverLog.ts"
import type { ConnectedNode } from "./ConnectedNode.ts"
import * as JobFiles from "./JobFiles.ts"
import * as Member from "./Member.ts"
import * as Seater from "./Seater.ts"

/** What a supervisor works with. */
export interface Environment extends Seater.Environment {
  readonly link: NodeLink["Service"]
  readonly transfer: FileTransfer["Service"]
  readonly launcher: NodeLauncher["Service"]
  readonly config: ClusterConfig["Service"]
  readonly recoverLog: RecoverLog["Service"]
  /** The computations that are open, by id. */
  readonly rolls: Map<string, Member.Roll>
}

/** How long a relay may take to tell of itself. */
const relayMillis = 1000

/** Keeps the node in use until interrupted. */
export const supervise = (self: Member.Member, env: Environment): Effect.Effect<never> =>
  session(self, env).pipe(
    Effect.scoped,
    // Typed errors are reported where they happen; a defect must not end the supervision of a node for good.
    Effect.catch(() => Effect.void),
    Effect.catchDefect((defect) => report(self, env, "missing", `a bug in dispy: ${String(defect)}`)),
    Effect.andThen(
      Effect.suspend(() => self.state === "idle" ? self.reconsider.await : Effect.sleep(env.config.retryInterval))
    ),
    Effect.forever
  )

/** What a member is from now on. */
interface Standing {
  readonly state: Member.Member["state"]
  readonly reason: string
}

/** Says whether the state is another one than before. */
const enter = (self: Member.Member, env: Environment, { reason, state }: Standing): boolean => {
  const isNews = self.state !== state
  self.state = state
  self.reason = reason
  env.changed.openUnsafe()
  return isNews
}

const report = (
  self: Member.Member,
  env: Environment,
  state: Member.Member["state"],
  reason: string
): Effect.Effect<void> =>
  Effect.suspend(() => enter(self, env, { state, reason }) ? warn(self, { state, reason }) : Effect.void)

const warn = (self: Member.Member, { reason, state }: Standing): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (state !== "busy" && state !== "missing") return Effect.void
    // Nobody misses a node that was only looked for, or turns out to be a relay.
    const warning = Effect.suspend(() =>
      state === "busy" || self.isListed
        ? Effect.logWarning(`going on without node ${self.address}: ${reason}`)
        : Effect.void
    )
    return state === "missing" && self.mayBeRelay && self.info === undefined
      ? Effect.delay(warning, relayMillis)
      : warning
  })

/** The part of an error's message that does not name the node again. */
const reasonOf = (error: { readonly _tag: string; readonly message: string; readonly reason?: string }): string =>
  error._tag === "NodeUnreachable" && error.reason !== undefined ? error.reason : error.message

/** Whether the node is in use already, at another of its addresses. */
const isKnown = (self: Member.Member, env: Environment): boolean =>
  self.info !== undefined && env.engine.nodes.has(self.info.incarnation)

/** Leaves the node to the member that has it, as long as that has it; nothing is wrong with that. */
const yieldToOther = (self: Member.Member, env: Environment): Effect.Effect<void> =>
  Effect.sync(() => {
    self.state = "missing"
    self.reason = "it is the same node as another entry of the list"
    env.changed.openUnsafe()
  })

/** One life of a connection, from dialling to its end. */
const session = Effect.fnUntraced(function*(self: Member.Member, env: Environment) {
  if (isKnown(self, env)) return yield* yieldToOther(self, env)
  self.reconsider.closeUnsafe()
  if (self.state === "idle") self.state = "connecting"
  if (env.rolls.size === 0) yield* self.reconsider.await
  const opened = yield* dial(self, env).pipe(
    Effect.tapError((error) => report(self, env, error._tag === "NodeBusy" ? "busy" : "missing", reasonOf(error)))
  )
  if (opened === undefined) return yield* report(self, env, "idle", "")
  if (opened === "known" || isKnown(self, env)) return yield* yieldToOther(self, env)
  const lost = yield* Deferred.make<never, NodeUnreachable | MalformedMessage>()
  const released = yield* Deferred.make<void>()
  self.release = () => Deferred.doneUnsafe(released, Effect.void)
  const node = yield* join(self, env, opened, lost)
  const end = yield* node.connection.events(node.leaseId, 0).pipe(
    Stream.runForEach((event) => take(self, env, node, event)),
    Effect.andThen(new NodeUnreachable({ address: self.address, reason: "the node ended the connection" })),
    Effect.raceFirst(Deferred.await(lost)),
    Effect.flip,
    Effect.raceFirst(Effect.as(Deferred.await(released), undefined))
  )
  if (end === undefined) {
    return leave(self, env, node, "no computation uses it any more", { state: "idle", reason: "" })
  }
  const missing = { state: "missing", reason: self.isLeaving ? self.reason : reasonOf(end) } as const
  leave(self, env, node, reasonOf(end), missing)
  yield* warn(self, missing)
})

/** Asks a node list, and tells its author of a mistake in there. */
const decide = (self: Member.Member, seating: Member.Seating): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const isWanted = Member.decide(self, seating)
    return seating.allocation.isMistake === true && seating.state === "unused"
      ? Effect.as(Effect.logWarning(`node ${self.address} is not used: ${seating.reason}`), isWanted)
      : Effect.succeed(isWanted)
  })

/** How long a node may take to be given back. */
const releaseTimeout = "5 seconds"

/** Gives a lease back; what could not be given back is when the node is there again. */
const release = (self: Member.Member, connection: NodeConnection, leaseId: string): Effect.Effect<void> =>
  connection.release(leaseId).pipe(
    Effect.timeout(releaseTimeout),
    Effect.matchEffect({
      onSuccess: () => Effect.void,
      onFailure: () =>
        Effect.sync(() => {
          self.unreleased = leaseId
        })
    })
  )

/** What the node still does under a lease from before it was lost is nobody's any more, and is not to be recovered. */
const giveUp = (self: Member.Member, env: Environment, connection: NodeConnection): Effect.Effect<void> =>
  Effect.suspend(() => {
    const leaseId = self.unreleased
    self.unreleased = ""
    return leaseId === "" ? Effect.void : connection.resume(leaseId, env.config.client.clientId).pipe(
      Effect.andThen(connection.release(leaseId)),
      Effect.timeout(releaseTimeout),
      // The node has forgotten it, or goes away again.
      Effect.ignore
    )
  })

/** Connects, and takes the lease if a computation wants the node. */
const dial = Effect.fnUntraced(function*(self: Member.Member, env: Environment) {
  const address = self.target._tag === "Local"
    ? yield* env.launcher.launch.pipe(
      Effect.mapError((error) => {
        self.failure = error
        return new NodeUnreachable({ address: "local", reason: error.message })
      })
    )
    : self.target
  const connection = yield* env.link.connect(address)
  yield* giveUp(self, env, connection)
  self.info = connection.info
  self.ipAddr = connection.ipAddr
  self.updateTime = yield* Clock.currentTimeMillis
  if (isKnown(self, env)) return "known" as const
  /** Computations that were asked, and whether they want the node. */
  const asked = new Map<Member.Roll, boolean>()
  for (const roll of env.rolls.values()) asked.set(roll, yield* decide(self, Member.seatingOf(self, roll)))
  if (![...asked.values()].includes(true)) return undefined
  // A node embedded in this client ends with it, and one that dials out can be asked by nobody else.
  const recoverKey = address._tag === "Tcp" ? yield* env.recoverLog.key : undefined
  const { client, pulseMillis } = env.config
  const { leaseId } = yield* connection.acquire(client, crypto.randomUUID(), pulseMillis, recoverKey)
  yield* Effect.addFinalizer(() => release(self, connection, leaseId))
  if (address._tag === "Tcp" && recoverKey !== undefined) {
    yield* env.recoverLog.leased({ host: address.host, port: address.port, name: connection.info.name })
  }
  const { incarnation } = connection.info
  const transfer = yield* env.transfer.open(address._tag === "Parked" ? { ...address, incarnation } : address, leaseId)
  return { connection, leaseId, transfer, asked }
})

const join = Effect.fnUntraced(function*(
  self: Member.Member,
  env: Environment,
  opened: {
    readonly connection: NodeConnection
    readonly leaseId: string
    readonly transfer: TransferSession
    readonly asked: ReadonlyMap<Member.Roll, boolean>
  },
  lost: Deferred.Deferred<never, NodeUnreachable | MalformedMessage>
) {
  const { info } = opened.connection
  const node: ConnectedNode = {
    id: info.incarnation,
    leaseId: opened.leaseId,
    address: self.address,
    connection: opened.connection,
    transfer: opened.transfer,
    received: 0,
    acknowledged: 0,
    unacknowledgedBytes: 0,
    hasFetched: false,
    jobsDone: 0,
    busyMicros: 0,
    sentBytes: 0,
    receivedBytes: 0,
    fail: (reason) => {
      Deferred.doneUnsafe(lost, Effect.fail(new NodeUnreachable({ address: self.address, reason })))
    }
  }
  self.isLeaving = false
  // However it was found: it is in use now, and its end is news.
  self.isListed = true
  self.node = node
  const run = self.run = yield* FiberSet.makeRuntime()
  self.offer = (roll) => {
    const seating = Member.seatingOf(self, roll)
    if (seating.state === "opening" || seating.state === "ready" || seating.state === "closing") return
    run(
      Effect.flatMap(
        decide(self, seating),
        (isWanted) => isWanted ? Seater.open(self, node, seating, env) : Effect.sync(() => env.changed.openUnsafe())
      )
    )
  }
  env.engine.nodes.set(node.id, node)
  env.engine.addresses.set(node.id, self.address)
  env.engine.post({ _tag: "NodeJoined", nodeId: node.id, cpus: info.cpus })
  yield* Effect.addFinalizer(() => Effect.sync(() => leave(self, env, node, "the cluster was closed")))
  for (const roll of env.rolls.values()) {
    const isWanted = opened.asked.get(roll)
    if (isWanted === undefined) self.offer(roll)
    else if (isWanted) run(Seater.open(self, node, Member.seatingOf(self, roll), env))
  }
  yield* report(self, env, "connected", "")
  return node
})

const leave = (
  self: Member.Member,
  env: Environment,
  node: ConnectedNode,
  reason: string,
  standing?: Standing
): void => {
  if (self.node !== node) return
  self.node = undefined
  // First of all: who is told that it is closed sees why.
  if (standing !== undefined) enter(self, env, standing)
  self.offer = () => {}
  self.release = () => {}
  self.jobsDone += node.jobsDone
  self.busyMicros += node.busyMicros
  self.sentBytes += node.sentBytes
  self.receivedBytes += node.receivedBytes
  env.engine.nodes.delete(node.id)
  env.engine.post({ _tag: "NodeLost", nodeId: node.id, reason })
  for (const seating of self.seatings.values()) {
    const wasReady = seating.state === "ready" || seating.state === "closing"
    if (wasReady || seating.state === "opening") seating.state = "waiting"
    if (wasReady) Seater.tell(self, seating, env, "Closed")
  }
}

const take = (
  self: Member.Member,
  env: Environment,
  node: ConnectedNode,
  event: NodeEvent
): Effect.Effect<void, MalformedMessage> => {
  switch (event._tag) {
    case "Replies": {
      if (countReplies(event.batch) < 0) {
        return Effect.fail(new MalformedMessage({ peer: `node ${self.address}`, what: "replies" }))
      }
      if (event.sequence <= node.received) return Effect.void
      node.received = event.sequence
      node.unacknowledgedBytes += event.batch.length
      node.receivedBytes += event.batch.length
      env.engine.take(node, event.computationId, event.batch)
      return Effect.void
    }
    case "CpusChanged": {
      self.info = { ...self.info!, cpus: event.cpus }
      env.engine.post({ _tag: "CpusChanged", nodeId: node.id, cpus: event.cpus })
      for (const seating of self.seatings.values()) if (seating.state === "ready") limit(self, seating, env, node)
      return Effect.void
    }
    case "JobFile": {
      const request = env.engine.requests.get(event.computationId)
      const job = env.engine.state.computations.get(event.computationId)?.running.get(event.jobId)
      // Only of a job that it has: a node that lies about that gets nothing into the client's directory.
      if (request === undefined || job?.nodeId !== node.id) env.engine.state.droppedReplies++
      else self.run(JobFiles.receive(node, request, job, event))
      return Effect.void
    }
    case "Pulse":
      return Effect.map(Clock.currentTimeMillis, (now) => {
        self.info = { ...self.info!, availInfo: event.availInfo }
        self.updateTime = now
        for (const seating of self.seatings.values()) {
          if (seating.state === "ready") Seater.tell(self, seating, env, "AvailInfo")
        }
      })
    case "Leaving": {
      self.isLeaving = true
      self.reason = event.reason
      env.engine.post({ _tag: "NodeLeaving", nodeId: node.id })
      return Effect.logWarning(`node ${self.address} is leaving: ${event.reason}`)
    }
  }
}

/** Asks the node list again, for a node that has another number of slots now. */
const limit = (self: Member.Member, seating: Member.Seating, env: Environment, node: ConnectedNode): void => {
  Member.decide(self, seating)
  seating.state = "ready"
  const computationId = seating.roll.request.computation.id
  env.engine.post({ _tag: "SeatLimited", nodeId: node.id, computationId, cpus: Member.cpusOf(self, seating) })
}
