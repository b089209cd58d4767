/**
 * Connections that outlive the sockets under them. Once a lease is acquired, a connection that breaks is made again and
 * goes on with the lease: calls that were under way are made again (the node takes none twice), and what the node tells
 * begins after what was received. Those who use it notice a pause. What is decided is in `domain/link/LastingLink.ts`.
 */
import { Deferred, Duration, Effect, Exit, Latch, Layer, type Pull, Random, Scope, Stream } from "effect"
import * as LastingLink from "../../domain/link/LastingLink.ts"
import type { NodeAddress } from "../../domain/NodeAddress.ts"
import * as NodeAddresses from "../../domain/NodeAddress.ts"
import { NodeUnreachable, type NotLeased } from "../../domain/NodeError.ts"
import type { NodeEvent } from "../../domain/NodeRpcs.ts"
import { type Lease, type NodeConnection, NodeLink } from "../../services/NodeLink.ts"

/** Tries that take longer than this are worth a line. */
const noticeAfter = Duration.seconds(1)

interface Live {
  readonly connection: NodeConnection
  readonly scope: Scope.Closeable
}

const open = Effect.fnUntraced(function*(link: NodeLink["Service"], address: NodeAddress, parent: Scope.Scope) {
  const scope = yield* Scope.fork(parent)
  const connection = yield* link.connect(address).pipe(
    Scope.provide(scope),
    Effect.onError(() => Scope.close(scope, Exit.void))
  )
  return { connection, scope } satisfies Live
})

const connect = Effect.fnUntraced(function*(sockets: NodeLink["Service"], address: NodeAddress) {
  const name = NodeAddresses.format(address)
  // Of all connections there will be: what their user does at its end, it does before the newest is closed.
  const parent = yield* Scope.fork(yield* Effect.scope)
  const first = yield* open(sockets, address, parent)
  const { info, ipAddr } = first.connection
  let live: Live | undefined = first
  let lease: Lease | undefined
  let clientId = ""
  /** The connection that is being made again. */
  let broken = first
  const link = LastingLink.make()
  /** Done when there is a connection again, or will be none. */
  let back = Deferred.makeUnsafe<void, NodeUnreachable>()
  const lost = Deferred.makeUnsafe<never, NodeUnreachable>()
  const broke = Latch.makeUnsafe(false)

  const breakUp = (dead: Live, why: string): void => {
    if (live !== dead || !LastingLink.breakUp(link, why)) return
    live = undefined
    back = Deferred.makeUnsafe()
    broken = dead
    broke.openUnsafe()
  }

  const lose = (why: string): void => {
    if (!LastingLink.lose(link)) return
    const error = new NodeUnreachable({ address: name, reason: why })
    Deferred.doneUnsafe(lost, Effect.fail(error))
    Deferred.doneUnsafe(back, Effect.fail(error))
  }

  const attempt = Effect.fnUntraced(function*({ leaseId }: Lease) {
    const next = yield* open(sockets, address, parent)
    return yield* next.connection.info.incarnation === info.incarnation
      ? Effect.as(next.connection.resume(leaseId, clientId), next).pipe(
        Effect.onError(() => Scope.close(next.scope, Exit.void))
      )
      : Effect.andThen(
        Scope.close(next.scope, Exit.void),
        new NodeUnreachable({ address: name, reason: LastingLink.restarted, isGone: true })
      )
  })

  /** Tries until there is a connection or it is no use. */
  const resume = Effect.fnUntraced(function*(held: Lease) {
    while (live === undefined) {
      yield* Effect.sleep(Duration.millis(yield* Random.nextBetween(0, LastingLink.nextWait(link))))
      const tried = yield* Effect.result(attempt(held))
      if (tried._tag === "Success") {
        live = tried.success
        LastingLink.resumed(link)
        Deferred.doneUnsafe(back, Effect.void)
        return
      }
      const reason = LastingLink.hopeless(link, tried.failure)
      if (reason !== undefined) return lose(reason)
    }
  })

  const notice = Effect.suspend(() =>
    Effect.logWarning(`lost the connection to node ${name} (${link.reason}); trying again`)
  )
    .pipe(Effect.delay(noticeAfter))

  const maintain = (held: Lease): Effect.Effect<never> =>
    broke.await.pipe(
      Effect.andThen(Effect.suspend(() => {
        broke.closeUnsafe()
        return Scope.close(broken.scope, Exit.void)
      })),
      Effect.andThen(Effect.raceFirst(resume(held), Effect.andThen(notice, Effect.never))),
      Effect.forever
    )

  const tick = ({ leaseId }: Lease): Effect.Effect<unknown> =>
    Effect.suspend(() => {
      const wanted = LastingLink.tick(link)
      if (wanted === "Lose") return Effect.sync(() => lose(LastingLink.silence))
      const now = live
      if (now === undefined || wanted === "Wait") return Effect.void
      if (wanted === "Break") return Effect.sync(() => breakUp(now, "no sign of life"))
      return now.connection.pulse(leaseId).pipe(
        Effect.map(() => LastingLink.heard(link)),
        Effect.catch((error) => Effect.sync(() => breakUp(now, LastingLink.reasonOf(error)))),
        Effect.forkIn(now.scope)
      )
    })

  const keep = (held: Lease): Effect.Effect<unknown> =>
    maintain(held).pipe(
      Effect.raceFirst(Effect.forever(Effect.delay(tick(held), held.pulseMillis / LastingLink.ticksPerPulse))),
      Effect.raceFirst(Effect.ignore(Deferred.await(lost))),
      Effect.forkIn(parent)
    )

  /** Makes a call, again when the connection breaks meanwhile; of a lease that the node has forgotten, once more. */
  const use = <A, E>(
    leaseId: string,
    call: (connection: NodeConnection) => Effect.Effect<A, E | NodeUnreachable>,
    isForgotten = false
  ): Effect.Effect<A, E | NodeUnreachable> =>
    Effect.suspend(() => {
      const now = live
      if (now === undefined) return Effect.flatMap(Deferred.await(back), () => use(leaseId, call, isForgotten))
      if (lease?.leaseId !== leaseId) return call(now.connection)
      return Effect.catchIf(
        call(now.connection),
        (error): error is (E | NodeUnreachable) & LastingLink.Broken => LastingLink.isRepeated(error, isForgotten),
        (error) => {
          breakUp(now, LastingLink.reasonOf(error))
          return use(leaseId, call, error._tag === "NotLeased")
        }
      )
    })

  const events = (leaseId: string): Stream.Stream<NodeEvent, NotLeased | NodeUnreachable> => {
    type Source = Pull.Pull<readonly [NodeEvent, ...Array<NodeEvent>], NotLeased | NodeUnreachable>
    let source: { readonly from: Live; readonly pull: Source } | undefined
    const subscribe = Effect.suspend(() => {
      const now = live
      if (now === undefined) return Deferred.await(back)
      return Effect.map(
        Scope.provide(Stream.toPull(now.connection.events(leaseId, link.received)), now.scope),
        (pull) => {
          source = { from: now, pull }
        }
      )
    })
    const pull: Source = Effect.suspend(() => {
      const now = source
      if (now === undefined || now.from !== live) return Effect.flatMap(subscribe, () => pull)
      return now.pull.pipe(
        Effect.map((told) => {
          LastingLink.heard(link)
          for (const event of told) if (event._tag === "Replies") LastingLink.took(link, event.sequence)
          return told
        }),
        Effect.catchIf(LastingLink.isBroken, (error) => {
          breakUp(now.from, LastingLink.reasonOf(error))
          return pull
        })
      )
    })
    return Stream.fromPull(Effect.succeed(pull))
  }

  return {
    info,
    ipAddr,
    acquire: (...args) =>
      Effect.tap(first.connection.acquire(...args), (acquired) => {
        lease = acquired
        clientId = args[0].clientId
        return keep(acquired)
      }),
    resume: (id, ...rest) => use(id, (connection) => connection.resume(id, ...rest)),
    pulse: (id) => use(id, (connection) => connection.pulse(id)),
    events,
    openComputation: (id, ...rest) => use(id, (connection) => connection.openComputation(id, ...rest)),
    setCpus: (id, ...rest) => use(id, (connection) => connection.setCpus(id, ...rest)),
    jobs: (id, ...rest) => use(id, (connection) => connection.jobs(id, ...rest)),
    offerFiles: (id, ...rest) => use(id, (connection) => connection.offerFiles(id, ...rest)),
    answerJobFile: (id, ...rest) => use(id, (connection) => connection.answerJobFile(id, ...rest)),
    dispatch: (id, computationId, batch, acknowledged, sequence = LastingLink.nextSequence(link)) =>
      use(id, (connection) => connection.dispatch(id, computationId, batch, acknowledged, sequence)),
    cancelJobs: (id, ...rest) => use(id, (connection) => connection.cancelJobs(id, ...rest)),
    closeComputation: (id, ...rest) => use(id, (connection) => connection.closeComputation(id, ...rest)),
    shutDown: (id) => use(id, (connection) => connection.shutDown(id)),
    recover: (...args) => first.connection.recover(...args),
    forget: (...args) => first.connection.forget(...args),
    release: (id) => use(id, (connection) => connection.release(id))
  } satisfies NodeConnection
})

/** Makes the connections of a link lasting. */
export const layer: Layer.Layer<NodeLink, never, NodeLink> = Layer.effect(
  NodeLink,
  Effect.map(NodeLink, (link) => NodeLink.of({ connect: (address) => connect(link, address) }))
)
