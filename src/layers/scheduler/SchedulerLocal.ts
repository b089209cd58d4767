/** The scheduler in the client's own process: what `JobCluster` uses. */
import { Effect, type Fiber, FiberSet, Latch, Layer, type Scope, Stream } from "effect"
import type { Computation } from "../../domain/Computation.ts"
import type { DispyNode } from "../../domain/DispyNode.ts"
import * as IpAddress from "../../domain/IpAddress.ts"
import type { CannotStart, ComputationRefused } from "../../domain/NodeError.ts"
import * as NodeList from "../../domain/NodeList.ts"
import * as JobQueue from "../../domain/scheduler/JobQueue.ts"
import * as Trials from "../../domain/scheduler/Trials.ts"
import { ClusterConfig } from "../../services/ClusterConfig.ts"
import { Discovery, type FoundRelay } from "../../services/Discovery.ts"
import { FileTransfer } from "../../services/FileTransfer.ts"
import { NodeLauncher } from "../../services/NodeLauncher.ts"
import { NodeLink } from "../../services/NodeLink.ts"
import { type JobJournal, RecoverLog } from "../../services/RecoverLog.ts"
import { Scheduler, type SchedulerRequest, type SchedulerSession } from "../../services/Scheduler.ts"
import * as Engine from "./Engine.ts"
import * as Member from "./Member.ts"
import * as NodeFile from "./NodeFile.ts"
import * as NodeSupervisor from "./NodeSupervisor.ts"
import * as Seater from "./Seater.ts"
import * as Steering from "./Steering.ts"

/** How long nodes may take to end the jobs of a computation; its `cleanup` has its own time. */
const closeMillis = 10_000

/** How far the nodes are with a computation. */
type Progress = "undecided" | "ready" | "settled"

const seatingsOf = (members: Iterable<Member.Member>, computationId: string) =>
  [...members].map((member) => ({ member, seating: member.seatings.get(computationId) }))

const progressOf = (members: Iterable<Member.Member>, computationId: string): Progress => {
  const all = seatingsOf(members, computationId)
  const isUndecided = all.some(({ member, seating }) =>
    member.state === "connecting" ||
    (member.state === "idle" && (seating === undefined || seating.state === "waiting")) ||
    (member.state === "connected" &&
      (seating === undefined || seating.state === "waiting" || seating.state === "opening"))
  )
  if (!isUndecided) return "settled"
  return all.some(({ seating }) => seating?.state === "ready") ? "ready" : "undecided"
}

/**
 * Why no job can ever run: every node that answered refused the computation, or the only node there would be, this
 * machine's, does not start. Nodes that do not answer may yet appear.
 */
const refusalOf = (
  members: ReadonlyArray<Member.Member>,
  computationId: string
): CannotStart | ComputationRefused | undefined => {
  if (members.length > 0 && members.every((one) => one.failure !== undefined)) return members[0]?.failure
  const answered = seatingsOf(members, computationId).filter(({ member }) => member.state === "connected")
  const isRefused = answered.length > 0 && answered.every(({ seating }) => seating?.state === "refused")
  return isRefused ? answered[0]?.seating?.refusal : undefined
}

/** Whether an entry may mean several nodes: a pattern, or a host name, which may have several addresses. */
const isForMany = (target: NodeList.NodeTarget): boolean =>
  target._tag === "Pattern" ||
  (target._tag === "Tcp" && target.host !== "localhost" && IpAddress.forms(target.host).length === 0)

const make = Effect.gen(function*() {
  const config = yield* ClusterConfig
  const discovery = yield* Discovery
  const recoverLog = yield* RecoverLog
  /** What remembers the jobs of durable computations. */
  const journals = new Map<string, JobJournal>()
  const engine: Engine.Engine = yield* Engine.make({
    send: recoverLog.flush,
    take: (nodeId, computationId, batch) =>
      journals.get(computationId)?.replied(engine.addresses.get(nodeId) ?? "", batch)
  })
  const env: NodeSupervisor.Environment = {
    engine,
    changed: Latch.makeUnsafe(false),
    config,
    rolls: new Map(),
    link: yield* NodeLink,
    transfer: yield* FileTransfer,
    launcher: yield* NodeLauncher,
    recoverLog
  }
  const members = new Map<string, Member.Member>()
  /** Discovery that goes on, by its targets. */
  const looking = new Map<string, Fiber.Fiber<unknown>>()
  const run = yield* FiberSet.makeRuntime()

  const add = (
    target: Member.Target,
    isListed: boolean,
    { listedAs = "", mayBeRelay = false } = {}
  ): void => {
    const known = members.get(Member.addressOf(target))
    if (known !== undefined) {
      known.isListed ||= isListed
      known.mayBeRelay ||= mayBeRelay
      if (known.listedAs !== "" || listedAs === "") return
      // A name means it now, and so may computations that have no use for its address.
      known.listedAs = listedAs
      for (const roll of env.rolls.values()) Steering.offer(known, roll)
      return
    }
    const member = Member.make(target, isListed)
    member.listedAs = listedAs
    member.mayBeRelay = mayBeRelay
    members.set(member.address, member)
    run(NodeSupervisor.supervise(member, env))
  }

  /** Nobody misses a node where a relay is; one that is there all the same is used. */
  const noteRelay = ({ host, port }: FoundRelay): void => {
    const member = members.get(NodeList.format({ _tag: "Tcp", host, port }))
    if (member === undefined || member.node !== undefined) return
    member.isListed = false
    env.changed.openUnsafe()
  }

  const look = (targets: ReadonlyArray<NodeList.NodeTarget>): Effect.Effect<void> =>
    Effect.sync(() => {
      const mayBeRelay = targets.some(({ _tag }) => _tag === "Pattern")
      for (const target of targets) if (target._tag !== "Pattern") add(target, true, { mayBeRelay })
      if (!targets.some(isForMany)) return
      // Asked again, discovery starts anew: it pings often at first.
      const key = targets.map(NodeList.format).toSorted().join(" ")
      looking.get(key)?.interruptUnsafe()
      looking.set(
        key,
        run(
          Stream.runForEach(discovery.found(targets), (found) =>
            Effect.sync(() => {
              if (found._tag === "Relay") return noteRelay(found)
              const { listedAs = "", ...node } = found
              add(node, false, { listedAs })
            }))
        )
      )
    })

  const fleet: Steering.Fleet = { members, look }
  yield* look(config.nodes.map(({ target }) => target))

  const awaitProgress = (computationId: string, wanted: ReadonlyArray<Progress>): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (wanted.includes(progressOf(members.values(), computationId))) return Effect.void
      env.changed.closeUnsafe()
      return Effect.andThen(env.changed.await, awaitProgress(computationId, wanted))
    })

  /** Every node has had its chance, or one is ready and the others have had some time more. */
  const settled = (computationId: string): Effect.Effect<void> =>
    awaitProgress(computationId, ["settled"]).pipe(
      Effect.raceFirst(
        awaitProgress(computationId, ["ready", "settled"]).pipe(Effect.andThen(Effect.sleep(config.settleTime)))
      )
    )

  const close = ({ id: computationId, lifecycle }: Computation): Effect.Effect<void> =>
    Effect.suspend(() => {
      env.rolls.delete(computationId)
      engine.post({ _tag: "ComputationClosed", computationId, reason: "its cluster was closed" })
      return Effect.forEach(
        members.values(),
        (member) => {
          const seating = member.seatings.get(computationId)
          const { node } = member
          if (node === undefined || seating === undefined) return Effect.void
          const wasReady = seating.state === "ready" || seating.state === "closing"
          seating.isClosed = true
          seating.state = "closed"
          seating.reason = "its cluster was closed"
          return node.connection.closeComputation(node.leaseId, computationId).pipe(
            Effect.ignore,
            Effect.andThen(Effect.sync(() => {
              if (wasReady) Seater.tell(member, seating, env, "Closed")
            }))
          )
        },
        { concurrency: "unbounded", discard: true }
      )
    }).pipe(
      Effect.timeoutOption(closeMillis + (lifecycle?.cleanup === undefined ? 0 : lifecycle.timeoutMillis)),
      Effect.andThen(Effect.sync(() => {
        for (const member of members.values()) member.seatings.delete(computationId)
      }))
    )

  /** Remembers the computation, and its jobs if it is durable. */
  const remember = Effect.fnUntraced(function*(asked: SchedulerRequest) {
    const { computation, isReentrant, setupArgs, sources = [] } = asked
    const durable = asked.isDurable === true ? { durable: { computation, sources, setupArgs } } : {}
    const journal = yield* recoverLog.opened({
      id: computation.id,
      name: computation.name,
      mayRunTwice: isReentrant,
      ...durable
    })
    const onRetried: SchedulerRequest["onRetried"] = (job, reply) => {
      recoverLog.retried(computation.id)
      asked.onRetried(job, reply)
    }
    // The lost node may have a reply as well, or tell that there will be none.
    const onRequeued: SchedulerRequest["onRequeued"] = (jobs) => {
      if (jobs.some(Trials.isTried)) recoverLog.retried(computation.id)
      asked.onRequeued(jobs)
    }
    if (journal === undefined) return { journal, request: { ...asked, onRetried, onRequeued } }
    journals.set(computation.id, journal)
    yield* Effect.addFinalizer(() => Effect.sync(() => journals.delete(computation.id)))
    const request: SchedulerRequest = {
      ...asked,
      onRetried,
      onDispatched: (jobs, nodeId) => {
        journal.sent(engine.addresses.get(nodeId) ?? "", jobs.map(({ number }) => number))
        asked.onDispatched(jobs, nodeId)
      },
      onRequeued: (jobs) => {
        journal.returned(jobs.map(({ number }) => number))
        onRequeued(jobs)
      }
    }
    return { journal, request }
  })

  const open = Effect.fn("Scheduler.open")(function*(asked: SchedulerRequest): Effect.fn.Return<
    SchedulerSession,
    CannotStart | ComputationRefused,
    Scope.Scope
  > {
    const { computation } = asked
    const { journal, request } = yield* remember(asked)
    const roll: Member.Roll = { request, rules: request.nodes ?? config.nodes }
    const nodes = () => Steering.nodesOf(fleet, roll, env)
    yield* look(request.nodes?.map(({ target }) => target) ?? [])
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        engine.requests.set(computation.id, request)
        env.rolls.set(computation.id, roll)
        engine.post({
          _tag: "ComputationOpened",
          computationId: computation.id,
          isReentrant: request.isReentrant,
          concurrency: computation.concurrency ?? 1
        })
        for (const member of members.values()) Steering.offer(member, roll)
      }),
      () => close(computation)
    )
    const say = Effect.suspend(() => Effect.logWarning(`still waiting for nodes; ${reasonsOf(nodes())}`))
    yield* settled(computation.id).pipe(
      Effect.raceFirst(say.pipe(Effect.delay(config.stallInterval), Effect.andThen(Effect.never)))
    )
    const refusal = refusalOf([...members.values()].filter((member) => isOf(member, roll)), computation.id)
    if (refusal !== undefined) return yield* refusal
    const session: SchedulerSession = {
      journal,
      submit: (job) => engine.submit(computation.id, job),
      cancel: (job, reason) => engine.post({ _tag: "Cancelled", computationId: computation.id, jobs: [job], reason }),
      sendFile: (sent) => NodeFile.send(members.get(sent.address), computation.id, sent),
      nodes,
      nodeOf: (nodeId) => {
        const member = members.get(engine.addresses.get(nodeId) ?? "")
        return member === undefined ? undefined : Member.nodeOf(member, computation.id, engine)
      },
      addressOf: (nodeId) => engine.addresses.get(nodeId) ?? "",
      cpus: () => {
        let cpus = 0
        for (const member of members.values()) {
          const seating = member.seatings.get(computation.id)
          const isBenched = (Member.seatOf(member, computation.id, engine)?.benched ?? "") !== ""
          if (seating?.state === "ready" && !seating.isDeallocated && !isBenched) cpus += Member.cpusOf(member, seating)
        }
        return cpus
      },
      retryMillis: (job) => {
        const at = job.trials?.retryAt ?? Infinity
        return at === Infinity ? undefined : Math.max(0, at - engine.now())
      },
      ahead: (job) => {
        const known = engine.state.computations.get(computation.id)
        const queue = job.pinnedTo === "" ? known?.waiting : known?.pinned.get(job.pinnedTo)
        return queue === undefined ? 0 : Math.max(0, JobQueue.toArray(queue).findIndex((one) => one === job))
      },
      control: Steering.make(fleet, roll, env)
    }
    yield* Effect.forkScoped(warnOfStalls(session, request, engine, config))
    yield* Effect.forkScoped(warnOfNothing(session, roll, discovery.means, members, config))
    return session
  })

  return Scheduler.of({ open })
})

/** Whether a member counts for a computation: somebody listed it, or it answered. */
const isOf = (member: Member.Member, roll: Member.Roll): boolean =>
  member.isListed || member.seatings.get(roll.request.computation.id)?.state !== "waiting"

/** What every node is doing about a computation. */
const reasonsOf = (nodes: ReadonlyArray<DispyNode>): string =>
  nodes.length === 0
    ? "there is no node: start dispynode, list its host, or call allocateNode"
    : nodes.map((node) => `${node.address}: ${node.reason === "" ? node.state : node.reason}`).join("; ")

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
      const { size } = computation.waiting
      const jobs = `${size} ${size === 1 ? "job" : "jobs"} of ${request.computation.name}`
      yield* Effect.logWarning(
        `${jobs} ${size === 1 ? "waits" : "wait"} because no node takes them; ${reasonsOf(session.nodes())}`
      )
    }
    isWarned = isStalled
  }
})

/** Says once what was tried when the patterns of a node list have found no node. */
const warnOfNothing = Effect.fnUntraced(function*(
  session: SchedulerSession,
  roll: Member.Roll,
  means: Effect.Effect<string>,
  members: Map<string, Member.Member>,
  config: ClusterConfig["Service"]
) {
  const patterns = roll.rules.flatMap(({ target }) => target._tag === "Pattern" ? [NodeList.format(target)] : [])
  if (patterns.length === 0) return
  yield* Effect.sleep(config.stallInterval)
  if (session.nodes().length > 0) return
  const tried = [...members.values()].map(({ address, reason, state }) =>
    `${address} (${state === "idle" ? "no pattern is for it" : reason === "" ? state : reason})`
  )
  yield* Effect.logWarning(
    `no node found for ${patterns.join(", ")}; looked for ${yield* means}; tried ${tried.join(", ")}; ` +
      "list hosts, or name them with allocateNode or discoverNodes"
  )
})

/** The scheduler in the client's own process. */
export const layer: Layer.Layer<
  Scheduler,
  never,
  ClusterConfig | Discovery | NodeLink | FileTransfer | NodeLauncher | RecoverLog
> = Layer.effect(Scheduler, make)
