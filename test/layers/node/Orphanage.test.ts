/** Leases of clients that are gone: what goes on, what is kept, who may have it, and when it goes. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as HostStatsFixed from "../../../src/layers/host/HostStatsFixed.ts"
import * as KeptResults from "../../../src/layers/node/KeptResults.ts"
import * as NodeServer from "../../../src/layers/node/NodeServer.ts"
import type { NodeSettings } from "../../../src/services/NodeConfig.ts"
import * as NodeConfig from "../../../src/services/NodeConfig.ts"
import { NodeLifecycle } from "../../../src/services/NodeLifecycle.ts"
import { NodeOwner } from "../../../src/services/NodeOwner.ts"
import * as NodeClients from "../../support/NodeClients.ts"
import { all, modesBelow } from "../../support/Recoveries.ts"
import * as ScriptedExecutor from "../../support/ScriptedExecutor.ts"

const { aComputation, listen, someJobs } = NodeClients

const recoverKey = "a key that nobody guesses"
const alice = { clientId: "alice", clientName: "alice@desk", sessionId: "1", recoverKey }
const bob = { clientId: "bob", clientName: "bob@desk", sessionId: "1" }

const aHome = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-kept-"))),
  (home) => Effect.sync(() => fs.rmSync(home, { recursive: true, force: true, maxRetries: 5 }))
)

/** A node with its files below a directory; it ends when it is told to, or with the scope. */
const aNode = Effect.fnUntraced(function*(settings: Partial<NodeSettings> & { readonly home?: string } = {}) {
  const home = settings.home ?? (yield* aHome)
  const { layer, script } = ScriptedExecutor.make({ running: 2 })
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(
    NodeServer.layer.pipe(
      Layer.provide([
        layer,
        HostStatsFixed.layer(),
        NodeConfig.layer({ name: "n1", incarnation: "i1", directory: path.join(home, "node", "run"), ...settings })
      ])
    ),
    scope
  )
  const clients = yield* NodeClients.make.pipe(Effect.provideContext(context))
  const lifecycle = yield* NodeLifecycle.pipe(Effect.provideContext(context))
  const owner = yield* NodeOwner.pipe(Effect.provideContext(context))
  return {
    script,
    home,
    lifecycle,
    owner,
    ...clients,
    end: Scope.close(scope, Exit.void),
    kept: path.join(home, "kept")
  }
})

/** The same with a client that has jobs 1 and 2 there, and somebody else. */
const aBusyNode = Effect.fnUntraced(function*(settings: Parameters<typeof aNode>[0] = {}) {
  const node = yield* aNode(settings)
  const client = yield* node.connect
  const other = (yield* node.connect).rpc
  const { leaseId } = yield* client.rpc.AcquireLease(alice)
  yield* client.rpc.OpenComputation({ leaseId, computation: aComputation("c") })
  yield* client.rpc.Dispatch({ leaseId, computationId: "c", sequence: 1, batch: someJobs(1, 2), acknowledged: 0 })
  const computation = node.script.computations.get("c")!
  const recover = (terminatePending = false) => all(other.Recover({ recoverKey, terminatePending }))
  const loseClient = Effect.andThen(client.cut, TestClock.adjust("5 seconds"))
  return { ...node, client, other, leaseId, computation, recover, loseClient }
})

const directoryOf = (kept: string, leaseId: string): string => path.join(kept, KeptResults.hashOf(recoverKey), leaseId)

describe("a client that is gone", () => {
  it.effect("has its jobs go on, and all that they reply is there for whoever has its key", () =>
    Effect.gen(function*() {
      const { computation, kept, leaseId, loseClient, other, recover } = yield* aBusyNode()
      yield* loseClient
      expect(computation.isClosed).toBe(false)
      computation.finish(1)
      const recovering = yield* Effect.forkChild(recover())
      yield* TestClock.adjust("20 minutes")
      expect(recovering.pollUnsafe()).toBeUndefined()
      computation.finish(2)
      expect(yield* Fiber.join(recovering)).toEqual(["lease 1,2", "1 succeeded", "2 succeeded"])
      yield* TestClock.adjust(0)
      expect(computation.isClosed).toBe(true)
      // The node is free, and what was kept stays, as often as it is asked for.
      yield* other.AcquireLease(bob)
      expect(yield* recover()).toEqual(["lease 1,2", "1 succeeded", "2 succeeded"])
      expect(modesBelow(kept)).toEqual({
        [KeptResults.hashOf(recoverKey)]: "700",
        [path.relative(kept, directoryOf(kept, leaseId))]: "700",
        [path.relative(kept, path.join(directoryOf(kept, leaseId), "replies"))]: "600",
        [path.relative(kept, path.join(directoryOf(kept, leaseId), "values"))]: "700",
        [path.relative(kept, path.join(directoryOf(kept, leaseId), "files"))]: "700"
      })
      yield* other.Forget({ recoverKey })
      expect(fs.existsSync(kept)).toBe(false)
      expect(yield* Effect.flip(recover())).toMatchObject({ _tag: "NothingKept", node: "n1" })
      expect(yield* Effect.flip(other.Forget({ recoverKey }))).toMatchObject({ _tag: "NothingKept" })
    }))

  it.effect("without a key, or with nothing to lose, has its lease closed and nothing kept", () =>
    Effect.gen(function*() {
      const { connect, kept, script } = yield* aNode()
      const { recoverKey: _, ...keyless } = alice
      for (const [sessionId, who] of [["1", keyless], ["2", alice]] as const) {
        const { cut, rpc } = yield* connect
        const { leaseId } = yield* rpc.AcquireLease({ ...who, sessionId })
        yield* rpc.OpenComputation({ leaseId, computation: aComputation(sessionId) })
        const batch = sessionId === "1" ? someJobs(1) : new Uint8Array(0)
        yield* rpc.Dispatch({ leaseId, computationId: sessionId, sequence: 1, batch, acknowledged: 0 })
        yield* cut
        yield* TestClock.adjust("5 seconds")
        expect(script.computations.get(sessionId)?.isClosed).toBe(true)
      }
      expect(fs.existsSync(kept)).toBe(false)
    }))

  it.effect("leaves what it had not acknowledged, and nothing of what it had", () =>
    Effect.gen(function*() {
      const { client, computation, leaseId, loseClient, recover } = yield* aBusyNode()
      const events = yield* listen(client.rpc.Events({ leaseId, received: 0 }))
      computation.finish(1)
      expect(yield* events.next).toMatchObject({ _tag: "Replies", sequence: 1 })
      const batch = someJobs(3, 4)
      yield* client.rpc.Dispatch({ leaseId, computationId: "c", sequence: 2, batch, acknowledged: 1 })
      computation.finish(2)
      expect(yield* events.next).toMatchObject({ _tag: "Replies", sequence: 2 })
      yield* events.end
      computation.finish(3)
      yield* loseClient
      computation.finish(4)
      expect(yield* recover()).toEqual(["lease 4,2,3", "2 succeeded", "3 succeeded", "4 succeeded"])
    }))

  it.effect("leaves a large result that it had not fetched, though it had acknowledged the reply", () =>
    Effect.gen(function*() {
      const { client, computation, connect, kept, leaseId, loseClient, recover } = yield* aBusyNode()
      const { valuesDirectory = "" } = computation.request
      const events = yield* listen(client.rpc.Events({ leaseId, received: 0 }))
      for (const jobId of [1, 2]) {
        fs.writeFileSync(path.join(valuesDirectory, `result-${jobId}-1`), `large ${jobId}`)
        computation.finishLarge(jobId)
        expect(yield* events.next).toMatchObject({ _tag: "Replies", sequence: jobId })
      }
      const batch = new Uint8Array(0)
      yield* client.rpc.Dispatch({ leaseId, computationId: "c", sequence: 2, batch, acknowledged: 1 })
      yield* events.end
      yield* loseClient
      expect(yield* recover()).toEqual(["lease 1,2", "1 succeeded", "2 succeeded"])
      const values = path.join(directoryOf(kept, leaseId), "values")
      expect(modesBelow(values)).toEqual({ "0-result-1-1": "600", "0-result-2-1": "600" })
      // The client may be back after all: what it has not fetched is where it was.
      const again = yield* connect
      yield* again.rpc.ResumeLease({ leaseId, clientId: "alice" })
      expect(fs.readdirSync(valuesDirectory).toSorted()).toEqual(["result-1-1", "result-2-1"])
      expect(fs.existsSync(kept)).toBe(false)
    }))

  it.effect("can come back, and has missed nothing", () =>
    Effect.gen(function*() {
      const { computation, connect, kept, leaseId, loseClient, recover } = yield* aBusyNode()
      yield* loseClient
      computation.finish(1)
      const recovering = yield* Effect.forkChild(Effect.flip(recover()))
      yield* TestClock.adjust("30 seconds")
      const again = yield* connect
      yield* again.rpc.ResumeLease({ leaseId, clientId: "alice" })
      expect(yield* Fiber.join(recovering)).toMatchObject({ reason: "its client alice@desk is connected" })
      expect(fs.existsSync(kept)).toBe(false)
      const events = yield* listen(again.rpc.Events({ leaseId, received: 0 }))
      const replies = Effect.repeat(events.next, { while: (event) => event._tag !== "Replies" })
      expect(yield* replies).toMatchObject({ sequence: 1 })
      computation.finish(2)
      expect(yield* replies).toMatchObject({ sequence: 2 })
      yield* TestClock.adjust("20 seconds")
      yield* again.rpc.Pulse({ leaseId })
      // Gone again: it is as if it had not been before.
      yield* again.cut
      yield* TestClock.adjust("5 seconds")
      expect(yield* recover()).toEqual(["lease 1,2", "1 succeeded", "2 succeeded"])
    }))

  it.effect("can come back for a while when its jobs have ended, as long as nobody else wants the node", () =>
    Effect.gen(function*() {
      const { computation, connect, leaseId, loseClient, other, recover } = yield* aBusyNode()
      yield* loseClient
      computation.finish(1)
      computation.finish(2)
      yield* recover()
      yield* TestClock.adjust("40 seconds")
      const again = yield* connect
      expect((yield* again.rpc.AcquireLease(alice)).leaseId).toBe(leaseId)
      yield* again.cut
      yield* TestClock.adjust("5 seconds")
      yield* recover()
      yield* other.AcquireLease(bob)
      expect(computation.isClosed).toBe(true)
      expect(yield* recover()).toEqual(["lease 1,2", "1 succeeded", "2 succeeded"])
    }))

  it.effect("cannot come back when more came in than is held for it, and its jobs do not wait for that", () =>
    Effect.gen(function*() {
      const { computation, connect, leaseId, loseClient, recover } = yield* aBusyNode()
      yield* loseClient
      for (let i = 0; i < 66; i++) computation.say(1, 2 ** 20)
      computation.finish(1)
      computation.finish(2)
      expect(yield* recover()).toHaveLength(69)
      expect(computation.isPaused).toBe(false)
      const again = yield* connect
      expect(yield* Effect.flip(again.rpc.ResumeLease({ leaseId, clientId: "alice" }))).toMatchObject({
        _tag: "NotLeased",
        what: expect.stringContaining("can only be recovered") as string
      })
    }))

  it.effect("gives up its jobs when it takes the node anew with the same key", () =>
    Effect.gen(function*() {
      const { computation, connect, kept, loseClient } = yield* aBusyNode()
      yield* loseClient
      const again = yield* connect
      yield* again.rpc.AcquireLease({ ...alice, sessionId: "2" })
      expect(computation.isClosed).toBe(true)
      expect(fs.existsSync(kept)).toBe(false)
    }))

  it.effect("keeps the jobs of one cluster, which may come back, when another of its clusters takes the node", () =>
    Effect.gen(function*() {
      const { computation, connect, leaseId, loseClient } = yield* aBusyNode()
      yield* loseClient
      const cluster = yield* connect
      yield* cluster.rpc.AcquireLease({ ...alice, sessionId: "2", recoverKey: "another" })
      expect(computation.isClosed).toBe(false)
      yield* cluster.rpc.ResumeLease({ leaseId, clientId: "alice" })
      yield* cluster.cut
      yield* TestClock.adjust("2 minutes")
      // By now nobody tries to come back.
      const later = yield* connect
      yield* later.rpc.AcquireLease({ ...alice, sessionId: "3", recoverKey: "a third" })
      expect(computation.isClosed).toBe(true)
    }))

  it.effect("is recovered with its jobs cancelled when that is asked for", () =>
    Effect.gen(function*() {
      const { client, computation, kept, leaseId, other, recover } = yield* aBusyNode()
      computation.finish(1)
      // Its connection broke a moment ago: whether it is back is waited for.
      yield* client.cut
      const recovering = yield* Effect.forkChild(recover(true))
      yield* TestClock.adjust("4 seconds")
      expect(recovering.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(recovering)).toEqual(["lease 2,1", "1 succeeded", "2 cancelled"])
      yield* other.Forget({ recoverKey })
      expect(computation.isClosed).toBe(true)
      expect(fs.existsSync(directoryOf(kept, leaseId))).toBe(false)
    }))

  it.effect("has the files kept that its jobs send, which go on as if it had them", () =>
    Effect.gen(function*() {
      const { computation, connect, kept, leaseId, loseClient, recover } = yield* aBusyNode()
      const file = path.join(computation.request.directory!, "out.txt")
      fs.writeFileSync(file, "abc")
      const { signal } = new AbortController()
      const send = (fileId: number, from = file) =>
        computation.request.onFile!({
          fileId,
          jobId: 1,
          file: from,
          path: `out${fileId}.txt`,
          sizeBytes: 3,
          mode: 0o644,
          modifiedMillis: 1,
          signal
        })
      send(1)
      yield* loseClient
      send(2)
      send(3, "/nowhere/at/all")
      const recovering = yield* Effect.forkChild(recover())
      // Copies are made by the kernel, not by the clock.
      while (computation.answered.length < 3) yield* Effect.promise(() => new Promise(setImmediate))
      expect(computation.answered.toSorted(([a], [b]) => a - b)).toEqual([
        [1, ""],
        [2, ""],
        [3, expect.stringContaining("ENOENT")]
      ])
      fs.rmSync(file)
      computation.finish(1)
      computation.finish(2)
      expect((yield* Fiber.join(recovering)).toSorted()).toEqual([
        "1 succeeded",
        "2 succeeded",
        "file out1.txt 3",
        "file out2.txt 3",
        "lease 1,2"
      ])
      const files = path.join(directoryOf(kept, leaseId), "files")
      expect(modesBelow(files)).toEqual({ "0-1": "600", "0-2": "600" })
      expect(fs.readFileSync(path.join(files, "0-2"), "utf8")).toBe("abc")
      // The client may be back after all: it is told of them, before the replies.
      const again = yield* connect
      yield* again.rpc.ResumeLease({ leaseId, clientId: "alice" })
      const events = yield* listen(again.rpc.Events({ leaseId, received: 0 }))
      const told = yield* Effect.all(Array.from({ length: 3 }, () => events.next))
      expect(told.map(({ _tag }) => _tag)).toEqual(["JobFile", "JobFile", "Replies"])
      expect(fs.readFileSync(path.join(computation.request.valuesDirectory!, "sent-2"), "utf8")).toBe("abc")
    }))
})

describe("another client", () => {
  it.effect("waits for the jobs of one that is gone, is told how long, and has them killed after the zombie interval", () =>
    Effect.gen(function*() {
      const { computation, loseClient, other, recover } = yield* aBusyNode()
      yield* loseClient
      computation.finish(1)
      yield* TestClock.adjust("10 minutes")
      const busy = yield* Effect.flip(other.AcquireLease(bob))
      expect(busy.message).toBe(
        "node n1 is leased to alice@desk, which is gone for 10 minutes: one of its jobs still runs, and the node is" +
          " free in 50 minutes at the latest; `dispy recover FILE --terminate-pending`, with its recover file, frees it now"
      )
      yield* TestClock.adjust("50 minutes")
      yield* other.AcquireLease(bob)
      expect(computation.isClosed).toBe(true)
      expect(yield* recover()).toEqual([
        "lease 1,2",
        "1 succeeded",
        "lost 2: another client took the node, after the zombie interval of 1h"
      ])
    }))

  it.effect("that does not come leaves the jobs to run to their end", () =>
    Effect.gen(function*() {
      const { computation, loseClient, recover } = yield* aBusyNode()
      yield* loseClient
      yield* TestClock.adjust("10 hours")
      computation.finish(1)
      computation.finish(2)
      expect(yield* recover()).toEqual(["lease 1,2", "1 succeeded", "2 succeeded"])
    }))

  it.effect("waits for ever with an interval of 0", () =>
    Effect.gen(function*() {
      const { computation, loseClient, other } = yield* aBusyNode({ zombieInterval: 0 })
      yield* loseClient
      yield* TestClock.adjust("100 hours")
      expect(yield* Effect.flip(other.AcquireLease(bob))).toMatchObject({
        holder: expect.stringContaining("free when that has ended") as string
      })
      expect(computation.isClosed).toBe(false)
    }))
})

describe("Recover", () => {
  it.effect("is refused while the client is connected, for another key, and before Hello", () =>
    Effect.gen(function*() {
      const { computation, connectRaw, loseClient, other, recover } = yield* aBusyNode()
      expect((yield* Effect.flip(recover())).message).toBe(
        "node n1 has nothing to recover: its client alice@desk is connected"
      )
      expect((yield* Effect.flip(other.Forget({ recoverKey })))._tag).toBe("NothingKept")
      yield* loseClient
      const guess = other.Recover({ recoverKey: `${recoverKey} `, terminatePending: true })
      expect((yield* Effect.flip(Stream.runDrain(guess)))._tag).toBe("NothingKept")
      expect(computation.jobs).toEqual([1, 2])
      const { rpc } = yield* connectRaw
      const exit = yield* Effect.exit(Stream.runDrain(rpc.Recover({ recoverKey, terminatePending: false })))
      expect(Exit.hasDies(exit)).toBe(true)
    }))

  it.effect("can be interrupted, repeated, and done by two at a time", () =>
    Effect.gen(function*() {
      const { computation, loseClient, recover } = yield* aBusyNode()
      yield* loseClient
      computation.finish(2)
      const broken = yield* Effect.forkChild(recover())
      const [first, second] = [yield* Effect.forkChild(recover()), yield* Effect.forkChild(recover())]
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(broken)
      computation.finish(1)
      const expected = ["lease 1,2", "2 succeeded", "1 succeeded"]
      expect(yield* Fiber.join(first)).toEqual(expected)
      expect(yield* Fiber.join(second)).toEqual(expected)
      expect(yield* recover()).toEqual(expected)
    }))

  it.effect("ends when somebody forgets what is kept", () =>
    Effect.gen(function*() {
      const { computation, loseClient, other, recover } = yield* aBusyNode()
      yield* loseClient
      const recovering = yield* Effect.forkChild(recover())
      yield* TestClock.adjust("1 second")
      yield* other.Forget({ recoverKey })
      expect(yield* Fiber.join(recovering)).toEqual(["lease 1,2"])
      expect(computation.isClosed).toBe(true)
    }))

  it.effect("finds what an earlier run of the daemon kept, and what was lost with it", () =>
    Effect.gen(function*() {
      const home = yield* aHome
      const first = yield* aBusyNode({ home })
      yield* first.loseClient
      first.computation.finish(1)
      yield* TestClock.adjust("1 second")
      yield* first.end
      const { connect, kept } = yield* aNode({ home })
      const { rpc } = yield* connect
      const events = yield* all(rpc.Recover({ recoverKey, terminatePending: false }))
      expect(events).toEqual(["lease 1,2", "1 succeeded", "lost 2: the node was ended while they ran"])
      // As if it had been killed: the last record is cut.
      const file = path.join(directoryOf(kept, first.leaseId), "replies")
      fs.truncateSync(file, fs.statSync(file).size - 60)
      expect(yield* all(rpc.Recover({ recoverKey, terminatePending: false }))).toEqual([
        "lease 1,2",
        "1 succeeded",
        "lost 2: node n1 was killed, or its machine went down, while they ran"
      ])
      const bytes = fs.readFileSync(file)
      const reply = [0, 1].reduce((at) => bytes.indexOf("dspy", at + 4), 0)
      bytes[reply + 20]! ^= 1
      fs.writeFileSync(file, bytes)
      const damaged = yield* all(rpc.Recover({ recoverKey, terminatePending: false }))
      expect(damaged.join()).toBe("lease 1,2,lost 1,2: the node's file of their results is damaged")
      yield* rpc.Forget({ recoverKey })
      expect(fs.existsSync(kept)).toBe(false)
    }))

  it.effect("tells a job as lost whose reply came before its client was gone, and was damaged on the disk", () =>
    Effect.gen(function*() {
      const home = yield* aHome
      const first = yield* aBusyNode({ home })
      first.computation.finish(1)
      yield* first.loseClient
      yield* TestClock.adjust("1 second")
      yield* first.end
      const { connect, kept } = yield* aNode({ home })
      const { rpc } = yield* connect
      const told = yield* all(rpc.Recover({ recoverKey, terminatePending: false }))
      expect(told).toEqual(["lease 2,1", "1 succeeded", "lost 2: the node was ended while they ran"])
      const file = path.join(directoryOf(kept, first.leaseId), "replies")
      const bytes = fs.readFileSync(file)
      const reply = [0, 1].reduce((at) => bytes.indexOf("dspy", at + 4), 0)
      bytes[reply + 20]! ^= 1
      fs.writeFileSync(file, bytes)
      const damaged = yield* all(rpc.Recover({ recoverKey, terminatePending: false }))
      expect(damaged.join()).toBe(
        "lease 2,1,lost 2: the node was ended while they ran,lost 1: the node's file of their results is damaged"
      )
    }))
})

describe("what is kept", () => {
  it.effect("goes when nobody fetched it for long enough, unless another daemon that runs writes it", () =>
    Effect.gen(function*() {
      const home = yield* aHome
      const first = yield* aBusyNode({ home })
      yield* first.loseClient
      yield* first.end
      const old = directoryOf(first.kept, first.leaseId)
      const others = path.join(first.kept, "0".repeat(32), "lease")
      fs.cpSync(old, others, { recursive: true })
      const start = fs.readFileSync(`/proc/${process.ppid}/stat`, "latin1").replace(/^.*\) /s, "").split(" ")[19]!
      const spool = Buffer.from(fs.readFileSync(path.join(old, "replies")))
      const { encode } = yield* Effect.promise(() => import("../../../src/domain/journal/Records.ts"))
      const { owner } = yield* Effect.promise(() => import("../../../src/domain/node/KeptRecords.ts"))
      const head = encode(owner(`${process.ppid}-${start}`))
      fs.writeFileSync(path.join(others, "replies"), Buffer.concat([head, spool.subarray(spool.indexOf("dspy", 4))]))
      for (const directory of [old, others]) fs.utimesSync(path.join(directory, "replies"), 0, 0)
      yield* aNode({ home, keepResults: "7 days" })
      yield* TestClock.adjust("6 days")
      expect(fs.existsSync(old)).toBe(true)
      yield* TestClock.adjust("1 day")
      expect([fs.existsSync(old), fs.existsSync(others)]).toEqual([false, true])
    }))

  it.effect("of jobs that run when the node ends is told as it was, and those have their grace", () =>
    Effect.gen(function*() {
      const home = yield* aHome
      const { client, computation, end, leaseId, lifecycle } = yield* aBusyNode({ home })
      yield* client.rpc.Dispatch({ leaseId, computationId: "c", sequence: 2, batch: someJobs(3), acknowledged: 0 })
      // Its connection breaks right before.
      yield* client.cut
      const draining = yield* Effect.forkChild(lifecycle.drain("10 seconds"))
      yield* TestClock.adjust("3 seconds")
      computation.finish(1)
      computation.finish(2)
      expect(yield* Fiber.join(draining)).toBe(0)
      yield* end
      const { rpc } = yield* (yield* aNode({ home })).connect
      expect((yield* all(rpc.Recover({ recoverKey, terminatePending: false }))).toSorted()).toEqual([
        "1 succeeded",
        "2 succeeded",
        "3 returned",
        "lease 1,2,3"
      ])
    }))

  it.effect("stays when the node's owner takes it back, without the jobs that ran", () =>
    Effect.gen(function*() {
      const { client, computation, other, owner, recover } = yield* aBusyNode()
      computation.finish(1)
      yield* client.cut
      expect(yield* owner.release).toEqual(["alice@desk"])
      expect(computation.isClosed).toBe(true)
      yield* other.AcquireLease(bob)
      expect(yield* recover()).toEqual(["lease 2,1", "1 succeeded", "lost 2: the node's owner took it back"])
    }))
})
