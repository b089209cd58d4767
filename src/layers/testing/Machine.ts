/**
 * A node in memory as a machine on a network: the handlers of a real node over jobs in this process, started, killed and
 * started again; and the paths that its messages take, which can be closed, slow, or lead to nobody.
 */
import { Clock, Context, type Duration, Effect, Exit, Layer, References, Scope } from "effect"
import { RpcServer } from "effect/rpc"
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import type { Duplex } from "node:stream"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import type { PlannedNode } from "../../domain/testing/TestNodePlan.ts"
import { BulkDoor } from "../../services/BulkDoor.ts"
import * as ExecutorConfig from "../../services/ExecutorConfig.ts"
import type { PartitionDirection } from "../../services/Faults.ts"
import * as NodeConfig from "../../services/NodeConfig.ts"
import { NodeLifecycle } from "../../services/NodeLifecycle.ts"
import { NodeOwner } from "../../services/NodeOwner.ts"
import * as JobExecutorMemory from "../executor/JobExecutorMemory.ts"
import * as HostStatsFixed from "../host/HostStatsFixed.ts"
import * as NodeServer from "../node/NodeServer.ts"
import * as Gate from "./Gate.ts"
import * as JobExecutorHeld from "./JobExecutorHeld.ts"

/** What all machines of a test share. */
export interface Ground {
  /** Directory of the nodes' files; made when it is needed. */
  readonly home: string
  /** Something happened that somebody may wait for. */
  readonly changed: () => void
}

type Rpcs = typeof NodeRpcs extends { readonly requests: ReadonlyMap<string, infer R> } ? R : never

type Server = RpcServer.RpcServer<Rpcs>

/** What the node sends over a connection. */
export type FromNode = Parameters<Parameters<typeof RpcServer.makeNoSerialization<Rpcs>>[1]["onFromServer"]>[0]

/** What a client sends. */
export type FromClient = Parameters<Server["write"]>[1]

/** A connection, as the machine sees it. */
export interface Line {
  readonly receive: (message: FromNode) => Effect.Effect<void>
  /** Tells the client that there is no connection any more. */
  readonly reset: Effect.Effect<void>
}

/** A node from its start to its end. */
export interface Running {
  readonly scope: Scope.Closeable
  readonly server: Server
  readonly lifecycle: NodeLifecycle["Service"]
  readonly door: BulkDoor["Service"]
  readonly lines: Map<number, Line>
  /** What runs on behalf of the node has its clock and its log, whoever sets it off. */
  readonly own: Context.Context<never>
}

/** A machine. */
export interface Machine extends PlannedNode {
  readonly ipAddr: string
  readonly ground: Ground
  /** Undefined while nobody listens there. */
  running: Running | undefined
  /** Closed while the node is frozen. */
  readonly thawed: Gate.Gate
  /** The ways to the node and back. */
  readonly toNode: Gate.Gate
  readonly fromNode: Gate.Gate
  partition: "none" | PartitionDirection
  delayMillis: number
  /** Closed while messages are delayed. */
  readonly prompt: Gate.Gate
  isDuplicating: boolean
  readonly holding: JobExecutorHeld.Holding
  /** Both ends of its bulk connections. */
  readonly bulk: Set<Duplex>
}

/** A machine on which nothing runs. */
export const make = (planned: PlannedNode, ipAddr: string, ground: Ground): Machine => ({
  ...planned,
  ipAddr,
  ground,
  running: undefined,
  thawed: Gate.make(),
  toNode: Gate.make(),
  fromNode: Gate.make(),
  partition: "none",
  delayMillis: 0,
  prompt: Gate.make(),
  isDuplicating: false,
  holding: JobExecutorHeld.make(),
  bulk: new Set()
})

/** Whether what is sent arrives at once. */
export const isPrompt = ({ fromNode, prompt, thawed, toNode }: Machine): boolean =>
  [thawed, toNode, fromNode, prompt].every(({ isOpen }) => isOpen)

/** A clock that nobody looks at while the node is frozen: what was due meanwhile is done after that. */
const clockOf = (machine: Machine, clock: Clock.Clock): Clock.Clock =>
  Object.assign(Object.create(clock) as Clock.Clock, {
    sleep: (duration: Duration.Duration) => Effect.andThen(clock.sleep(duration), Gate.open([machine.thawed]))
  })

/** The daily business of a node is none of its client's, and its end no news to a test. */
const ownOf = (machine: Machine, clock: Clock.Clock): Context.Context<never> =>
  Context.make(Clock.Clock, clockOf(machine, clock)).pipe(Context.add(References.MinimumLogLevel, "Error"))

const layerOf = (machine: Machine, incarnation: string, own: Context.Context<never>) => {
  const { cpus, ground, holding, ipAddr, name, thawed } = machine
  // While it starts it does not run yet, and has no computation.
  const isDead = (): boolean => machine.running?.own !== own
  const start = (computationId: string, jobId: number): Effect.Effect<void> =>
    Effect.andThen(
      Gate.open([thawed]),
      Effect.suspend(() => {
        // Killed while it was frozen: what waits is about to be interrupted.
        if (isDead()) return Effect.never
        holding.running.add(JobExecutorHeld.keyOf(computationId, jobId))
        ground.changed()
        return Effect.void
      })
    )
  return NodeServer.layer.pipe(
    Layer.provide(JobExecutorHeld.layer(holding)),
    Layer.provide(JobExecutorMemory.layerWatched({ start, isDead })),
    Layer.provide([
      NodeConfig.layer({
        name,
        incarnation,
        directory: join(ground.home, `${name}-${incarnation}`, "node"),
        clientShutdown: true
      }),
      HostStatsFixed.layer({ hostName: name, cpus }),
      ExecutorConfig.layer({ cpus, nodeName: name, ipAddr, environment: {} })
    ]),
    Layer.provide(Layer.succeedContext(own)),
    Layer.fresh
  )
}

/** Starts the node, unless it runs. */
export const start = (machine: Machine, parent: Scope.Scope): Effect.Effect<void> =>
  Effect.gen(function*() {
    if (machine.running !== undefined) return
    const scope = yield* Scope.fork(parent)
    const own = ownOf(machine, yield* Clock.Clock)
    const services = yield* Layer.buildWithScope(layerOf(machine, randomUUID(), own), scope)
    const lines = new Map<number, Line>()
    const server = yield* RpcServer.makeNoSerialization(NodeRpcs, {
      disableTracing: true,
      onFromServer: (response) => lines.get(response.clientId)?.receive(response) ?? Effect.void
    }).pipe(
      Effect.provideContext(Context.merge(services, own)),
      Scope.provide(scope)
    )
    const running: Running = {
      scope,
      server,
      lifecycle: Context.get(services, NodeLifecycle),
      door: Context.get(services, BulkDoor),
      lines,
      own
    }
    machine.running = running
    const owner = Context.get(services, NodeOwner)
    // A client may shut the node down, and it ends when it is free.
    yield* owner.untilShutDown.pipe(
      Effect.andThen(owner.untilFree),
      // Not in the node's own scope, which that closes.
      Effect.andThen(
        Effect.forkIn(Effect.suspend(() => machine.running === running ? kill(machine) : Effect.void), parent)
      ),
      Effect.forkIn(scope)
    )
    machine.ground.changed()
  })

/** Resets all connections. */
export const reset = (machine: Machine): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { running } = machine
    if (running === undefined) return Effect.void
    const lines = [...running.lines]
    running.lines.clear()
    for (const end of machine.bulk) end.destroy()
    machine.bulk.clear()
    return Effect.forEach(lines, ([id, line]) => Effect.andThen(line.reset, disconnect(running, id)), { discard: true })
  })

/** The node notices that a connection is gone. */
export const disconnect = ({ lifecycle, own, server }: Running, id: number): Effect.Effect<void> =>
  Effect.provideContext(Effect.andThen(server.disconnect(id), lifecycle.disconnected(id)), own)

/** Ends the node with all that it has. */
export const kill = (machine: Machine): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { running } = machine
    if (running === undefined) return Effect.void
    machine.running = undefined
    const lines = [...running.lines.values()]
    running.lines.clear()
    for (const end of machine.bulk) end.destroy()
    machine.bulk.clear()
    machine.holding.running.clear()
    // Whatever of it waits to go on is to end.
    Gate.set(machine.thawed, true)
    return Effect.forEach(lines, (line) => line.reset, { discard: true }).pipe(
      Effect.andThen(Effect.provideContext(Scope.close(running.scope, Exit.void), running.own)),
      Effect.andThen(Effect.sync(machine.ground.changed))
    )
  })
