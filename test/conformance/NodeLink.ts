/** What every link to a node does, whatever carries it: the suite that all implementations pass. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, type Layer, Queue, type Scope, Stream } from "effect"
import type { Computation } from "../../src/domain/Computation.ts"
import type { NodeAddress } from "../../src/domain/NodeAddress.ts"
import type { NodeEvent } from "../../src/domain/NodeRpcs.ts"
import { encodeJobs, noBytes, Outcome, readReply, type ReplyFields, viewOf } from "../../src/domain/wire/Entries.ts"
import { NodeLink } from "../../src/services/NodeLink.ts"
import * as Values from "../../src/slot/Values.ts"

/** A link to one node with two slots, and the address of that node. */
export interface Subject {
  readonly name: string
  readonly make: Effect.Effect<
    { readonly link: Layer.Layer<NodeLink>; readonly address: NodeAddress },
    unknown,
    Scope.Scope
  >
}

const square: Computation = {
  id: "square",
  name: "square",
  code: { _tag: "FunctionCode", source: "(n) => n * n", captures: Values.encode({}) },
  limits: { graceMillis: 100, outputLimitBytes: 1000 }
}

const jobs = (...numbers: ReadonlyArray<number>): Uint8Array =>
  encodeJobs(numbers.map((n) => ({
    jobId: n,
    attempt: 1,
    flags: 0,
    timeoutMillis: 0,
    args: Values.encodeArgs([n])
  })))

const repliesOf = (batch: Uint8Array): Array<ReplyFields> => {
  const view = viewOf(batch)
  const replies: Array<ReplyFields> = []
  for (let offset = 0; offset < batch.length; offset += view.getUint32(offset, true)) {
    replies.push(readReply(batch, view, offset))
  }
  return replies
}

const me = (name: string) => ({ clientId: name, clientName: `${name}@here` })

/** A connection with its lease, and the replies that come over it. */
const leased = (address: NodeAddress, client: string, session = "first") =>
  Effect.gen(function*() {
    const link = yield* NodeLink
    const connection = yield* link.connect(address)
    const { leaseId } = yield* connection.acquire(me(client), session)
    const events = yield* Queue.unbounded<NodeEvent>()
    yield* connection.events(leaseId, 0).pipe(
      Stream.runForEach((event) => Queue.offer(events, event)),
      Effect.ignore,
      Effect.forkScoped
    )
    const collect = (count: number): Effect.Effect<Array<ReplyFields>> =>
      Effect.gen(function*() {
        const replies: Array<ReplyFields> = []
        while (replies.length < count) {
          const event = yield* Queue.take(events)
          if (event._tag === "Replies") replies.push(...repliesOf(event.batch))
        }
        return replies
      })
    return { connection, leaseId, collect }
  })

/** Registers the suite for one implementation. */
export const suite = (subject: Subject): void => {
  const claim = <A, E>(
    title: string,
    test: (address: NodeAddress) => Effect.Effect<A, E, NodeLink | Scope.Scope>
  ) =>
    it.live(
      title,
      () =>
        Effect.flatMap(subject.make, ({ address, link }) => test(address).pipe(Effect.provide(link))).pipe(
          Effect.scoped
        )
    )

  describe(`a link over ${subject.name}`, () => {
    claim("greets with what the node is", (address) =>
      Effect.gen(function*() {
        const link = yield* NodeLink
        const { info } = yield* link.connect(address)
        expect(info).toMatchObject({ name: "subject", cpus: 2 })
      }))

    claim("carries jobs there and replies back, byte for byte", (address) =>
      Effect.gen(function*() {
        const { collect, connection, leaseId } = yield* leased(address, "a")
        yield* connection.openComputation(leaseId, square)
        yield* connection.dispatch(leaseId, square.id, jobs(1, 2, 3), 0)
        const replies = yield* collect(3)
        expect(
          replies.map((reply) => [reply.jobId, reply.outcome, Values.decode(reply.result)]).toSorted((a, b) =>
            Number(a[0]) - Number(b[0])
          )
        ).toEqual([
          [1, Outcome.succeeded, 1],
          [2, Outcome.succeeded, 4],
          [3, Outcome.succeeded, 9]
        ])
      }))

    claim("gives the node to one client at a time, and names it to others", (address) =>
      Effect.gen(function*() {
        const first = yield* leased(address, "a")
        const link = yield* NodeLink
        const second = yield* link.connect(address)
        const error = yield* Effect.flip(second.acquire(me("b"), "second"))
        expect(error).toMatchObject({ _tag: "NodeBusy", holder: "a@here" })
        yield* first.connection.release(first.leaseId)
        expect((yield* second.acquire(me("b"), "second")).leaseId).not.toBe(first.leaseId)
      }))

    claim("lets several clusters of one client use the node side by side", (address) =>
      Effect.gen(function*() {
        const first = yield* leased(address, "a")
        const second = yield* leased(address, "a", "second")
        yield* first.connection.openComputation(first.leaseId, square)
        yield* second.connection.openComputation(second.leaseId, { ...square, id: "other" })
        yield* first.connection.dispatch(first.leaseId, "square", jobs(2), 0)
        yield* second.connection.dispatch(second.leaseId, "other", jobs(3), 0)
        expect((yield* first.collect(1)).map((reply) => Values.decode(reply.result))).toEqual([4])
        expect((yield* second.collect(1)).map((reply) => Values.decode(reply.result))).toEqual([9])
        yield* second.connection.release(second.leaseId)
        yield* first.connection.dispatch(first.leaseId, "square", jobs(5), 0)
        expect((yield* first.collect(1)).map((reply) => Values.decode(reply.result))).toEqual([25])
      }))

    claim("refuses jobs that are not entries, and jobs without a lease", (address) =>
      Effect.gen(function*() {
        const { connection, leaseId } = yield* leased(address, "a")
        yield* connection.openComputation(leaseId, square)
        const malformed = yield* Effect.flip(connection.dispatch(leaseId, square.id, new Uint8Array(7), 0))
        expect(malformed._tag).toBe("MalformedMessage")
        const stranger = yield* Effect.flip(connection.dispatch("no such lease", square.id, noBytes, 0))
        expect(stranger._tag).toBe("NotLeased")
      }))

    claim("says why a computation is refused", (address) =>
      Effect.gen(function*() {
        const { connection, leaseId } = yield* leased(address, "a")
        const broken: Computation = { ...square, code: { ...square.code, source: "(n => " } as never }
        const error = yield* Effect.flip(connection.openComputation(leaseId, broken))
        expect(error).toMatchObject({ _tag: "ComputationRefused", computation: "square" })
      }))

    claim("answers every cancelled job", (address) =>
      Effect.gen(function*() {
        const { collect, connection, leaseId } = yield* leased(address, "a")
        const forever: Computation = {
          ...square,
          code: { ...square.code, source: "() => new Promise((done) => setTimeout(done, 60_000))" } as never
        }
        yield* connection.openComputation(leaseId, forever)
        yield* connection.dispatch(leaseId, square.id, jobs(1, 2, 3), 0)
        yield* connection.cancelJobs(leaseId, square.id, [1, 2, 3, 99])
        expect((yield* collect(3)).map((reply) => reply.outcome)).toEqual([
          Outcome.cancelled,
          Outcome.cancelled,
          Outcome.cancelled
        ])
        yield* connection.closeComputation(leaseId, square.id)
      }))
  })
}
