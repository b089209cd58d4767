/** What a node's owner can do with it while a client has it, over a scripted executor and without sockets. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import * as HostStatsFixed from "../../../src/layers/host/HostStatsFixed.ts"
import * as NodeServer from "../../../src/layers/node/NodeServer.ts"
import * as NodeConfig from "../../../src/services/NodeConfig.ts"
import { NodeOwner } from "../../../src/services/NodeOwner.ts"
import * as NodeClients from "../../support/NodeClients.ts"
import * as ScriptedExecutor from "../../support/ScriptedExecutor.ts"

const { aComputation, listen, outcomesOf, someJobs } = NodeClients

const alice = { clientId: "alice", clientName: "alice@desk", sessionId: "1" }
const bob = { clientId: "bob", clientName: "bob@desk", sessionId: "1" }

const aNode = (settings: Partial<NodeConfig.NodeSettings> = {}) =>
  Effect.gen(function*() {
    const { layer, script } = ScriptedExecutor.make({ cpus: 4 })
    const context = yield* Layer.build(
      NodeServer.layer.pipe(
        Layer.provide([layer, HostStatsFixed.layer(), NodeConfig.layer({ name: "n1", incarnation: "i1", ...settings })])
      )
    )
    const control = yield* NodeOwner.pipe(Effect.provideContext(context))
    const clients = yield* NodeClients.make.pipe(Effect.provideContext(context))
    return { script, control, ...clients }
  })

/** The same with a client that listens and has a job running and one waiting. */
const aBusyNode = (settings: Partial<NodeConfig.NodeSettings> = {}) =>
  Effect.gen(function*() {
    const node = yield* aNode(settings)
    const client = yield* node.connect
    const { leaseId } = yield* client.rpc.AcquireLease(alice)
    yield* client.rpc.OpenComputation({ leaseId, computation: aComputation("c") })
    const events = yield* listen(client.rpc.Events({ leaseId, received: 0 }))
    yield* client.rpc.Dispatch({ leaseId, computationId: "c", sequence: 1, batch: someJobs(1, 2), acknowledged: 0 })
    return { ...node, client, leaseId, events, computation: node.script.computations.get("c")! }
  })

/** Whether an effect has not ended yet, when everything that could happen has. */
const isWaiting = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Effect.map(TestClock.adjust(0), () => fiber.pollUnsafe() === undefined)

describe("the owner", () => {
  it.effect("sees clients, computations, jobs and cpus", () =>
    Effect.gen(function*() {
      const { client, computation, control, leaseId } = yield* aBusyNode()
      expect(yield* control.report).toEqual({
        cpus: 4,
        chosenCpus: 4,
        closedBecause: "",
        endingBecause: "",
        startedAt: 0,
        clients: [{ name: "alice@desk", isConnected: true }],
        computations: [{ name: "compute-c", clientName: "alice@desk", running: 1, waiting: 1 }],
        opened: 1,
        jobsDone: 0,
        cpuMillis: 0
      })
      computation.finish(1)
      yield* client.rpc.ReleaseLease({ leaseId })
      expect(yield* control.report).toMatchObject({ clients: [], computations: [], opened: 1, jobsDone: 1 })
    }))

  it.effect("changes the cpus, of which clients hear, also one that comes later", () =>
    Effect.gen(function*() {
      const { connect, control, events, script } = yield* aBusyNode()
      yield* control.setCpus(3)
      expect(yield* events.next).toEqual({ _tag: "CpusChanged", cpus: 3 })
      expect(script.cpus).toBe(3)
      const late = yield* connect
      const { leaseId } = yield* late.rpc.AcquireLease({ ...alice, sessionId: "2" })
      const heard = yield* listen(late.rpc.Events({ leaseId, received: 0 }))
      expect(yield* heard.next).toEqual({ _tag: "CpusChanged", cpus: 3 })
      yield* control.setCpus(3)
      expect((yield* control.report).cpus).toBe(3)
    }))

  it.effect("stops and starts: what has not started is given back, what runs goes on", () =>
    Effect.gen(function*() {
      const { computation, control, events } = yield* aBusyNode()
      yield* control.stop
      expect(yield* events.next).toEqual({ _tag: "CpusChanged", cpus: 0 })
      expect(yield* events.next).toMatchObject({ _tag: "Replies" })
      expect(computation.jobs).toEqual([1])
      expect(yield* control.report).toMatchObject({ cpus: 0, chosenCpus: 4, closedBecause: "stopped by its owner" })
      yield* control.setCpus(2)
      expect((yield* control.report).cpus).toBe(0)
      yield* control.start
      expect(yield* events.next).toEqual({ _tag: "CpusChanged", cpus: 2 })
      computation.finish(1)
      const replies = yield* events.next
      expect(replies._tag === "Replies" && outcomesOf(replies.batch)).toEqual([[1, Outcome.succeeded]])
    }))

  it.effect("releases the node from a client that is gone, and from no other", () =>
    Effect.gen(function*() {
      const { client, computation, connect, control } = yield* aBusyNode({ leaseResume: "1 hour" })
      expect(yield* control.release).toEqual([])
      yield* client.cut
      expect((yield* control.report).clients).toEqual([{ name: "alice@desk", isConnected: false }])
      expect(yield* control.release).toEqual(["alice@desk"])
      expect(computation.isClosed).toBe(true)
      const next = yield* connect
      expect(yield* next.rpc.AcquireLease(bob)).toHaveProperty("leaseId")
    }))

  it.effect("refuses new clients and waits for the one there is, which may go on", () =>
    Effect.gen(function*() {
      const { client, connect, control, leaseId } = yield* aBusyNode()
      yield* control.refuseClients("it ends soon")
      const free = yield* Effect.forkChild(control.untilFree)
      const other = yield* connect
      expect((yield* Effect.flip(other.rpc.AcquireLease(bob)))._tag).toBe("NodeBusy")
      const second = yield* client.rpc.AcquireLease({ ...alice, sessionId: "2" })
      yield* client.rpc.ReleaseLease(second)
      expect(yield* isWaiting(free)).toBe(true)
      yield* client.rpc.ReleaseLease({ leaseId })
      yield* Fiber.join(free)
      expect(yield* Effect.flip(other.rpc.AcquireLease(bob))).toMatchObject({
        holder: expect.stringContaining("it ends soon")
      })
    }))
})

describe("a client", () => {
  it.effect("shuts the node down where its owner allows that: no client is new, and it is done when the last is gone", () =>
    Effect.gen(function*() {
      const { client, connect, control, leaseId } = yield* aBusyNode({ clientShutdown: true })
      const asked = yield* Effect.forkChild(control.untilShutDown)
      yield* client.rpc.ShutDown({ leaseId })
      expect(yield* Fiber.join(asked)).toBe("alice@desk")
      const other = yield* connect
      expect(yield* Effect.flip(other.rpc.AcquireLease(bob))).toMatchObject({
        holder: expect.stringContaining("alice@desk shut it down")
      })
    }))

  it.effect("cannot shut it down elsewhere, nor without a lease", () =>
    Effect.gen(function*() {
      const { client, connect, leaseId } = yield* aBusyNode()
      const refused = yield* Effect.flip(client.rpc.ShutDown({ leaseId }))
      expect(refused._tag).toBe("ShutdownRefused")
      expect(refused.message).toContain("dispynode --client-shutdown")
      const other = yield* connect
      expect((yield* Effect.flip(other.rpc.ShutDown({ leaseId })))._tag).toBe("NotLeased")
    }))
})

describe("a node that serves two computations", () => {
  it.effect("takes no third, and is done when both are closed, by whatever way", () =>
    Effect.gen(function*() {
      const { client, control, leaseId } = yield* aBusyNode({ serve: 2 })
      const done = yield* Effect.forkChild(control.untilServed)
      yield* client.rpc.CloseComputation({ leaseId, computationId: "c" })
      expect(yield* isWaiting(done)).toBe(true)
      yield* client.rpc.OpenComputation({ leaseId, computation: aComputation("d") })
      const refused = yield* Effect.flip(client.rpc.OpenComputation({ leaseId, computation: aComputation("e") }))
      expect(refused).toMatchObject({ _tag: "ComputationRefused", reason: expect.stringContaining("2 computations") })
      // Asked again on a new connection, say: it is the same one.
      yield* client.rpc.OpenComputation({ leaseId, computation: aComputation("d") })
      expect(yield* isWaiting(done)).toBe(true)
      yield* client.rpc.ReleaseLease({ leaseId })
      yield* Fiber.join(done)
    }))

  it.effect("counts no computation that it could not open", () =>
    Effect.gen(function*() {
      const { connect, control, script } = yield* aNode({ serve: 1 })
      const done = yield* Effect.forkChild(control.untilServed)
      const client = yield* connect
      const { leaseId } = yield* client.rpc.AcquireLease(alice)
      script.refuse = "no"
      yield* Effect.flip(client.rpc.OpenComputation({ leaseId, computation: aComputation("c") }))
      expect(yield* isWaiting(done)).toBe(true)
      script.refuse = undefined
      yield* client.rpc.OpenComputation({ leaseId, computation: aComputation("d") })
      yield* client.rpc.CloseComputation({ leaseId, computationId: "d" })
      yield* Fiber.join(done)
    }))
})
