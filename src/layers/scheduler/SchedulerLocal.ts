/** The scheduler in the client's own process: what `JobCluster` uses. */
import { Effect, Latch, Layer, type Scope } from "effect"
import type { CannotStart, ComputationRefused } from "../../domain/NodeError.ts"
import { ClusterConfig } from "../../services/ClusterConfig.ts"
import { NodeLauncher } from "../../services/NodeLauncher.ts"
import { NodeLink } from "../../services/NodeLink.ts"
import { type NodeStatus, Scheduler, type SchedulerRequest, type SchedulerSession } from "../../services/Scheduler.ts"
import * as Engine from "./Engine.ts"
import * as NodeSupervisor from "./NodeSupervisor.ts"

/** How far the nodes are with a computation. */
type Progress = "undecided" | "ready" | "settled"

const progressOf = (all: ReadonlyArray<NodeSupervisor.Supervised>, computationId: string): Progress => {
  const openings = all.map((one) => one.openings.get(computationId))
  const isUndecided = all.some((one, i) =>
    one.state === "connecting" ||
    (one.state === "connected" && (openings[i] === undefined || openings[i] === "opening"))
  )
  if (!isUndecided) return "settled"
  return openings.includes("ready") ? "ready" : "undecided"
}

/**
 * Why no job can ever run: every node that answered refused the computation, or the only node there would be, this
 * machine's, does not start. Nodes that do not answer may yet appear.
 */
const refusalOf = (
  all: ReadonlyArray<NodeSupervisor.Supervised>,
  computationId: string
): CannotStart | ComputationRefused | undefined => {
  if (all.every((one) => one.failure !== undefined)) return all[0]?.failure
  const answered = all.filter((one) => one.state === "connected").map((one) => one.openings.get(computationId))
  const first = answered[0]
  return typeof first === "object" && answered.every((one) => typeof one === "object") ? first : undefined
}

const make = Effect.gen(function*() {
  const config = yield* ClusterConfig
  const engine = yield* Engine.make
  const changed = Latch.makeUnsafe(false)
  const env: NodeSupervisor.Environment = {
    engine,
    changed,
    config,
    link: yield* NodeLink,
    launcher: yield* NodeLauncher
  }
  const all = config.nodes.map(NodeSupervisor.make)
  yield* Effect.forEach(all, (one) => Effect.forkScoped(NodeSupervisor.supervise(one, env)))

  const awaitProgress = (computationId: string, wanted: ReadonlyArray<Progress>): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (wanted.includes(progressOf(all, computationId))) return Effect.void
      changed.closeUnsafe()
      return Effect.andThen(changed.await, awaitProgress(computationId, wanted))
    })

  /** Every node has had its chance, or one is ready and the others have had some time more. */
  const settled = (computationId: string): Effect.Effect<void> =>
    awaitProgress(computationId, ["settled"]).pipe(
      Effect.raceFirst(
        awaitProgress(computationId, ["ready", "settled"]).pipe(Effect.andThen(Effect.sleep(config.settleTime)))
      )
    )

  const close = (computationId: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      engine.post({ _tag: "ComputationClosed", computationId, reason: "its cluster was closed" })
      return Effect.forEach(
        [...engine.nodes.values()],
        (node) => node.connection.closeComputation(node.leaseId, computationId).pipe(Effect.ignore),
        { concurrency: "unbounded", discard: true }
      )
    }).pipe(Effect.timeoutOption("10 seconds"), Effect.asVoid)

  const open = Effect.fn("Scheduler.open")(function*(request: SchedulerRequest): Effect.fn.Return<
    SchedulerSession,
    CannotStart | ComputationRefused,
    Scope.Scope
  > {
    const { computation } = request
    const statusOf = () => all.map((one) => NodeSupervisor.statusOf(one, computation.id, engine))
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        engine.requests.set(computation.id, request)
        engine.post({ _tag: "ComputationOpened", computationId: computation.id, isReentrant: request.isReentrant })
        for (const one of all) one.offer(computation)
      }),
      () => close(computation.id)
    )
    const say = Effect.suspend(() => Effect.logWarning(`still waiting for nodes; ${reasonsOf(statusOf())}`))
    yield* settled(computation.id).pipe(
      Effect.raceFirst(say.pipe(Effect.delay(config.stallInterval), Effect.andThen(Effect.never)))
    )
    const refusal = refusalOf(all, computation.id)
    if (refusal !== undefined) return yield* refusal
    const session: SchedulerSession = {
      submit: (job) => engine.submit(computation.id, job),
      cancel: (job, reason) => engine.post({ _tag: "Cancelled", computationId: computation.id, jobs: [job], reason }),
      nodes: statusOf,
      addressOf: (nodeId) => engine.addresses.get(nodeId) ?? "",
      cpus: () => all.reduce((sum, one) => one.openings.get(computation.id) === "ready" ? sum + one.cpus : sum, 0)
    }
    yield* Effect.forkScoped(warnOfStalls(session, request, engine, config))
    return session
  })

  return Scheduler.of({ open })
})

/** What every node is doing about a computation. */
const reasonsOf = (nodes: ReadonlyArray<NodeStatus>): string =>
  nodes.map((node) => `${node.address}: ${node.reason === "" ? node.state : node.reason}`).join("; ")

/** Says from time to time why jobs wait when nothing moves, so that a program never just hangs. */
const warnOfStalls = Effect.fnUntraced(function*(
  session: SchedulerSession,
  request: SchedulerRequest,
  engine: Engine.Engine,
  config: ClusterConfig["Service"]
) {
  let isWarned = false
  while (true) {
    yield* Effect.sleep(config.stallInterval)
    const computation = engine.state.computations.get(request.computation.id)
    const isStalled = computation !== undefined && computation.waiting.size > 0 && computation.running.size === 0
    if (isStalled && !isWarned) {
      const jobs = `${computation.waiting.size} jobs of ${request.computation.name}`
      yield* Effect.logWarning(`${jobs} wait because no node takes them; ${reasonsOf(session.nodes())}`)
    }
    isWarned = isStalled
  }
})

/** The scheduler in the client's own process. */
export const layer: Layer.Layer<Scheduler, never, ClusterConfig | NodeLink | NodeLauncher> = Layer.effect(
  Scheduler,
  make
)
