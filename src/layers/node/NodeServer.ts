/**
 * A node's side of the control protocol: the handlers of `NodeRpcs` over the
 * executor. Decisions about the lease are in `domain/node/Leases.ts`, what is
 * told to the client in `domain/node/Outbox.ts`; here they meet connections,
 * timers and the executor.
 */
import { Clock, Context, Deferred, Duration, Effect, Layer, type Scope, Stream } from "effect"
import type { Rpc, RpcGroup } from "effect/rpc"
import { randomUUID } from "node:crypto"
import type { Duplex } from "node:stream"
import type { Computation } from "../../domain/Computation.ts"
import * as Leases from "../../domain/node/Leases.ts"
import * as Numbered from "../../domain/node/Numbered.ts"
import * as Returned from "../../domain/node/Returned.ts"
import {
  ComputationRefused,
  MalformedMessage,
  NodeBusy,
  NothingKept,
  NotLeased,
  ShutdownRefused,
  VersionMismatch
} from "../../domain/NodeError.ts"
import { type NodeInfo, protocolVersion } from "../../domain/NodeInfo.ts"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import { packageVersion } from "../../domain/Version.ts"
import { countJobs } from "../../domain/wire/Entries.ts"
import { BulkDoor } from "../../services/BulkDoor.ts"
import { HostStats } from "../../services/HostStats.ts"
import { JobExecutor } from "../../services/JobExecutor.ts"
import { NodeConfig } from "../../services/NodeConfig.ts"
import { NodeLifecycle } from "../../services/NodeLifecycle.ts"
import type { SeatTerms } from "../../services/NodeLink.ts"
import { NodeOwner } from "../../services/NodeOwner.ts"
import * as BulkServer from "../bulk/BulkServer.ts"
import * as LeaseSession from "./LeaseSession.ts"
import * as NodeFiles from "./NodeFiles.ts"
import * as NodeOwnerTenants from "./NodeOwnerTenants.ts"
import * as NodeTenants from "./NodeTenants.ts"
import * as Offers from "./Offers.ts"

const makeHello = (state: NodeTenants.NodeTenants, name: string, info: Effect.Effect<NodeInfo>) =>
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

/** The shortest interval that a client can ask for. */
const leastPulse = Duration.millis(100)

/** Pulses in a row that a client may miss, as dispy has it. */
const missedPulses = 5

/** Tells a client every pulse how busy the machine is, until its lease ends; a client that tells nothing is gone. */
const makePulse =
  (availInfo: Effect.Effect<NodeInfo["availInfo"]>, disconnect: (tenant: NodeTenants.Tenant) => Effect.Effect<void>) =>
  (tenant: NodeTenants.Tenant, session: LeaseSession.LeaseSession): Effect.Effect<unknown> =>
    Effect.flatMap(availInfo, (now) => {
      session.outbox.availInfo = now
      LeaseSession.wake(session)
      return ++session.missedPulses > missedPulses ? disconnect(tenant) : Effect.void
    }).pipe(Effect.delay(session.pulse), Effect.forever, Effect.forkIn(session.scope))

const makeAcquire = (
  { cpus, files, name, ownPulse, pulse, scope, state }: {
    readonly state: NodeTenants.NodeTenants
    readonly files: NodeFiles.NodeFiles
    readonly name: string
    readonly scope: Scope.Scope
    readonly pulse: ReturnType<typeof makePulse>
    readonly ownPulse: Duration.Input
    readonly cpus: () => number
  }
) =>
  Effect.fnUntraced(function*(
    { clientId, clientName, pulseMillis, sessionId }: {
      readonly clientId: string
      readonly clientName: string
      readonly sessionId: string
      readonly pulseMillis?: number
    },
    connection: number
  ) {
    // A peer that skips Hello may speak anything: a defect ends its connection.
    if (!state.greeted.has(connection)) {
      return yield* Effect.die(new MalformedMessage({ peer: "a client", what: "a request before Hello" }))
    }
    if (state.isDraining) return yield* new NodeBusy({ node: name, holder: "nobody: it is ending" })
    if (state.endingBecause !== "" && !NodeTenants.isHolder(state, clientId)) {
      return yield* new NodeBusy({ node: name, holder: `nobody who comes now: ${state.endingBecause}` })
    }
    while (true) {
      const holder = NodeTenants.otherHolder(state, clientId)
      if (holder !== undefined) return yield* new NodeBusy({ node: name, holder })
      const tenant = NodeTenants.tenantOf(state, sessionId)
      const [leases, decision] = Leases.acquire(tenant.leases, {
        clientId,
        clientName,
        connection,
        newLeaseId: randomUUID()
      })
      tenant.leases = leases
      if (decision._tag !== "Granted") {
        yield* Deferred.await(tenant.freed)
        continue
      }
      if (decision.isNew) {
        const interval = Duration.max(leastPulse, Duration.fromInputUnsafe(pulseMillis ?? ownPulse))
        const { leaseId } = decision
        tenant.session = LeaseSession.make({ leaseId, clientName, pulse: interval, tally: state.tally }, scope)
        // Greeted before the number changed, perhaps: nobody told this client.
        if (state.tally.cpuChanges > 0) tenant.session.outbox.cpus = cpus()
        yield* pulse(tenant, tenant.session)
        NodeFiles.openLease(files, decision.leaseId, clientName)
        yield* Effect.logDebug("a client took the node").pipe(Effect.annotateLogs({ clientName }))
      }
      return { leaseId: decision.leaseId, pulseMillis: Duration.toMillis(tenant.session!.pulse) }
    }
  })

/** Gives a lease to the connection of a client that is back. */
const makeResume = (state: NodeTenants.NodeTenants, name: string) =>
  Effect.fnUntraced(function*(request: { readonly leaseId: string; readonly clientId: string }, connection: number) {
    for (const tenant of state.greeted.has(connection) ? state.tenants.values() : []) {
      const leases = Leases.resume(tenant.leases, { ...request, connection })
      if (leases === undefined) continue
      tenant.leases = leases
      tenant.session!.missedPulses = 0
      return yield* Effect.logDebug("a client is back").pipe(
        Effect.annotateLogs({ clientName: tenant.session!.clientName })
      )
    }
    return yield* new NotLeased({ node: name, what: "to resume a lease" })
  })

/** Sends jobs on; while the node is ending they are given back unstarted. */
const makeDispatch = (state: NodeTenants.NodeTenants, name: string) =>
(
  session: LeaseSession.LeaseSession,
  { acknowledged, batch, computationId, sequence }: {
    readonly computationId: string
    readonly sequence: number
    readonly batch: Uint8Array
    readonly acknowledged: number
  }
): Effect.Effect<void, MalformedMessage> => {
  LeaseSession.acknowledge(session, acknowledged)
  if (!Numbered.take(session.taken, sequence) || batch.length === 0) return Effect.void
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

/** The executor with the files that the computation needs in their places. */
const openerOf = (
  session: LeaseSession.LeaseSession,
  executor: JobExecutor["Service"],
  files: NodeFiles.NodeFiles
): LeaseSession.Opener =>
(request) =>
  NodeFiles.prepare(files, session.leaseId, request.computation).pipe(
    Effect.flatMap((hold) =>
      executor.open({
        ...request,
        directory: hold.tree.directory,
        valuesDirectory: hold.values,
        onReplies: (entries) => {
          Offers.releaseEnded(files.contents, hold, entries)
          request.onReplies(entries)
        },
        onFile: (file) => {
          const problem = NodeFiles.offerJobFile(files, hold, file)
          if (problem === undefined) request.onFile?.(file)
          else LeaseSession.answerFile(session, request.computation.id, file.fileId, problem)
        }
      })
    )
  )

/** A client that brings work is news; one that connects is not, and could do it often. */
const openComputation = (
  session: LeaseSession.LeaseSession,
  executor: JobExecutor["Service"],
  files: NodeFiles.NodeFiles,
  computation: Computation,
  terms: SeatTerms
): Effect.Effect<{ readonly cpus: number }, ComputationRefused> =>
  LeaseSession.open(
    session,
    openerOf(session, executor, files),
    computation,
    (file) => LeaseSession.tellFile(session, computation.id, file),
    terms
  ).pipe(
    Effect.tap(() => Effect.logInfo("a computation is open")),
    Effect.tapError(({ reason }) => Effect.logInfo("refused a computation").pipe(Effect.annotateLogs({ reason }))),
    Effect.annotateLogs({ clientName: session.clientName, computation: computation.name }),
    Effect.as({ cpus: executor.cpus() })
  )

const makeHandlers = (options: {
  readonly state: NodeTenants.NodeTenants
  readonly name: string
  readonly executor: JobExecutor["Service"]
  readonly info: Effect.Effect<NodeInfo>
  readonly files: NodeFiles.NodeFiles
  readonly close: NodeTenants.Closer
  readonly scope: Scope.Scope
  readonly pulse: ReturnType<typeof makePulse>
  readonly ownPulse: Duration.Input
  readonly clientShutdown: boolean
}) => {
  const { close, executor, files, name, state } = options
  const hello = makeHello(state, name, options.info)
  const acquire = makeAcquire({ ...options, cpus: executor.cpus })
  const resume = makeResume(state, name)
  const dispatch = makeDispatch(state, name)
  /** The tenant with a lease, for the connection that acquired it. */
  const tenantWith = (leaseId: string, client: Rpc.ServerClient): NodeTenants.Tenant | undefined => {
    for (const tenant of state.tenants.values()) {
      if (Leases.isHeldBy(tenant.leases, client.id, leaseId)) return tenant
    }
    return undefined
  }
  const sessionOf = (leaseId: string, client: Rpc.ServerClient): LeaseSession.LeaseSession | undefined => {
    const session = tenantWith(leaseId, client)?.session
    if (session !== undefined) session.missedPulses = 0
    return session
  }
  const notLeased = (what: string) => Effect.fail(new NotLeased({ node: name, what }))
  return NodeRpcs.of({
    Hello: (payload, { client }) => hello(payload, client.id),
    AcquireLease: (payload, { client }) => acquire(payload, client.id),
    ResumeLease: (payload, { client }) => resume(payload, client.id),
    Pulse: ({ leaseId }, { client }) => sessionOf(leaseId, client) === undefined ? notLeased("a pulse") : Effect.void,
    Events: ({ leaseId, received }, { client }) =>
      Stream.suspend(() => {
        const session = sessionOf(leaseId, client)
        return session === undefined
          ? Stream.fail(new NotLeased({ node: name, what: "events" }))
          : Stream.fromPull(Effect.sync(() => LeaseSession.subscribe(session, received)))
      }),
    OfferFiles: (
      { computationId, computationName, destPath, files: offered, jobId, keepFiles, leaseId },
      { client }
    ) => {
      if (sessionOf(leaseId, client) === undefined) return notLeased("files")
      const placement = {
        id: computationId,
        name: computationName,
        ...(destPath === undefined ? {} : { destPath }),
        ...(keepFiles === undefined ? {} : { keepFiles })
      }
      return Effect.map(NodeFiles.offer(files, leaseId, placement, offered, jobId), (missing) => ({ missing }))
    },
    AnswerJobFile: ({ computationId, fileId, leaseId, problem }, { client }) => {
      const session = sessionOf(leaseId, client)
      if (session === undefined) return notLeased("an answer")
      return Effect.sync(() => LeaseSession.answerFile(session, computationId, fileId, problem))
    },
    OpenComputation: ({ computation, leaseId, ...terms }, { client }) => {
      const session = sessionOf(leaseId, client)
      if (session === undefined) return notLeased("a computation")
      if (state.isDraining) {
        return Effect.fail(
          new ComputationRefused({ node: name, computation: computation.name, reason: "the node is ending" })
        )
      }
      if (session.computations.has(computation.id)) return openComputation(session, executor, files, computation, terms)
      const full = NodeTenants.refusal(state)
      if (full !== "") {
        return Effect.fail(new ComputationRefused({ node: name, computation: computation.name, reason: full }))
      }
      return NodeTenants.counted(state, openComputation(session, executor, files, computation, terms))
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
    SetCpus: ({ computationId, cpus, leaseId }, { client }) => {
      const session = sessionOf(leaseId, client)
      if (session === undefined) return notLeased("a number of cpus")
      return Effect.sync(() => LeaseSession.setCpus(session, computationId, Math.max(0, cpus)))
    },
    NodeJobs: ({ computationId, leaseId }, { client }) => {
      const session = sessionOf(leaseId, client)
      return session === undefined
        ? notLeased("a question for its jobs")
        : Effect.sync(() => LeaseSession.jobs(session, computationId))
    },
    CloseComputation: ({ computationId, leaseId }, { client }) => {
      const session = sessionOf(leaseId, client)
      return session === undefined
        ? notLeased("the end of a computation")
        : LeaseSession.closeComputation(session, computationId).pipe(
          Effect.andThen(NodeFiles.release(files, leaseId, computationId)),
          Effect.ensuring(NodeTenants.tell(state))
        )
    },
    ShutDown: ({ leaseId }, { client }): Effect.Effect<void, NotLeased | ShutdownRefused> => {
      const session = sessionOf(leaseId, client)
      if (session === undefined) return notLeased("a shutdown")
      if (!options.clientShutdown) return Effect.fail(new ShutdownRefused({ node: name }))
      return NodeTenants.shutDown(state, session.clientName)
    },
    Recover: () => Stream.fail(new NothingKept({ node: name, reason: "it has no client's results" })),
    Forget: () => Effect.fail(new NothingKept({ node: name, reason: "it has no client's results" })),
    ReleaseLease: ({ leaseId }, { client }) =>
      Effect.suspend(() => {
        const tenant = tenantWith(leaseId, client)
        return tenant === undefined
          ? Effect.void
          : close(tenant, Leases.release(tenant.leases, leaseId), "released")
      })
  })
}

const makeDrain = (state: NodeTenants.NodeTenants) =>
  Effect.fn("NodeLifecycle.drain")(function*(grace: Duration.Input) {
    state.isDraining = true
    const sessions = NodeTenants.sessionsOf(state)
    const outstanding = () => sessions.reduce((sum, session) => sum + LeaseSession.outstanding(session), 0)
    if (sessions.length === 0) return 0
    for (const session of sessions) {
      session.outbox.leaving = "the node is ending"
      LeaseSession.returnQueued(session)
      LeaseSession.wake(session)
    }
    yield* Effect.logInfo("waiting for running jobs").pipe(Effect.annotateLogs({ jobs: outstanding() }))
    yield* Effect.callback<void>((resume) => {
      const check = () => {
        if (sessions.every(LeaseSession.isIdle)) resume(Effect.void)
      }
      for (const session of sessions) session.onQuiet = check
      check()
      return Effect.sync(() => {
        for (const session of sessions) session.onQuiet = undefined
      })
    }).pipe(Effect.timeoutOption(grace))
    return outstanding()
  })

/** Lets in whoever has a lease. */
const doorOf = (files: NodeFiles.NodeFiles): BulkDoor["Service"] =>
  BulkDoor.of({
    serve: (stream, leaseId, rest) => {
      const duplex = stream as Duplex
      const lease = files.leases.get(leaseId)
      if (lease !== undefined) {
        BulkServer.serveConnection(lease, duplex, rest)
        return undefined
      }
      const reason = "a bulk connection without a lease of this node"
      BulkServer.refuse(duplex, `node ${files.node} refused ${reason}; acquire one first`)
      return reason
    }
  })

const make = Effect.gen(function*() {
  const config = yield* NodeConfig
  const host = yield* HostStats
  const executor = yield* JobExecutor
  const scope = yield* Effect.scope
  const state = NodeTenants.make({
    serve: config.serve,
    cpus: executor.cpus(),
    startedAt: yield* Clock.currentTimeMillis
  })
  // The last to go: sessions close before the files that their jobs work with.
  const files = yield* Effect.acquireRelease(
    Effect.sync(() => NodeFiles.make(config.name, config)),
    NodeFiles.close
  )
  const close = NodeTenants.makeCloser(state, scope, (leaseId) => NodeFiles.closeLease(files, leaseId))
  const availInfo = host.availInfo(config.directory)
  const info = Effect.map(availInfo, (now): NodeInfo => ({
    name: config.name,
    incarnation: config.incarnation,
    version: packageVersion,
    cpus: executor.cpus(),
    platform: host.platform,
    availInfo: now
  }))

  const countDown = Effect.fnUntraced(function*(tenant: NodeTenants.Tenant, connection: number) {
    const before = tenant.leases
    const after = tenant.leases = Leases.disconnect(before, connection)
    if (after === before || after._tag !== "Held" || after.countdown === undefined) return
    const { countdown, holder } = after
    // Of a client that has nothing here it is no news, and could be repeated to fill the log.
    const isNews = tenant.session !== undefined && tenant.session.computations.size > 0
    yield* (isNews ? Effect.logWarning : Effect.logDebug)("the client's connection broke; its jobs go on for a while")
      .pipe(Effect.annotateLogs({
        clientName: holder.clientName,
        resume: Duration.format(Duration.fromInputUnsafe(config.leaseResume))
      }))
    yield* Effect.suspend(() => close(tenant, Leases.expire(tenant.leases, countdown), "its client is gone")).pipe(
      Effect.delay(config.leaseResume),
      Effect.forkIn(scope)
    )
  })
  const pulse = makePulse(availInfo, (tenant) =>
    Effect.forEach(
      tenant.leases._tag === "Held" ? [...tenant.leases.connections] : [],
      (connection) => countDown(tenant, connection),
      { discard: true }
    ))
  const handlers = makeHandlers({
    state,
    name: config.name,
    executor,
    info,
    files,
    close,
    scope,
    pulse,
    ownPulse: config.pulseInterval,
    clientShutdown: config.clientShutdown
  })

  const disconnected = Effect.fn("NodeLifecycle.disconnected")(function*(connection: number) {
    state.greeted.delete(connection)
    yield* Effect.forEach([...state.tenants.values()], (tenant) => countDown(tenant, connection), { discard: true })
  })
  const lifecycle = NodeLifecycle.of({ disconnected, drain: makeDrain(state) })
  return (yield* NodeRpcs.toHandlers(handlers)).pipe(
    Context.add(NodeLifecycle, lifecycle),
    Context.add(BulkDoor, doorOf(files)),
    Context.add(NodeOwner, NodeOwnerTenants.make(state, executor, close))
  )
})

/** Serves the control protocol over the executor. */
export const layer: Layer.Layer<
  Rpc.ToHandler<RpcGroup.Rpcs<typeof NodeRpcs>> | NodeLifecycle | NodeOwner | BulkDoor,
  never,
  NodeConfig | HostStats | JobExecutor
> = Layer.effectContext(make)
