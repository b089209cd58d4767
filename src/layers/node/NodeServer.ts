/**
 * A node's side of the control protocol: the handlers of `NodeRpcs` over the
 * executor. Decisions about the lease are in `domain/node/Leases.ts`, what is
 * told to the client in `domain/node/Outbox.ts`; here they meet connections,
 * timers and the executor.
 */
import { Clock, Context, Deferred, Duration, Effect, Layer, type Scope, Stream } from "effect"
import type { Rpc, RpcGroup } from "effect/rpc"
import { randomUUID } from "node:crypto"
import type { Computation } from "../../domain/Computation.ts"
import * as Leases from "../../domain/node/Leases.ts"
import * as Outbox from "../../domain/node/Outbox.ts"
import * as Returned from "../../domain/node/Returned.ts"
import { ComputationRefused, MalformedMessage, NodeBusy, NotLeased, VersionMismatch } from "../../domain/NodeError.ts"
import { type NodeInfo, protocolVersion } from "../../domain/NodeInfo.ts"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import { packageVersion } from "../../domain/Version.ts"
import { countJobs } from "../../domain/wire/Entries.ts"
import { HostStats } from "../../services/HostStats.ts"
import { JobExecutor } from "../../services/JobExecutor.ts"
import { NodeConfig } from "../../services/NodeConfig.ts"
import { NodeLifecycle } from "../../services/NodeLifecycle.ts"
import * as LeaseSession from "./LeaseSession.ts"

/** The node's state: one value for the handlers, the timers and the end of the node. */
interface State {
  leases: Leases.Leases
  /** What is kept for the lease that is held or closing. */
  session: LeaseSession.LeaseSession | undefined
  /** Done when the lease that is closing is closed. */
  freed: Deferred.Deferred<void>
  /** Connections that said Hello in our protocol. */
  readonly greeted: Set<number>
  isDraining: boolean
}

const makeState = (): State => ({
  leases: Leases.free,
  session: undefined,
  freed: Deferred.makeUnsafe(),
  greeted: new Set(),
  isDraining: false
})

/** The end of a lease: closes what runs under it, then frees the node. */
const makeCloser = (state: State, scope: Scope.Scope) =>
  Effect.fnUntraced(function*(next: Leases.Leases, why: string) {
    const isNewlyClosing = state.leases._tag === "Held" && next._tag === "Closing"
    state.leases = next
    if (next._tag !== "Closing") return
    if (isNewlyClosing) {
      const session = state.session!
      const freed = state.freed = Deferred.makeUnsafe<void>()
      const { clientName, leaseId } = next.holder
      // In the node's scope: whoever asked may be gone before the last process is.
      yield* LeaseSession.close(session).pipe(
        Effect.andThen(Effect.suspend(() => {
          state.session = undefined
          state.leases = Leases.closed(state.leases, leaseId)
          return Deferred.succeed(freed, undefined)
        })),
        Effect.andThen(Effect.logDebug("the node is free")),
        Effect.annotateLogs({ clientName, why }),
        Effect.forkIn(scope)
      )
    }
    yield* Deferred.await(state.freed)
  })

type Closer = ReturnType<typeof makeCloser>

const makeHello = (state: State, name: string, info: Effect.Effect<NodeInfo>) =>
  Effect.fnUntraced(function*(
    { protocol, version }: { readonly protocol: number; readonly version: string },
    connection: number
  ) {
    if (protocol !== protocolVersion) {
      return yield* new VersionMismatch({ node: name, nodeVersion: packageVersion, clientVersion: version })
    }
    state.greeted.add(connection)
    return yield* info
  })

const makeAcquire = (state: State, name: string, scope: Scope.Scope) =>
  Effect.fnUntraced(function*(
    { clientId, clientName }: { readonly clientId: string; readonly clientName: string },
    connection: number
  ) {
    // A peer that skips Hello may speak anything: a defect ends its connection.
    if (!state.greeted.has(connection)) {
      return yield* Effect.die(new MalformedMessage({ peer: "a client", what: "a request before Hello" }))
    }
    if (state.isDraining) return yield* new NodeBusy({ node: name, holder: "nobody: it is ending" })
    while (true) {
      const [leases, decision] = Leases.acquire(state.leases, {
        clientId,
        clientName,
        connection,
        newLeaseId: randomUUID()
      })
      state.leases = leases
      if (decision._tag === "Busy") return yield* new NodeBusy({ node: name, holder: decision.holder })
      if (decision._tag === "ClosingOwn") {
        yield* Deferred.await(state.freed)
        continue
      }
      if (decision.isNew) {
        state.session = LeaseSession.make(decision.leaseId, clientName, scope)
        yield* Effect.logDebug("a client took the node").pipe(Effect.annotateLogs({ clientName }))
      }
      return { leaseId: decision.leaseId }
    }
  })

/** Sends jobs on; while the node is ending they are given back unstarted. */
const makeDispatch = (state: State, name: string) =>
(
  session: LeaseSession.LeaseSession,
  { acknowledged, batch, computationId }: {
    readonly computationId: string
    readonly batch: Uint8Array
    readonly acknowledged: number
  }
): Effect.Effect<void, MalformedMessage> => {
  Outbox.acknowledge(session.outbox, acknowledged)
  if (batch.length === 0) return Effect.void
  const count = countJobs(batch)
  if (count < 0) return Effect.fail(new MalformedMessage({ peer: "the client", what: "jobs that are not entries" }))
  if (state.isDraining) {
    return Effect.map(
      Clock.currentTimeMillis,
      (now) => LeaseSession.reply(session, computationId, Returned.repliesTo(batch, count, now))
    )
  }
  if (LeaseSession.dispatch(session, computationId, batch, count)) return Effect.void
  return Effect.fail(new MalformedMessage({ peer: "the client", what: `jobs for a computation not open on ${name}` }))
}

/** A client that brings work is news; one that connects is not, and could do it often. */
const openComputation = (
  session: LeaseSession.LeaseSession,
  executor: JobExecutor["Service"],
  computation: Computation
): Effect.Effect<{ readonly cpus: number }, ComputationRefused> =>
  LeaseSession.open(session, executor, computation).pipe(
    Effect.tap(() => Effect.logInfo("a computation is open")),
    Effect.tapError(({ reason }) => Effect.logInfo("refused a computation").pipe(Effect.annotateLogs({ reason }))),
    Effect.annotateLogs({ clientName: session.clientName, computation: computation.name }),
    Effect.as({ cpus: executor.cpus })
  )

const makeHandlers = (options: {
  readonly state: State
  readonly name: string
  readonly executor: JobExecutor["Service"]
  readonly info: Effect.Effect<NodeInfo>
  readonly close: Closer
  readonly scope: Scope.Scope
}) => {
  const { close, executor, name, state } = options
  const hello = makeHello(state, name, options.info)
  const acquire = makeAcquire(state, name, options.scope)
  const dispatch = makeDispatch(state, name)
  /** The session of a lease, for the connection that acquired it. */
  const sessionOf = (leaseId: string, client: Rpc.ServerClient): LeaseSession.LeaseSession | undefined =>
    Leases.isHeldBy(state.leases, client.id, leaseId) ? state.session : undefined
  const notLeased = (what: string) => Effect.fail(new NotLeased({ node: name, what }))
  return NodeRpcs.of({
    Hello: (payload, { client }) => hello(payload, client.id),
    AcquireLease: (payload, { client }) => acquire(payload, client.id),
    Events: ({ leaseId }, { client }) =>
      Stream.suspend(() => {
        const session = sessionOf(leaseId, client)
        return session === undefined
          ? Stream.fail(new NotLeased({ node: name, what: "events" }))
          : Stream.fromPull(Effect.sync(() => LeaseSession.subscribe(session)))
      }),
    OpenComputation: ({ computation, leaseId }, { client }) => {
      const session = sessionOf(leaseId, client)
      if (session === undefined) return notLeased("a computation")
      if (state.isDraining) {
        return Effect.fail(
          new ComputationRefused({ node: name, computation: computation.name, reason: "the node is ending" })
        )
      }
      return openComputation(session, executor, computation)
    },
    Dispatch: (payload, { client }) => {
      const session = sessionOf(payload.leaseId, client)
      return session === undefined ? notLeased("jobs") : dispatch(session, payload)
    },
    CancelJobs: ({ computationId, jobIds, leaseId }, { client }) => {
      const session = sessionOf(leaseId, client)
      if (session === undefined) return notLeased("a cancellation")
      return Effect.sync(() => LeaseSession.cancel(session, computationId, jobIds))
    },
    CloseComputation: ({ computationId, leaseId }, { client }) => {
      const session = sessionOf(leaseId, client)
      return session === undefined
        ? notLeased("the end of a computation")
        : LeaseSession.closeComputation(session, computationId)
    },
    ReleaseLease: ({ leaseId }, { client }) =>
      Effect.suspend(() =>
        sessionOf(leaseId, client) === undefined
          ? Effect.void
          : close(Leases.release(state.leases, leaseId), "released")
      )
  })
}

/** Tells the client how busy the machine is, every pulse. */
const pulse = (state: State, availInfo: Effect.Effect<NodeInfo["availInfo"]>) =>
  Effect.gen(function*() {
    const session = state.session
    if (session === undefined) return
    session.outbox.availInfo = yield* availInfo
    LeaseSession.wake(session)
  })

const makeDrain = (state: State) =>
  Effect.fn("NodeLifecycle.drain")(function*(grace: Duration.Input) {
    state.isDraining = true
    const session = state.session
    if (session === undefined) return 0
    session.outbox.leaving = "the node is ending"
    LeaseSession.returnQueued(session)
    LeaseSession.wake(session)
    yield* Effect.logInfo("waiting for running jobs").pipe(
      Effect.annotateLogs({ jobs: LeaseSession.outstanding(session) })
    )
    yield* Effect.callback<void>((resume) => {
      const check = () => {
        if (LeaseSession.isIdle(session)) resume(Effect.void)
      }
      session.onQuiet = check
      check()
      return Effect.sync(() => session.onQuiet = undefined)
    }).pipe(Effect.timeoutOption(grace))
    return LeaseSession.outstanding(session)
  })

const make = Effect.gen(function*() {
  const config = yield* NodeConfig
  const host = yield* HostStats
  const executor = yield* JobExecutor
  const scope = yield* Effect.scope
  const state = makeState()
  const close = makeCloser(state, scope)
  const availInfo = host.availInfo(config.directory)
  const info = Effect.map(availInfo, (now): NodeInfo => ({
    name: config.name,
    incarnation: config.incarnation,
    version: packageVersion,
    cpus: executor.cpus,
    platform: host.platform,
    availInfo: now
  }))
  yield* pulse(state, availInfo).pipe(Effect.delay(config.pulseInterval), Effect.forever, Effect.forkScoped)
  const handlers = makeHandlers({ state, name: config.name, executor, info, close, scope })

  const disconnected = Effect.fn("NodeLifecycle.disconnected")(function*(connection: number) {
    state.greeted.delete(connection)
    const before = state.leases
    const after = state.leases = Leases.disconnect(before, connection)
    if (after === before || after._tag !== "Held" || after.countdown === undefined) return
    const { countdown, holder } = after
    // Of a client that has nothing here it is no news, and could be repeated to fill the log.
    const isNews = state.session !== undefined && state.session.computations.size > 0
    yield* (isNews ? Effect.logWarning : Effect.logDebug)("the client's connection broke; its jobs go on for a while")
      .pipe(Effect.annotateLogs({
        clientName: holder.clientName,
        resume: Duration.format(Duration.fromInputUnsafe(config.leaseResume))
      }))
    yield* Effect.suspend(() => close(Leases.expire(state.leases, countdown), "its client is gone")).pipe(
      Effect.delay(config.leaseResume),
      Effect.forkIn(scope)
    )
  })
  const lifecycle = NodeLifecycle.of({ disconnected, drain: makeDrain(state) })
  return Context.add(yield* NodeRpcs.toHandlers(handlers), NodeLifecycle, lifecycle)
})

/** Serves the control protocol over the executor. */
export const layer: Layer.Layer<
  Rpc.ToHandler<RpcGroup.Rpcs<typeof NodeRpcs>> | NodeLifecycle,
  never,
  NodeConfig | HostStats | JobExecutor
> = Layer.effectContext(make)
