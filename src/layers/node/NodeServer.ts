/**
 * A node's side of the control protocol: the handlers of `NodeRpcs` over the
 * executor. Decisions about the lease are in `domain/node/Leases.ts`, what is
 * told to the client in `domain/node/Outbox.ts`; here they meet connections,
 * timers and the executor.
 */
import { Clock, Context, type Duration, Effect, Layer, Stream } from "effect"
import type { Rpc, RpcGroup } from "effect/rpc"
import type { Duplex } from "node:stream"
import type { Computation } from "../../domain/Computation.ts"
import * as Leases from "../../domain/node/Leases.ts"
import * as Numbered from "../../domain/node/Numbered.ts"
import * as Returned from "../../domain/node/Returned.ts"
import {
  ComputationRefused,
  MalformedMessage,
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
import * as KeptResults from "./KeptResults.ts"
import * as LeaseSession from "./LeaseSession.ts"
import * as NodeFiles from "./NodeFiles.ts"
import * as NodeLeasing from "./NodeLeasing.ts"
import * as NodeOwnerTenants from "./NodeOwnerTenants.ts"
import * as NodeTenants from "./NodeTenants.ts"
import * as Offers from "./Offers.ts"
import * as Orphanage from "./Orphanage.ts"
import * as Recovery from "./Recovery.ts"

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
  readonly orphanage: Orphanage.Orphanage
  readonly pulse: ReturnType<typeof NodeLeasing.makePulse>
  readonly ownPulse: Duration.Input
  readonly clientShutdown: boolean
}) => {
  const { executor, name, orphanage, state } = options
  const { close, files } = orphanage
  const hello = makeHello(state, name, options.info)
  const acquire = NodeLeasing.makeAcquire({ ...options, cpus: executor.cpus })
  const resume = NodeLeasing.makeResume(orphanage, name)
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
    Recover: (payload, { client }) =>
      Stream.unwrap(Effect.as(NodeLeasing.greeted(state, client.id), Recovery.recover(orphanage, name, payload))),
    Forget: ({ recoverKey }, { client }) =>
      Effect.andThen(NodeLeasing.greeted(state, client.id), Recovery.forget(orphanage, name, recoverKey)),
    ReleaseLease: ({ leaseId }, { client }) =>
      Effect.suspend(() => {
        const tenant = tenantWith(leaseId, client)
        return tenant === undefined
          ? Effect.void
          : close(tenant, Leases.release(tenant.leases, leaseId), "released")
      })
  })
}

const makeDrain = (orphanage: Orphanage.Orphanage) =>
  Effect.fn("NodeLifecycle.drain")(function*(grace: Duration.Input) {
    const { state } = orphanage
    state.isDraining = true
    // Whoever is not here now will not be back in time.
    for (const tenant of state.tenants.values()) {
      if (tenant.leases._tag === "Held" && tenant.leases.countdown !== undefined) {
        yield* Orphanage.expire(orphanage, tenant, tenant.leases.countdown, true)
      }
    }
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

/** Lets in whoever has a lease, or was told of one whose client is gone. */
const doorOf = (files: NodeFiles.NodeFiles, kept: KeptResults.KeptResults): BulkDoor["Service"] =>
  BulkDoor.of({
    serve: (stream, leaseId, rest) => {
      const duplex = stream as Duplex
      const lease = kept.doors.get(leaseId) ?? files.leases.get(leaseId)
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
  const kept = yield* Effect.acquireRelease(Effect.sync(() => KeptResults.make(config.directory)), KeptResults.close)
  const close = NodeTenants.makeCloser(
    state,
    scope,
    (leaseId, why) => Effect.andThen(Orphanage.finish(kept, leaseId, why), NodeFiles.closeLease(files, leaseId))
  )
  const orphanage: Orphanage.Orphanage = {
    state,
    files,
    kept,
    close,
    zombieInterval: config.zombieInterval,
    scope
  }
  yield* Effect.forkIn(KeptResults.removeOldHourly(kept, config.keepResults), scope)
  const availInfo = host.availInfo(config.directory)
  const info = Effect.map(availInfo, (now): NodeInfo => ({
    name: config.name,
    incarnation: config.incarnation,
    version: packageVersion,
    cpus: executor.cpus(),
    platform: host.platform,
    availInfo: now
  }))

  const countDown = NodeLeasing.makeCountDown(orphanage, config.leaseResume)
  const pulse = NodeLeasing.makePulse(availInfo, (tenant) =>
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
    orphanage,
    pulse,
    ownPulse: config.pulseInterval,
    clientShutdown: config.clientShutdown
  })

  const disconnected = Effect.fn("NodeLifecycle.disconnected")(function*(connection: number) {
    state.greeted.delete(connection)
    yield* Effect.forEach([...state.tenants.values()], (tenant) => countDown(tenant, connection), { discard: true })
  })
  const lifecycle = NodeLifecycle.of({ disconnected, drain: makeDrain(orphanage) })
  return (yield* NodeRpcs.toHandlers(handlers)).pipe(
    Context.add(NodeLifecycle, lifecycle),
    Context.add(BulkDoor, doorOf(files, kept)),
    Context.add(NodeOwner, NodeOwnerTenants.make(orphanage, executor))
  )
})

/** Serves the control protocol over the executor. */
export const layer: Layer.Layer<
  Rpc.ToHandler<RpcGroup.Rpcs<typeof NodeRpcs>> | NodeLifecycle | NodeOwner | BulkDoor,
  never,
  NodeConfig | HostStats | JobExecutor
> = Layer.effectContext(make)
