/**
 * Connections that outlive the sockets under them. Once a lease is acquired, a connection that breaks is made again and
 * goes on with the lease: calls that were under way are made again (the node takes none twice), and what the node tells
 * begins after what was received. Those who use it notice a pause.
 *
 * ```
 * connected ──▶ broken ──▶ (dial, resume the lease) ──▶ connected
 *     └─────────┴──▶ lost   nobody listens, another start of the node, no such lease, five pulses of silence
 * ```
 * Silence is counted in ticks, not read from a clock: a program that was busy or stopped for a minute has missed one
 * tick, and looks at what arrived in the meantime before it counts the next.
 */
import { Deferred, Duration, Effect, Exit, Latch, Layer, type Pull, Random, Scope, Stream } from "effect"
import type { NodeAddress } from "../../domain/NodeAddress.ts"
import * as NodeAddresses from "../../domain/NodeAddress.ts"
import { NodeUnreachable, type NotLeased } from "../../domain/NodeError.ts"
import type { NodeEvent } from "../../domain/NodeRpcs.ts"
import { type Lease, type NodeConnection, NodeLink } from "../../services/NodeLink.ts"

/**
 * Ticks per pulse, of silence before a connection is taken as broken, and before the node is taken as dead: after five
 * pulses and a quarter at most, so that its jobs are elsewhere within five and a half.
 */
const ticks = { perPulse: 4, broken: 10, dead: 21 }

/** Times between tries to connect again: they double, from the first to the last, each a random part of it. */
const [firstWait, lastWait] = [50, 2000]

/** Tries that take longer than this are worth a line. */
const noticeAfter = Duration.seconds(1)

interface Live {
  readonly connection: NodeConnection
  readonly scope: Scope.Closeable
}

type Broken = NodeUnreachable | NotLeased

const isBroken = (error: unknown): error is Broken =>
  typeof error === "object" && error !== null && "_tag" in error &&
  (error._tag === "NodeUnreachable" || error._tag === "NotLeased")

const reasonOf = (error: Broken): string => error._tag === "NodeUnreachable" ? error.reason : error.message

const open = Effect.fnUntraced(function*(link: NodeLink["Service"], address: NodeAddress, parent: Scope.Scope) {
  const scope = yield* Scope.fork(parent)
  const connection = yield* link.connect(address).pipe(
    Scope.provide(scope),
    Effect.onError(() => Scope.close(scope, Exit.void))
  )
  return { connection, scope } satisfies Live
})

const connect = Effect.fnUntraced(function*(link: NodeLink["Service"], address: NodeAddress) {
  const name = NodeAddresses.format(address)
  // Of all connections there will be: what their user does at its end, it does before the newest is closed.
  const parent = yield* Scope.fork(yield* Effect.scope)
  const first = yield* open(link, address, parent)
  const { info, ipAddr } = first.connection
  let live: Live | undefined = first
  let lease: Lease | undefined
  let clientId = ""
  /** The connection that is being made again, and why it broke. */
  let broken = first
  let reason = ""
  /** Done when there is a connection again, or will be none. */
  let back = Deferred.makeUnsafe<void, NodeUnreachable>()
  const lost = Deferred.makeUnsafe<never, NodeUnreachable>()
  const broke = Latch.makeUnsafe(false)
  let silentTicks = 0
  let sent = 0
  let received = 0

  const breakUp = (dead: Live, why: string): void => {
    if (live !== dead) return
    live = undefined
    reason = why
    back = Deferred.makeUnsafe()
    broken = dead
    broke.openUnsafe()
  }

  const lose = (why: string): void => {
    const error = new NodeUnreachable({ address: name, reason: why })
    if (!Deferred.doneUnsafe(lost, Effect.fail(error))) return
    Deferred.doneUnsafe(back, Effect.fail(error))
  }

  const attempt = Effect.fnUntraced(function*({ leaseId }: Lease) {
    const next = yield* open(link, address, parent)
    return yield* next.connection.info.incarnation === info.incarnation
      ? Effect.as(next.connection.resume(leaseId, clientId), next).pipe(
        Effect.onError(() => Scope.close(next.scope, Exit.void))
      )
      : Effect.andThen(
        Scope.close(next.scope, Exit.void),
        new NodeUnreachable({ address: name, reason: "it was restarted", isGone: true })
      )
  })

  /** Tries until there is a connection or it is no use. */
  const resume = Effect.fnUntraced(function*(held: Lease) {
    let wait = firstWait
    while (live === undefined) {
      yield* Effect.sleep(Duration.millis(yield* Random.nextBetween(0, wait)))
      wait = Math.min(wait * 2, lastWait)
      const tried = yield* Effect.result(attempt(held))
      if (tried._tag === "Success") {
        live = tried.success
        silentTicks = 0
        Deferred.doneUnsafe(back, Effect.void)
        return
      }
      const { failure } = tried
      if (failure._tag === "NodeUnreachable" && failure.isGone !== true) continue
      return lose(
        failure._tag === "NodeUnreachable"
          ? failure.reason
          : failure._tag === "NotLeased"
          ? `${reason}, and it has given the client up since`
          : failure.message
      )
    }
  })

  const notice = Effect.suspend(() =>
    Effect.logWarning(`lost the connection to node ${name} (${reason}); trying again`)
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
      silentTicks++
      if (silentTicks >= ticks.dead) return Effect.sync(() => lose("no sign of life for five pulses"))
      const now = live
      if (now === undefined) return Effect.void
      if (silentTicks >= ticks.broken) return Effect.sync(() => breakUp(now, "no sign of life"))
      return now.connection.pulse(leaseId).pipe(
        Effect.map(() => silentTicks = 0),
        Effect.catch((error) => Effect.sync(() => breakUp(now, reasonOf(error)))),
        Effect.forkIn(now.scope)
      )
    })

  const keep = (held: Lease): Effect.Effect<unknown> =>
    maintain(held).pipe(
      Effect.raceFirst(Effect.forever(Effect.delay(tick(held), held.pulseMillis / ticks.perPulse))),
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
        (error): error is (E | NodeUnreachable) & Broken =>
          isBroken(error) && (error._tag === "NodeUnreachable" || !isForgotten),
        (error) => {
          breakUp(now, reasonOf(error))
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
        Scope.provide(Stream.toPull(now.connection.events(leaseId, received)), now.scope),
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
          silentTicks = 0
          for (const event of told) if (event._tag === "Replies") received = event.sequence
          return told
        }),
        Effect.catchIf(isBroken, (error) => {
          breakUp(now.from, reasonOf(error))
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
    dispatch: (id, computationId, batch, acknowledged, sequence = ++sent) =>
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
