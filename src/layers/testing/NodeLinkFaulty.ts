/** The control connection to machines in memory, over paths that a test closes, slows down and cuts. */
import { Cause, Context, Effect, Exit, Layer, Scope, Stream } from "effect"
import { RpcClient } from "effect/rpc"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import { protocolVersion } from "../../domain/NodeInfo.ts"
import { NodeRpcs } from "../../domain/NodeRpcs.ts"
import { packageVersion } from "../../domain/Version.ts"
import { type NodeConnection, NodeLink } from "../../services/NodeLink.ts"
import * as NodeConnectionRpc from "../link/NodeConnectionRpc.ts"
import * as NodeLinkLasting from "../link/NodeLinkLasting.ts"
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
    delayMillis: () => machine.delayMillis,
    prompt: machine.prompt
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
  return { client: client.client, id }
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

/** One connection after another to a machine. */
interface Route {
  /** Whether a call goes through now, and its answer. */
  readonly isOpen: () => boolean
  readonly link: NodeLink["Service"]
}

const routeTo = (machines: Machines): Route => {
  let isOpen = (): boolean => false
  const connect = Effect.fn("NodeLink.connect")(function*(address: NodeAddress.NodeAddress) {
    const name = NodeAddress.format(address)
    const unreachable = (reason: string, isGone = false) =>
      Effect.fail(new NodeUnreachable({ address: name, reason, ...(isGone ? { isGone } : {}) }))
    const machine = machines.at(address)
    if (machine === undefined) return yield* unreachable("the host name is unknown")
    const { running } = machine
    if (running === undefined) return yield* unreachable("connection refused", true)
    const { client, id } = yield* dial(machines, machine, running)
    isOpen = () => running.lines.has(id) && Machine.isPrompt(machine)
    const info = yield* client.Hello({ protocol: protocolVersion, version: packageVersion }).pipe(
      Effect.catchCauseIf(Cause.hasInterruptsOnly, () => unreachable("the connection was reset")),
      Effect.timeoutOrElse({ duration: answerTimeout, orElse: () => unreachable("no answer in time") })
    )
    return duplicating(machine, NodeConnectionRpc.make(name, machine.ipAddr, info, client))
  })
  return { isOpen: () => isOpen(), link: NodeLink.of({ connect }) }
}

/**
 * A lasting connection. What a cluster tells at its end to a node that does not answer arrives when it does, and is not
 * waited for: the clock of a test that has ended stands still.
 */
const lasting = (machines: Machines, scope: Scope.Scope) =>
  Effect.fnUntraced(function*(address: NodeAddress.NodeAddress) {
    const route = routeTo(machines)
    const context = yield* Layer.build(
      Layer.fresh(NodeLinkLasting.layer).pipe(Layer.provide(Layer.succeed(NodeLink, route.link)))
    )
    const connection = yield* Context.get(context, NodeLink).connect(address)
    const atTheEnd = <E>(call: Effect.Effect<void, E>): Effect.Effect<void, E> =>
      Effect.suspend(() => route.isOpen() ? call : Effect.asVoid(Effect.forkIn(Effect.ignore(call), scope)))
    return {
      ...connection,
      closeComputation: (...args) => atTheEnd(connection.closeComputation(...args)),
      release: (...args) => atTheEnd(connection.release(...args))
    } satisfies NodeConnection
  })

/** Lasting connections to these machines; the scope is that of the network. */
export const layer = (machines: Machines, scope: Scope.Scope): Layer.Layer<NodeLink> =>
  Layer.succeed(NodeLink, NodeLink.of({ connect: lasting(machines, scope) }))
