/** The control connection to machines in memory, over paths that a test closes, slows down and cuts. */
import { Cause, Effect, Exit, Layer, Scope, Stream } from "effect"
import { RpcClient } from "effect/rpc"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import { protocolVersion } from "../../domain/NodeInfo.ts"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import { packageVersion } from "../../domain/Version.ts"
import { type NodeConnection, NodeLink } from "../../services/NodeLink.ts"
import * as NodeConnectionRpc from "../link/NodeConnectionRpc.ts"
import type * as Gate from "./Gate.ts"
import * as Machine from "./Machine.ts"
import type { Machines } from "./Machines.ts"
import * as Pipe from "./Pipe.ts"

/** How long a node may take to say hello, as over sockets. */
const answerTimeout = "5 seconds"

/** What a client sends, and that it has closed the connection. */
type Upward = Machine.FromClient | { readonly _tag: "Closed" }

const dial = Effect.fnUntraced(function*(machines: Machines, machine: Machine.Machine, running: Machine.Running) {
  const id = ++machines.connections
  const scope = yield* Effect.scope
  // Of the client alone: what it waits for ends with it.
  const calls = yield* Scope.fork(scope)
  const path = (gate: Gate.Gate) => ({
    scope: running.scope,
    gates: [machine.thawed, gate],
    delayMillis: () => machine.delayMillis
  })
  const send = yield* Pipe.make<Upward>({
    ...path(machine.toNode),
    deliver: (message) =>
      Effect.suspend(() => {
        if (!running.lines.has(id)) return Effect.void
        if (message._tag !== "Closed") return Effect.provideContext(running.server.write(id, message), running.own)
        running.lines.delete(id)
        return Machine.disconnect(running, id)
      })
  })
  const client = yield* RpcClient.makeNoSerialization(NodeRpcs, {
    supportsAck: true,
    disableTracing: true,
    onFromClient: ({ message }) =>
      Effect.suspend(() => {
        // As calls end that were under way when the connection broke.
        if (!running.lines.has(id)) return Effect.interrupt
        send(message)
        machines.changed()
        return Effect.void
      })
  }).pipe(Scope.provide(calls))
  const receive = yield* Pipe.make<Machine.FromNode>({
    ...path(machine.fromNode),
    deliver: (message) =>
      Effect.suspend(() => {
        machines.activity++
        return client.write(message)
      })
  })
  running.lines.set(id, {
    receive: (message) => Effect.sync(() => receive(message)),
    reset: Scope.close(calls, Exit.void)
  })
  yield* Scope.addFinalizer(scope, Effect.sync(() => send({ _tag: "Closed" })))
  return client.client
})

/** Everything that must not count twice reaches the other side twice. */
const duplicating = (machine: Machine.Machine, connection: NodeConnection): NodeConnection => {
  const twice = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => machine.isDuplicating ? Effect.andThen(call, call) : call)
  return {
    ...connection,
    dispatch: (...args) => twice(connection.dispatch(...args)),
    cancelJobs: (...args) => twice(connection.cancelJobs(...args)),
    events: (...args) =>
      connection.events(...args).pipe(
        Stream.flatMap((event) =>
          machine.isDuplicating && event._tag === "Replies" ? Stream.make(event, event) : Stream.succeed(event)
        )
      )
  }
}

const connect = (machines: Machines) =>
  Effect.fn("NodeLink.connect")(function*(address: NodeAddress.NodeAddress) {
    const name = NodeAddress.format(address)
    const unreachable = (reason: string, isGone = false) =>
      new NodeUnreachable({ address: name, reason, ...(isGone ? { isGone } : {}) })
    const machine = machines.at(address)
    if (machine === undefined) return yield* unreachable("the host name is unknown")
    const { running } = machine
    if (running === undefined) return yield* unreachable("connection refused", true)
    const rpc = yield* dial(machines, machine, running)
    const info = yield* rpc.Hello({ protocol: protocolVersion, version: packageVersion }).pipe(
      Effect.catchCauseIf(Cause.hasInterruptsOnly, () => Effect.fail(unreachable("the connection was reset"))),
      Effect.timeoutOrElse({ duration: answerTimeout, orElse: () => Effect.fail(unreachable("no answer in time")) })
    )
    return duplicating(machine, NodeConnectionRpc.make(name, machine.ipAddr, info, rpc))
  })

/** Connections to these machines. */
export const layer = (machines: Machines): Layer.Layer<NodeLink> =>
  Layer.succeed(NodeLink, NodeLink.of({ connect: connect(machines) }))
