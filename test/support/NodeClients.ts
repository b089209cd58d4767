/**
 * Clients of a node's handlers without sockets: each has a connection of its own
 * that can break, and what it is told is collected until a test looks at it.
 */
import { Effect, Fiber, Queue, Stream } from "effect"
import { RpcClient, RpcServer } from "effect/rpc"
import type { Computation } from "../../src/domain/Computation.ts"
import { protocolVersion } from "../../src/domain/NodeInfo.ts"
import { type NodeEvent, NodeRpcs } from "../../src/domain/NodeRpcs.ts"
import { encodeJobs, entryJobId, entrySize, noBytes, replyOutcome, viewOf } from "../../src/domain/wire/Entries.ts"
import { NodeLifecycle } from "../../src/services/NodeLifecycle.ts"
import * as Values from "../../src/slot/Values.ts"

/** A computation that a scripted executor takes. */
export const aComputation = (id: string): Computation => ({
  id,
  name: `compute-${id}`,
  code: { _tag: "FunctionCode", source: "() => 1", captures: noBytes },
  limits: { graceMillis: 100, outputLimitBytes: 1000 }
})

const noArgs = Values.encodeArgs([])

/** A batch of jobs without arguments. */
export const someJobs = (...jobIds: ReadonlyArray<number>): Uint8Array =>
  encodeJobs(jobIds.map((jobId) => ({ jobId, attempt: 1, flags: 0, timeoutMillis: 0, args: noArgs })))

/** Job ids and outcomes in a batch of replies. */
export const outcomesOf = (batch: Uint8Array): Array<readonly [jobId: number, outcome: number]> => {
  const view = viewOf(batch)
  const outcomes: Array<readonly [number, number]> = []
  for (let offset = 0; offset < batch.length; offset += entrySize(view, offset)) {
    outcomes.push([entryJobId(view, offset), replyOutcome(view, offset)])
  }
  return outcomes
}

/** Opens connections to the handlers in the context. */
export const make = Effect.gen(function*() {
  const lifecycle = yield* NodeLifecycle
  const connections = new Map<
    number,
    Effect.Success<ReturnType<typeof RpcClient.makeNoSerialization<Rpcs, never, false>>>
  >()
  const server = yield* RpcServer.makeNoSerialization(NodeRpcs, {
    disableTracing: true,
    onFromServer: (response) => connections.get(response.clientId)?.write(response) ?? Effect.void
  })
  let count = 0
  const connectRaw = Effect.gen(function*() {
    const id = ++count
    const connection = yield* RpcClient.makeNoSerialization(NodeRpcs, {
      supportsAck: true,
      disableTracing: true,
      onFromClient: ({ message }) => connections.has(id) ? server.write(id, message) : Effect.void
    })
    connections.set(id, connection)
    const cut = Effect.suspend(() => {
      connections.delete(id)
      return Effect.andThen(server.disconnect(id), lifecycle.disconnected(id))
    })
    return { rpc: connection.client, cut }
  })
  const connect = Effect.tap(connectRaw, ({ rpc }) => rpc.Hello({ protocol: protocolVersion, version: "0.1.0" }))
  return { connect, connectRaw }
})

type Rpcs = typeof NodeRpcs extends { readonly requests: ReadonlyMap<string, infer R> } ? R : never

/** Listens to the events of a lease, from now until it is ended. */
export const listen = Effect.fnUntraced(function*(events: Stream.Stream<NodeEvent, unknown>) {
  const queue = yield* Queue.unbounded<NodeEvent>()
  const fiber = yield* Effect.forkScoped(Stream.runForEach(events, (event) => Queue.offer(queue, event)))
  // The request is on its way when this fiber has run.
  yield* Effect.yieldNow
  return { next: Queue.take(queue), end: Fiber.interrupt(fiber), done: Fiber.await(fiber) }
})
