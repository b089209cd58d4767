/** Results of clients that are gone, on disks that are full or cannot be written to, and with an odd umask. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Schedule } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as HostStatsFixed from "../../../src/layers/host/HostStatsFixed.ts"
import * as NodeServer from "../../../src/layers/node/NodeServer.ts"
import * as NodeConfig from "../../../src/services/NodeConfig.ts"
import * as DaemonProcess from "../../support/DaemonProcess.ts"
import * as NodeClients from "../../support/NodeClients.ts"
import { all, modesBelow } from "../../support/Recoveries.ts"
import * as ScriptedExecutor from "../../support/ScriptedExecutor.ts"
import * as SmallDisk from "../../support/SmallDisk.ts"

const recoverKey = "key"
const mebibyte = 2 ** 20

/** A node whose client is gone that has jobs 1 and 2 there. */
const anOrphan = Effect.fnUntraced(function*(home: string) {
  const { layer, script } = ScriptedExecutor.make({ running: 2 })
  const context = yield* Layer.build(
    NodeServer.layer.pipe(
      Layer.provide([
        layer,
        HostStatsFixed.layer(),
        NodeConfig.layer({ name: "n1", directory: path.join(home, "node", "run"), leaseResume: 20 })
      ])
    )
  )
  const clients = yield* NodeClients.make.pipe(Effect.provideContext(context))
  const { cut, rpc } = yield* clients.connect
  const other = (yield* clients.connect).rpc
  const { leaseId } = yield* rpc.AcquireLease({ clientId: "a", clientName: "ann", sessionId: "1", recoverKey })
  yield* rpc.OpenComputation({ leaseId, computation: NodeClients.aComputation("c") })
  const batch = NodeClients.someJobs(1, 2)
  yield* rpc.Dispatch({ leaseId, computationId: "c", sequence: 1, batch, acknowledged: 0 })
  const computation = script.computations.get("c")!
  const lose = Effect.andThen(cut, Effect.sleep("100 millis"))
  const recover = all(other.Recover({ recoverKey, terminatePending: false }))
  return { other, computation, lose, recover, kept: path.join(home, "kept") }
})

const eventually = (holds: () => boolean) =>
  Effect.suspend(() => holds() ? Effect.void : Effect.fail("not yet" as const)).pipe(
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.orDie
  )

describe("a disk", () => {
  it.live("that is full has results wait in memory, jobs when that is too much, and nothing lost", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const home = yield* SmallDisk.make(96)
      if (home === undefined) return yield* Effect.logWarning("left out: only root can mount a small file system")
      const { computation, lose, other, recover } = yield* anOrphan(home)
      const file = path.join(computation.request.directory!, "out")
      fs.writeFileSync(file, new Uint8Array(mebibyte))
      const ballast = path.join(home, "ballast")
      fs.writeFileSync(ballast, new Uint8Array(94 * mebibyte))
      yield* lose
      const said = () => lines.filter((line) => line.includes("they stay in memory"))
      const recovering = yield* Effect.forkChild(recover)
      const { signal } = new AbortController()
      const sent = { file, path: "out", sizeBytes: mebibyte, mode: 0o644, modifiedMillis: 0, signal }
      for (let i = 0; i < 66; i++) computation.say(1, mebibyte)
      computation.request.onFile!({ fileId: 1, jobId: 1, ...sent })
      yield* eventually(() => computation.isPaused && said().length === 1)
      expect(said()[0]).toContain("make some there")
      const error = yield* Effect.flip(other.AcquireLease({ clientId: "b", clientName: "bob", sessionId: "1" }))
      expect(error.holder).toContain("2 of its jobs still run")
      fs.rmSync(ballast)
      yield* eventually(() => !computation.isPaused && computation.answered.length === 1)
      computation.finish(1)
      computation.finish(2)
      const told = yield* Fiber.join(recovering)
      expect([told.length, told.filter((words) => words === "1 provisional").length]).toEqual([70, 66])
      expect(told).toContain(`file out ${mebibyte}`)
      expect(said()).toHaveLength(1)
    }).pipe(Effect.provide(Logger.layer([Logger.make(({ message }) => lines.push(String(message)))])))
  })

  it.live("that is read-only has the node kept until it can be written, and says why", () =>
    Effect.gen(function*() {
      const home = yield* SmallDisk.make(8)
      if (home === undefined) return yield* Effect.logWarning("left out: only root can mount a small file system")
      const { computation, kept, lose, other, recover } = yield* anOrphan(home)
      yield* SmallDisk.setReadOnly(home, true)
      yield* lose
      computation.finish(1)
      computation.finish(2)
      const error = yield* Effect.flip(other.AcquireLease({ clientId: "b", clientName: "bob", sessionId: "1" }))
      expect(error.holder).toContain("replies wait for room on its disk")
      expect([fs.existsSync(kept), computation.isClosed]).toEqual([false, false])
      yield* SmallDisk.setReadOnly(home, false)
      expect(yield* recover).toEqual(["lease 1,2", "1 succeeded", "2 succeeded"])
      yield* other.AcquireLease({ clientId: "b", clientName: "bob", sessionId: "1" })
    }))

  it.live("has it for its user alone, whatever the umask is", () =>
    Effect.gen(function*() {
      const home = yield* DaemonProcess.aDirectory
      const { computation, kept, lose, recover } = yield* anOrphan(home)
      fs.writeFileSync(path.join(computation.request.valuesDirectory!, "result-1-1"), "large")
      for (const umask of [0, 0o777]) {
        yield* Effect.acquireRelease(Effect.sync(() => process.umask(umask)), (before) =>
          Effect.sync(() => process.umask(before)))
        if (umask === 0) {
          yield* lose
        }
      }
      computation.finishLarge(1)
      computation.finish(2)
      yield* recover
      expect(new Set(Object.values(modesBelow(kept)))).toEqual(new Set(["700", "600"]))
      expect(
        Object.keys(modesBelow(kept)).filter((name) =>
          name.endsWith("values/0-result-1-1")
        )
      ).toHaveLength(1)
    }))
})
