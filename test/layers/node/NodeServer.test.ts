/** The node's side of the control protocol, over a scripted executor and without sockets. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { protocolVersion } from "../../../src/domain/NodeInfo.ts"
import { countReplies, noBytes, Outcome } from "../../../src/domain/wire/Entries.ts"
import * as HostStatsFixed from "../../../src/layers/host/HostStatsFixed.ts"
import * as NodeServer from "../../../src/layers/node/NodeServer.ts"
import { NodeLifecycle } from "../../../src/services/NodeLifecycle.ts"
import * as NodeClients from "../../support/NodeClients.ts"
import * as NodeSettings from "../../support/NodeSettings.ts"
import * as ScriptedExecutor from "../../support/ScriptedExecutor.ts"

const { aComputation, listen, outcomesOf, someJobs } = NodeClients

const alice = { clientId: "alice", clientName: "alice@desk", sessionId: "1" }
const bob = { clientId: "bob", clientName: "bob@desk", sessionId: "1" }

/** A node over a scripted executor, and clients to connect to it. */
const aNode = (options?: Parameters<typeof ScriptedExecutor.make>[0]) =>
  Effect.gen(function*() {
    const { layer, script } = ScriptedExecutor.make(options)
    const context = yield* Layer.build(
      NodeServer.layer.pipe(
        Layer.provide([layer, HostStatsFixed.layer(), NodeSettings.layer({ name: "n1", incarnation: "i1" })])
      )
    )
    const lifecycle = yield* NodeLifecycle.pipe(Effect.provideContext(context))
    const clients = yield* NodeClients.make.pipe(Effect.provideContext(context))
    return { script, lifecycle, ...clients }
  })

/** The same with a client that has computation "c" open and listens. */
const aBusyNode = (options?: Parameters<typeof ScriptedExecutor.make>[0]) =>
  Effect.gen(function*() {
    const node = yield* aNode(options)
    const client = yield* node.connect
    const { leaseId } = yield* client.rpc.AcquireLease(alice)
    yield* client.rpc.OpenComputation({ leaseId, computation: aComputation("c") })
    const events = yield* listen(client.rpc.Events({ leaseId, received: 0 }))
    let sequence = 0
    const dispatch = (batch: Uint8Array, acknowledged = 0) =>
      client.rpc.Dispatch({ leaseId, computationId: "c", sequence: ++sequence, batch, acknowledged })
    const computation = node.script.computations.get("c")!
    return { ...node, client, leaseId, events, dispatch, computation }
  })

describe("a client that is behind", () => {
  it.effect("makes jobs wait beyond 64 MiB, and lets them go on when it has caught up", () =>
    Effect.gen(function*() {
      const { computation, dispatch, events, script } = yield* aBusyNode()
      yield* dispatch(someJobs(1))
      const mebibyte = 2 ** 20
      for (let i = 0; i < 63; i++) computation.say(1, mebibyte)
      expect(computation.isPaused).toBe(false)
      computation.say(1, mebibyte)
      expect(computation.isPaused).toBe(true)
      let sequence = 0
      for (let taken = 0; taken < 64;) {
        const event = yield* events.next
        if (event._tag !== "Replies") continue
        sequence = event.sequence
        taken += countReplies(event.batch)
      }
      // Taken but not acknowledged: the node still has to hold it.
      expect(computation.isPaused).toBe(true)
      yield* dispatch(noBytes, sequence)
      expect(computation.isPaused).toBe(false)
      expect(script.computations.get("c")?.jobs).toEqual([1])
    }))
})

describe("Hello", () => {
  it.effect("tells what the node is", () =>
    Effect.gen(function*() {
      const { connectRaw } = yield* aNode({ cpus: 3 })
      const { rpc } = yield* connectRaw
      expect(yield* rpc.Hello({ protocol: protocolVersion, version: "0.1.0" })).toMatchObject({
        name: "n1",
        incarnation: "i1",
        cpus: 3,
        platform: "test-x64 1.0 node-24"
      })
    }))

  it.effect("refuses another protocol and names both versions", () =>
    Effect.gen(function*() {
      const { connectRaw } = yield* aNode()
      const { rpc } = yield* connectRaw
      const error = yield* Effect.flip(rpc.Hello({ protocol: 99, version: "9.9.9" }))
      expect(error).toMatchObject({ _tag: "VersionMismatch", clientVersion: "9.9.9", nodeVersion: "0.1.0" })
    }))

  it.effect("must come before a lease", () =>
    Effect.gen(function*() {
      const { connectRaw } = yield* aNode()
      const { rpc } = yield* connectRaw
      yield* Effect.exit(rpc.Hello({ protocol: 99, version: "9.9.9" }))
      const exit = yield* Effect.exit(rpc.AcquireLease(alice))
      expect(exit).toMatchObject({ _tag: "Failure", cause: { reasons: [{ _tag: "Die" }] } })
    }))
})

describe("the lease", () => {
  it.effect("is one client's, whose name the next one is told", () =>
    Effect.gen(function*() {
      const { connect } = yield* aNode()
      const first = yield* connect
      const second = yield* connect
      yield* first.rpc.AcquireLease(alice)
      const error = yield* Effect.flip(second.rpc.AcquireLease(bob))
      expect(error).toMatchObject({ _tag: "NodeBusy", node: "n1", holder: "alice@desk" })
    }))

  it.effect("is resumed by the connection of a client that is back, and of no use to the one before", () =>
    Effect.gen(function*() {
      const { client, connect, leaseId } = yield* aBusyNode()
      const again = yield* connect
      yield* again.rpc.ResumeLease({ leaseId, clientId: alice.clientId })
      yield* again.rpc.Pulse({ leaseId })
      expect(yield* Effect.flip(client.rpc.Pulse({ leaseId }))).toMatchObject({ _tag: "NotLeased" })
      // Its end costs nothing any more.
      yield* client.cut
      yield* TestClock.adjust("6 seconds")
      yield* again.rpc.Pulse({ leaseId })
      const wrong = yield* Effect.flip(again.rpc.ResumeLease({ leaseId: "another", clientId: alice.clientId }))
      expect(wrong).toMatchObject({ _tag: "NotLeased", node: "n1" })
    }))

  it.effect("ends when its client misses five pulses and does not come back", () =>
    Effect.gen(function*() {
      const { connect } = yield* aNode()
      const silent = yield* connect
      const { leaseId, pulseMillis } = yield* silent.rpc.AcquireLease({ ...alice, pulseMillis: 1000 })
      expect(pulseMillis).toBe(1000)
      const other = yield* connect
      const isHeld = Effect.isFailure(other.rpc.AcquireLease(bob))
      yield* TestClock.adjust("5 seconds")
      yield* silent.rpc.Pulse({ leaseId })
      yield* TestClock.adjust("10900 millis")
      expect(yield* isHeld).toBe(true)
      yield* TestClock.adjust("200 millis")
      expect(yield* isHeld).toBe(false)
    }))

  it.effect("is no use to a connection that only knows its id", () =>
    Effect.gen(function*() {
      const { connect, leaseId } = yield* aBusyNode()
      const { rpc } = yield* connect
      const error = yield* Effect.flip(
        rpc.Dispatch({ leaseId, computationId: "c", sequence: 1, batch: someJobs(1), acknowledged: 0 })
      )
      expect(error).toMatchObject({ _tag: "NotLeased", what: "jobs" })
      expect(yield* Effect.flip(rpc.OpenComputation({ leaseId, computation: aComputation("d") })))
        .toMatchObject({ _tag: "NotLeased" })
      yield* rpc.ReleaseLease({ leaseId })
      expect((yield* Effect.flip(rpc.AcquireLease(bob)))._tag).toBe("NodeBusy")
    }))

  it.effect("lets nobody else at jobs, results and files, whatever he asks for and however often", () =>
    Effect.gen(function*() {
      const { computation, connect, dispatch, events, leaseId } = yield* aBusyNode()
      yield* dispatch(someJobs(1, 2))
      const { rpc } = yield* connect
      const c = { leaseId, computationId: "c" }
      const requests: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
        rpc.Dispatch({ ...c, sequence: 1, batch: someJobs(3), acknowledged: 9 }),
        rpc.CancelJobs({ ...c, jobIds: [1, 2] }),
        rpc.NodeJobs(c),
        rpc.SetCpus({ ...c, cpus: 0 }),
        rpc.CloseComputation(c),
        rpc.OpenComputation({ leaseId, computation: aComputation("c") }),
        rpc.OfferFiles({ ...c, computationName: "c", files: [] }),
        rpc.AnswerJobFile({ ...c, fileId: 1, problem: "" }),
        rpc.ShutDown({ leaseId }),
        rpc.Pulse({ leaseId }),
        rpc.ResumeLease({ leaseId, clientId: bob.clientId }),
        Stream.runDrain(rpc.Events({ leaseId, received: 0 }))
      ]
      for (let n = 0; n < 1000; n++) {
        const error = yield* Effect.flip(requests[n % requests.length]!)
        expect(error._tag).toBe("NotLeased")
        // It is not told that it failed, which is as good as a release that did nothing.
        if (n % 100 === 0) yield* rpc.ReleaseLease({ leaseId })
      }
      expect(yield* Effect.flip(rpc.AcquireLease(bob))).toMatchObject({ _tag: "NodeBusy", holder: "alice@desk" })
      expect([computation.jobs, computation.cpus, computation.isClosed]).toEqual([[1, 2], undefined, false])
      computation.finish(1)
      const replies = yield* events.next
      expect(replies._tag === "Replies" && outcomesOf(replies.batch)).toEqual([[1, 0]])
    }))

  it.effect("gives a cluster of the client nothing of another one of the same client", () =>
    Effect.gen(function*() {
      const { computation, connect, dispatch } = yield* aBusyNode()
      yield* dispatch(someJobs(1, 2))
      const { rpc } = yield* connect
      const { leaseId } = yield* rpc.AcquireLease({ ...alice, sessionId: "2" })
      const c = { leaseId, computationId: "c" }
      yield* rpc.CancelJobs({ ...c, jobIds: [1, 2] })
      yield* rpc.SetCpus({ ...c, cpus: 0 })
      yield* rpc.CloseComputation(c)
      expect(yield* rpc.NodeJobs(c)).toEqual({ running: [], waiting: [] })
      expect((yield* Effect.flip(rpc.Dispatch({ ...c, sequence: 1, batch: someJobs(3), acknowledged: 0 })))._tag).toBe(
        "MalformedMessage"
      )
      expect([computation.jobs, computation.cpus, computation.isClosed]).toEqual([[1, 2], undefined, false])
    }))

  it.effect("is the same again for a client that comes back in time, whose jobs went on", () =>
    Effect.gen(function*() {
      const { client, computation, connect, dispatch, leaseId } = yield* aBusyNode()
      yield* dispatch(someJobs(1))
      yield* client.cut
      yield* TestClock.adjust("4 seconds")
      computation.finish(1)
      const again = yield* connect
      expect(yield* again.rpc.AcquireLease(alice)).toEqual({ leaseId, pulseMillis: 10_000 })
      yield* TestClock.adjust("30 seconds")
      const events = yield* listen(again.rpc.Events({ leaseId, received: 0 }))
      expect(yield* events.next).toMatchObject({ _tag: "Pulse" })
      expect(yield* events.next).toMatchObject({ _tag: "Replies", sequence: 1 })
      expect(computation.isClosed).toBe(false)
    }))

  it.effect("ends 5 seconds after its client is gone, and the node is free when the last process is", () =>
    Effect.gen(function*() {
      const { client, computation, connect, script } = yield* aBusyNode()
      const [wait, open] = ScriptedExecutor.gate()
      script.closeGate = wait
      yield* client.cut
      yield* TestClock.adjust("4999 millis")
      const other = yield* connect
      expect((yield* Effect.flip(other.rpc.AcquireLease(bob)))._tag).toBe("NodeBusy")
      yield* TestClock.adjust("1 millis")
      expect((yield* Effect.flip(other.rpc.AcquireLease(bob)))._tag).toBe("NodeBusy")
      expect(computation.isClosed).toBe(false)
      yield* open
      yield* TestClock.adjust(0)
      expect(computation.isClosed).toBe(true)
      yield* other.rpc.AcquireLease(bob)
    }))

  it.effect("is released when its computations are gone, even if the client does not wait", () =>
    Effect.gen(function*() {
      const { client, computation, connect, leaseId, script } = yield* aBusyNode()
      const [wait, open] = ScriptedExecutor.gate()
      script.closeGate = wait
      const released = yield* Effect.forkChild(client.rpc.ReleaseLease({ leaseId }))
      yield* TestClock.adjust(0)
      expect(released.pollUnsafe()).toBeUndefined()
      yield* client.cut
      const again = yield* connect
      const acquired = yield* Effect.forkChild(again.rpc.AcquireLease(alice))
      yield* TestClock.adjust(0)
      expect(acquired.pollUnsafe()).toBeUndefined()
      yield* open
      expect((yield* Fiber.join(acquired)).leaseId).not.toBe(leaseId)
      expect(computation.isClosed).toBe(true)
    }))
})

describe("jobs", () => {
  it.effect("are answered in batches that grow while the client does not listen", () =>
    Effect.gen(function*() {
      const { computation, dispatch, events } = yield* aBusyNode()
      yield* dispatch(someJobs(1, 2, 3))
      computation.finish(2)
      const first = yield* events.next
      expect(first).toMatchObject({ _tag: "Replies", computationId: "c", sequence: 1 })
      yield* dispatch(someJobs(4, 5))
      computation.finish(1)
      for (const id of [3, 4, 5]) computation.finish(id)
      const replies: Array<number> = []
      while (replies.length < 4) {
        const event = yield* events.next
        if (event._tag === "Replies") replies.push(...outcomesOf(event.batch).map(([id]) => id))
      }
      expect(replies).toEqual([1, 3, 4, 5])
    }))

  it.effect("are refused when they are not entries, or for a computation that is not open", () =>
    Effect.gen(function*() {
      const { client, dispatch, leaseId } = yield* aBusyNode()
      expect(yield* Effect.flip(dispatch(new Uint8Array([1, 2, 3])))).toMatchObject({ _tag: "MalformedMessage" })
      const error = yield* Effect.flip(
        client.rpc.Dispatch({ leaseId, computationId: "x", sequence: 2, batch: someJobs(1), acknowledged: 0 })
      )
      expect(error).toMatchObject({ _tag: "MalformedMessage" })
      yield* client.rpc.Dispatch({ leaseId, computationId: "x", sequence: 3, batch: someJobs(), acknowledged: 0 })
    }))

  it.effect("are cancelled by id", () =>
    Effect.gen(function*() {
      const { client, dispatch, events, leaseId } = yield* aBusyNode()
      yield* dispatch(someJobs(1, 2))
      yield* client.rpc.CancelJobs({ leaseId, computationId: "c", jobIds: [2, 77] })
      const event = yield* events.next
      expect(event._tag === "Replies" && outcomesOf(event.batch)).toEqual([[2, Outcome.cancelled]])
    }))

  it.effect("have their replies told again from the first that was not acknowledged", () =>
    Effect.gen(function*() {
      const { client, computation, connect, dispatch, events, leaseId } = yield* aBusyNode()
      yield* dispatch(someJobs(1, 2, 3))
      computation.finish(1)
      yield* events.next
      computation.finish(2)
      yield* events.next
      yield* dispatch(someJobs(), 1)
      yield* client.cut
      const again = yield* connect
      yield* again.rpc.AcquireLease(alice)
      computation.finish(3)
      const replay = yield* listen(again.rpc.Events({ leaseId, received: 0 }))
      const told = [yield* replay.next, yield* replay.next]
      expect(told.map((event) => event._tag === "Replies" && [event.sequence, outcomesOf(event.batch)[0]![0]]))
        .toEqual([[2, 2], [3, 3]])
    }))

  it.effect("are taken once, though a client that reconnects sends them again", () =>
    Effect.gen(function*() {
      const { client, connect, dispatch, leaseId, script } = yield* aBusyNode()
      yield* dispatch(someJobs(1))
      yield* client.cut
      const again = yield* connect
      yield* again.rpc.ResumeLease({ leaseId, clientId: alice.clientId })
      const batch = someJobs(1)
      yield* again.rpc.Dispatch({ leaseId, computationId: "c", sequence: 1, batch, acknowledged: 0 })
      yield* again.rpc.Dispatch({ leaseId, computationId: "c", sequence: 2, batch: someJobs(2), acknowledged: 0 })
      expect(script.computations.get("c")?.jobs).toEqual([1, 2])
    }))

  it.effect("are told to the newest stream only", () =>
    Effect.gen(function*() {
      const { client, computation, dispatch, events, leaseId } = yield* aBusyNode()
      const newer = yield* listen(client.rpc.Events({ leaseId, received: 0 }))
      yield* events.done
      yield* dispatch(someJobs(1))
      computation.finish(1)
      expect(yield* newer.next).toMatchObject({ _tag: "Replies", sequence: 1 })
    }))
})

describe("a computation", () => {
  it.effect("is opened once, also for a client that asks again", () =>
    Effect.gen(function*() {
      const { client, leaseId, script } = yield* aBusyNode()
      expect(yield* client.rpc.OpenComputation({ leaseId, computation: aComputation("c") })).toEqual({ cpus: 2 })
      expect(script.opened).toBe(1)
    }))

  it.effect("goes on opening when the connection breaks", () =>
    Effect.gen(function*() {
      const { connect, script } = yield* aNode()
      const [wait, open] = ScriptedExecutor.gate()
      script.openGate = wait
      const first = yield* connect
      const { leaseId } = yield* first.rpc.AcquireLease(alice)
      yield* Effect.forkChild(first.rpc.OpenComputation({ leaseId, computation: aComputation("c") }))
      yield* TestClock.adjust(0)
      yield* first.cut
      const again = yield* connect
      yield* again.rpc.AcquireLease(alice)
      const opened = yield* Effect.forkChild(again.rpc.OpenComputation({ leaseId, computation: aComputation("c") }))
      yield* TestClock.adjust(0)
      yield* open
      yield* Fiber.join(opened)
      expect(script.opened).toBe(1)
    }))

  it.effect("that the executor refuses leaves nothing and can be sent again", () =>
    Effect.gen(function*() {
      const { connect, script } = yield* aNode()
      const { rpc } = yield* connect
      const { leaseId } = yield* rpc.AcquireLease(alice)
      script.refuse = "it does not load"
      const error = yield* Effect.flip(rpc.OpenComputation({ leaseId, computation: aComputation("c") }))
      expect(error).toMatchObject({ _tag: "ComputationRefused", reason: "it does not load" })
      expect(script.computations.get("c")!.isClosed).toBe(true)
      script.refuse = undefined
      yield* rpc.OpenComputation({ leaseId, computation: aComputation("c") })
      expect(script.opened).toBe(2)
    }))

  it.effect("is closed for everyone who asks when the last process is gone", () =>
    Effect.gen(function*() {
      const { client, computation, dispatch, leaseId, script } = yield* aBusyNode()
      const [wait, open] = ScriptedExecutor.gate()
      script.closeGate = wait
      yield* dispatch(someJobs(1))
      const close = client.rpc.CloseComputation({ leaseId, computationId: "c" })
      const closing = [yield* Effect.forkChild(close), yield* Effect.forkChild(close)]
      yield* TestClock.adjust(0)
      expect(closing.map((fiber) => fiber.pollUnsafe())).toEqual([undefined, undefined])
      yield* dispatch(someJobs(2))
      yield* open
      yield* Fiber.joinAll(closing)
      expect(computation.isClosed).toBe(true)
      yield* close
    }))

  it.effect("that is still opening can be closed", () =>
    Effect.gen(function*() {
      const { connect, script } = yield* aNode()
      script.openGate = Effect.never
      const { rpc } = yield* connect
      const { leaseId } = yield* rpc.AcquireLease(alice)
      const opening = yield* Effect.forkChild(rpc.OpenComputation({ leaseId, computation: aComputation("c") }))
      yield* TestClock.adjust(0)
      yield* rpc.CloseComputation({ leaseId, computationId: "c" })
      expect((yield* Fiber.await(opening))._tag).toBe("Failure")
      expect(script.computations.get("c")!.isClosed).toBe(true)
    }))
})

describe("a pulse", () => {
  it.effect("tells every 10 seconds what the machine has to spare, only the latest", () =>
    Effect.gen(function*() {
      const { events } = yield* aBusyNode()
      yield* TestClock.adjust("10 seconds")
      expect(yield* events.next).toMatchObject({ _tag: "Pulse", availInfo: { cpu: 100, swap: 100 } })
    }))
})

describe("what a computation gets of a node", () => {
  it.effect("is said when it is opened, can be changed, and its jobs can be asked for", () =>
    Effect.gen(function*() {
      const { client, computation, dispatch, leaseId, script } = yield* aBusyNode({ running: 1 })
      yield* dispatch(someJobs(1, 2))
      const at = { leaseId, computationId: "c" }
      expect(yield* client.rpc.NodeJobs(at)).toEqual({ running: [1], waiting: [2] })
      yield* client.rpc.SetCpus({ ...at, cpus: 1 })
      const other = aComputation("other")
      yield* client.rpc.OpenComputation({ leaseId, computation: other, cpus: 1 })
      expect(yield* client.rpc.NodeJobs({ leaseId, computationId: other.id })).toEqual({ running: [], waiting: [] })
      expect([computation.cpus, script.computations.get(other.id)?.cpus]).toEqual([1, 1])
      expect(yield* client.rpc.SetCpus({ ...at, leaseId: "forged", cpus: 1 }).pipe(Effect.flip)).toMatchObject({
        _tag: "NotLeased"
      })
    }))

  it.effect("is told every time the client asked for, and no more often than ten times a second", () =>
    Effect.gen(function*() {
      const { connect } = yield* aBusyNode()
      const { rpc } = yield* connect
      const { leaseId } = yield* rpc.AcquireLease({ ...alice, sessionId: "eager", pulseMillis: 1 })
      const events = yield* listen(rpc.Events({ leaseId, received: 0 }))
      yield* TestClock.adjust("99 millis")
      const next = yield* Effect.forkChild(events.next)
      expect(next.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(next)).toMatchObject({ _tag: "Pulse" })
    }))
})

describe("a node that is ending", () => {
  it.effect("gives back what did not start, waits for what runs, and takes nothing new", () =>
    Effect.gen(function*() {
      const { client, computation, connect, dispatch, events, leaseId, lifecycle } = yield* aBusyNode({ running: 1 })
      yield* dispatch(someJobs(1, 2, 3))
      const drained = yield* Effect.forkChild(lifecycle.drain("5 seconds"))
      expect(yield* events.next).toMatchObject({ _tag: "Leaving" })
      const returned = yield* events.next
      expect(returned._tag === "Replies" && outcomesOf(returned.batch)).toEqual([
        [2, Outcome.returned],
        [3, Outcome.returned]
      ])
      yield* dispatch(someJobs(4, 5))
      const late = yield* events.next
      expect(late._tag === "Replies" && outcomesOf(late.batch)).toEqual([[4, Outcome.returned], [5, Outcome.returned]])
      expect(yield* Effect.flip(client.rpc.OpenComputation({ leaseId, computation: aComputation("d") })))
        .toMatchObject({ _tag: "ComputationRefused", reason: "the node is ending" })
      const other = yield* connect
      expect(yield* Effect.flip(other.rpc.AcquireLease(bob))).toMatchObject({ _tag: "NodeBusy" })
      expect(drained.pollUnsafe()).toBeUndefined()
      computation.finish(1)
      yield* events.next
      expect(yield* Fiber.join(drained)).toBe(0)
    }))

  it.effect("waits no longer than the grace, and says how many jobs it kills", () =>
    Effect.gen(function*() {
      const { dispatch, lifecycle } = yield* aBusyNode({ running: 2 })
      yield* dispatch(someJobs(1, 2))
      const drained = yield* Effect.forkChild(lifecycle.drain("5 seconds"))
      yield* TestClock.adjust("5 seconds")
      expect(yield* Fiber.join(drained)).toBe(2)
    }))

  it.effect("ends at once when nobody holds it", () =>
    Effect.gen(function*() {
      const { lifecycle } = yield* aNode()
      expect(yield* lifecycle.drain("5 seconds")).toBe(0)
    }))
})
