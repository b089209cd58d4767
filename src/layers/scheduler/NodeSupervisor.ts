/**
 * Keeps one entry of the node list in use: connects, takes the lease, offers
 * every computation, passes on what the node tells, and starts over when the
 * node is lost or was not there.
 *
 * ```
 * connecting ──▶ ready ──▶ (lost: NodeLost) ──▶ missing ──▶ connecting …
 *     ├──▶ missing   does not answer            tried again every retryInterval
 *     └──▶ busy      leased to another client   tried again every retryInterval
 * ```
 */
import { Deferred, Effect, FiberSet, type Latch, Stream } from "effect"
import type { Computation } from "../../domain/Computation.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { type CannotStart, ComputationRefused, MalformedMessage, NodeUnreachable } from "../../domain/NodeError.ts"
import type { AvailInfo } from "../../domain/NodeInfo.ts"
import type { NodeEvent } from "../../domain/NodeRpcs.ts"
import { countReplies } from "../../domain/wire/Entries.ts"
import type { ClusterConfig } from "../../services/ClusterConfig.ts"
import type { NodeLauncher } from "../../services/NodeLauncher.ts"
import type { NodeConnection, NodeLink } from "../../services/NodeLink.ts"
import type { NodeStatus } from "../../services/Scheduler.ts"
import type { ConnectedNode, Engine } from "./Engine.ts"

/** What became of a computation on the entry's node. */
export type Opening = "opening" | "ready" | ComputationRefused

/** An entry of the node list and the node behind it. */
export interface Supervised {
  readonly entry: NodeAddress.NodeEntry
  readonly address: string
  state: "connecting" | "connected" | "missing" | "busy"
  reason: string
  name: string
  cpus: number
  availInfo: AvailInfo | undefined
  isLeaving: boolean
  /** Why the node of this machine did not start, if it did not. */
  failure: CannotStart | undefined
  node: ConnectedNode | undefined
  /** By computation, since the node was last connected. */
  readonly openings: Map<string, Opening>
  /** Offers another computation to the node if it is connected. */
  offer: (computation: Computation) => void
  /** Numbers of the nodes before, so that a table counts a node that came back as one. */
  jobsDone: number
  busyMicros: number
}

/** What a supervisor works with. */
export interface Environment {
  readonly engine: Engine
  readonly link: NodeLink["Service"]
  readonly launcher: NodeLauncher["Service"]
  readonly config: ClusterConfig["Service"]
  /** Opens whenever an entry's state or an opening changes. */
  readonly changed: Latch.Latch
}

/** An entry that was not tried yet. */
export const make = (entry: NodeAddress.NodeEntry): Supervised => ({
  entry,
  address: entry._tag === "Local" ? "local" : NodeAddress.format(entry),
  state: "connecting",
  reason: "",
  name: "",
  cpus: 0,
  availInfo: undefined,
  isLeaving: false,
  failure: undefined,
  node: undefined,
  openings: new Map(),
  offer: () => {},
  jobsDone: 0,
  busyMicros: 0
})

/** The entry as a cluster sees it. */
export const statusOf = (supervised: Supervised, computationId: string, engine: Engine): NodeStatus => {
  const opening = supervised.openings.get(computationId)
  const node = supervised.node
  const seat = node === undefined ? undefined : engine.state.nodes.get(node.id)?.seats.get(computationId)
  const [state, reason]: readonly [NodeStatus["state"], string] = supervised.state !== "connected"
    ? [supervised.state, supervised.reason]
    : supervised.isLeaving
    ? ["leaving", supervised.reason]
    : opening === "ready"
    ? ["ready", ""]
    : opening === undefined || opening === "opening"
    ? ["connecting", "loading the computation"]
    : ["refused", opening.reason]
  return {
    address: supervised.address,
    name: supervised.name,
    state,
    reason,
    cpus: supervised.cpus,
    busy: seat?.outstanding ?? 0,
    jobsDone: supervised.jobsDone + (node?.jobsDone ?? 0),
    cpuTime: (supervised.busyMicros + (node?.busyMicros ?? 0)) / 1000,
    availInfo: supervised.availInfo
  }
}

/** Keeps the entry in use until interrupted. */
export const supervise = (self: Supervised, env: Environment): Effect.Effect<never> =>
  session(self, env).pipe(
    Effect.scoped,
    // Typed errors are reported where they happen; a defect must not end the supervision of a node for good.
    Effect.catch(() => Effect.void),
    Effect.catchDefect((defect) => report(self, env, "missing", `a bug in dispy: ${String(defect)}`)),
    Effect.andThen(Effect.sleep(env.config.retryInterval)),
    Effect.forever
  )

const report = (self: Supervised, env: Environment, state: Supervised["state"], reason: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    const isNews = self.state !== state
    self.state = state
    self.reason = reason
    env.changed.openUnsafe()
    return isNews && state !== "connected"
      ? Effect.logWarning(`going on without node ${self.address}: ${reason}`)
      : Effect.void
  })

/** The part of an error's message that does not name the node again. */
const reasonOf = (error: { readonly _tag: string; readonly message: string; readonly reason?: string }): string =>
  error._tag === "NodeUnreachable" && error.reason !== undefined ? error.reason : error.message

/** One life of a connection, from dialling to its end. */
const session = Effect.fnUntraced(function*(self: Supervised, env: Environment) {
  const opened = yield* dial(self, env).pipe(
    Effect.tapError((error) => report(self, env, error._tag === "NodeBusy" ? "busy" : "missing", reasonOf(error)))
  )
  if (env.engine.nodes.has(opened.connection.info.incarnation)) {
    yield* report(self, env, "missing", "it is the same node as another entry of the list")
    return yield* Effect.never
  }
  const lost = yield* Deferred.make<never, NodeUnreachable | MalformedMessage>()
  const node = yield* join(self, env, opened, lost)
  const end = yield* node.connection.events(node.leaseId).pipe(
    Stream.runForEach((event) => take(self, env, node, event)),
    Effect.andThen(new NodeUnreachable({ address: self.address, reason: "the node ended the connection" })),
    Effect.raceFirst(Deferred.await(lost)),
    Effect.flip
  )
  leave(self, env, node, reasonOf(end))
  yield* report(self, env, "missing", self.isLeaving ? self.reason : reasonOf(end))
})

const dial = Effect.fnUntraced(function*(self: Supervised, env: Environment) {
  const address = self.entry._tag === "Local"
    ? yield* env.launcher.launch.pipe(
      Effect.mapError((error) => {
        self.failure = error
        return new NodeUnreachable({ address: "local", reason: error.message })
      })
    )
    : self.entry
  const connection = yield* env.link.connect(address)
  const leaseId = yield* connection.acquire(env.config.client, crypto.randomUUID())
  yield* Effect.addFinalizer(() => connection.release(leaseId).pipe(Effect.timeoutOption("5 seconds"), Effect.ignore))
  return { connection, leaseId }
})

const join = Effect.fnUntraced(function*(
  self: Supervised,
  env: Environment,
  opened: { readonly connection: NodeConnection; readonly leaseId: string },
  lost: Deferred.Deferred<never, NodeUnreachable | MalformedMessage>
) {
  const { info } = opened.connection
  const node: ConnectedNode = {
    id: info.incarnation,
    leaseId: opened.leaseId,
    connection: opened.connection,
    received: 0,
    acknowledged: 0,
    unacknowledgedBytes: 0,
    jobsDone: 0,
    busyMicros: 0,
    fail: (reason) => {
      Deferred.doneUnsafe(lost, Effect.fail(new NodeUnreachable({ address: self.address, reason })))
    }
  }
  self.name = info.name
  self.cpus = info.cpus
  self.availInfo = info.availInfo
  self.isLeaving = false
  self.node = node
  self.openings.clear()
  const run = yield* FiberSet.makeRuntime()
  self.offer = (computation) => {
    self.openings.set(computation.id, "opening")
    run(openOn(self, env, node, computation))
  }
  env.engine.nodes.set(node.id, node)
  env.engine.addresses.set(node.id, self.address)
  env.engine.post({ _tag: "NodeJoined", nodeId: node.id, cpus: info.cpus })
  yield* Effect.addFinalizer(() => Effect.sync(() => leave(self, env, node, "the cluster was closed")))
  for (const request of env.engine.requests.values()) self.offer(request.computation)
  yield* report(self, env, "connected", "")
  return node
})

const leave = (self: Supervised, env: Environment, node: ConnectedNode, reason: string): void => {
  if (self.node !== node) return
  self.node = undefined
  self.offer = () => {}
  self.jobsDone += node.jobsDone
  self.busyMicros += node.busyMicros
  env.engine.nodes.delete(node.id)
  env.engine.post({ _tag: "NodeLost", nodeId: node.id, reason })
}

const openOn = (
  self: Supervised,
  env: Environment,
  node: ConnectedNode,
  computation: Computation
): Effect.Effect<void> =>
  node.connection.openComputation(node.leaseId, computation).pipe(
    Effect.matchEffect({
      onSuccess: () =>
        Effect.sync(() => {
          self.openings.set(computation.id, "ready")
          env.engine.post({ _tag: "NodeReady", nodeId: node.id, computationId: computation.id })
        }),
      onFailure: (error) => {
        if (error._tag !== "ComputationRefused") return Effect.sync(() => node.fail(reasonOf(error)))
        const refused = new ComputationRefused({
          node: self.address,
          computation: error.computation,
          reason: error.reason
        })
        self.openings.set(computation.id, refused)
        return Effect.logWarning(refused.message)
      }
    }),
    Effect.ensuring(Effect.sync(() => env.changed.openUnsafe()))
  )

const take = (
  self: Supervised,
  env: Environment,
  node: ConnectedNode,
  event: NodeEvent
): Effect.Effect<void, MalformedMessage> => {
  switch (event._tag) {
    case "Replies": {
      if (countReplies(event.batch) < 0) {
        return Effect.fail(new MalformedMessage({ peer: `node ${self.address}`, what: "replies" }))
      }
      node.received = Math.max(node.received, event.sequence)
      node.unacknowledgedBytes += event.batch.length
      env.engine.post({
        _tag: "Replied",
        nodeId: node.id,
        computationId: event.computationId,
        batch: event.batch
      })
      return Effect.void
    }
    case "CpusChanged": {
      self.cpus = event.cpus
      env.engine.post({ _tag: "CpusChanged", nodeId: node.id, cpus: event.cpus })
      return Effect.void
    }
    case "Pulse": {
      self.availInfo = event.availInfo
      return Effect.void
    }
    case "Leaving": {
      self.isLeaving = true
      self.reason = event.reason
      env.engine.post({ _tag: "NodeLeaving", nodeId: node.id })
      return Effect.logWarning(`node ${self.address} is leaving: ${event.reason}`)
    }
  }
}
