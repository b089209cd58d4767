/** The Effect-native API over a real embedded node: scopes, interruption, streams, typed errors, public layers. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { afterAll } from "vitest"
import { type ClusterClosed, Dispy, JobCluster, type JobError } from "../../src/index.ts"
import { untilIdle } from "../support/Leftovers.ts"

afterAll(untilIdle)

const spin = (millis: number): number => {
  const end = Date.now() + millis
  while (Date.now() < end);
  return millis
}

const local = { nodes: ["local"], cpus: 2 }

describe("JobCluster", () => {
  it.live("runs jobs and gives typed results", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make((n: number) => n * n, local)
      const job = yield* cluster.submit(12)
      const result: number = yield* job.result
      expect([result, job.status, job.stdout]).toEqual([144, "Finished", ""])
      expect(yield* cluster.run(13)).toBe(169)
      expect(yield* cluster.wait()).toBe(true)
    }))

  it.live("fails with what went wrong, by tag", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make((n: number): number => {
        if (n < 0) throw new RangeError("negative")
        return Math.sqrt(n)
      }, local)
      const recovered = yield* cluster.run(-1).pipe(
        Effect.catchTag("JobFailed", (failed) => Effect.succeed(failed.errorName))
      )
      expect(recovered).toBe("RangeError")
    }))

  it.live("kills the work on the node when the fiber that runs it is interrupted", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make(spin, { ...local, cpus: 1 })
      const exit = yield* cluster.run(600_000).pipe(Effect.timeout("200 millis"), Effect.exit)
      expect(Exit.isFailure(exit)).toBe(true)
      // The only slot is free again, which it would not be for ten minutes.
      expect(yield* cluster.run(1)).toBe(1)
    }))

  it.live("leaves a job alone when only a waiter is interrupted", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make(spin, local)
      const job = yield* cluster.submit(300)
      const waiter = yield* Effect.forkChild(job.result)
      yield* Fiber.interrupt(waiter)
      expect(yield* job.result).toBe(300)
    }))

  it.live("cancels what runs when its scope is left", () =>
    Effect.gen(function*() {
      const job = yield* Effect.scoped(
        Effect.gen(function*() {
          const cluster = yield* JobCluster.make(spin, local)
          return yield* cluster.submit(600_000)
        })
      )
      const error: JobError = yield* Effect.flip(job.result)
      expect(error._tag).toBe("JobCancelled")
      expect(["Terminated", "Cancelled"]).toContain(job.status)
    }))

  it.live("maps a stream in order, with the stream's own errors in the type", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make((n: number) => n + 1, local)
      const inputs = Stream.range(1, 5000)
      expect(yield* cluster.map(inputs).pipe(Stream.runSum)).toBe(5000 * 5001 / 2 + 5000)
      const failing = Stream.make(1, 2).pipe(Stream.concat(Stream.fail("no more" as const)))
      expect(yield* cluster.map(failing).pipe(Stream.runCollect, Effect.flip)).toBe("no more")
    }))

  it.live("stops taking inputs when the consumer stops", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make((n: number) => n, local)
      const taken: Array<number> = []
      const inputs = Stream.iterate(0, (n) => n + 1).pipe(Stream.tap((n) => Effect.sync(() => taken.push(n))))
      const first = yield* cluster.map(inputs, { window: 100 }).pipe(Stream.take(10), Stream.runCollect)
      expect(first).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
      expect(yield* cluster.wait("20 seconds")).toBe(true)
    }))

  it.live("refuses jobs after it was closed", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make((n: number) => n, local)
      expect(yield* cluster.close()).toBe(true)
      const error = yield* Effect.flip(cluster.submit(1))
      expect((error as ClusterClosed)._tag).toBe("ClusterClosed")
    }))

  it.live("reports what cannot be sent before anything is started", () =>
    Effect.gen(function*() {
      const outside = yield* Deferred.make<number>()
      const error: JobCluster.MakeError = yield* Effect.flip(JobCluster.make(() => JSON.stringify(outside), local))
      expect(error).toMatchObject({ _tag: "FreeVariables", message: expect.stringContaining("outside") as string })
    }))
})

describe("layers", () => {
  const scheduler = Dispy.layer({ nodes: "local", cpus: 1 })

  it.live("let several clusters use the same nodes", () =>
    Effect.gen(function*() {
      const squares = yield* JobCluster.makeWith((n: number) => n * n)
      const names = yield* JobCluster.makeWith(() => process.pid)
      expect(yield* squares.run(3)).toBe(9)
      expect(yield* names.run()).not.toBe(process.pid)
      const [first, second] = yield* Effect.all([squares.run(4), names.run()], { concurrency: 2 })
      expect([first, typeof second]).toEqual([16, "number"])
    }).pipe(Effect.scoped, Effect.provide(scheduler)))

  it.effect("run a cluster without processes and sockets", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.makeWith((n: number) => n * n)
      expect(yield* cluster.run(5)).toBe(25)
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(Dispy.layerMemory({ cpus: 2 })))))
})

describe("nodes with Effect", () => {
  it.live("can be steered and watched, and fail by tag", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make((n: number) => n * n, local)
      const seen = yield* cluster.events.pipe(
        Stream.takeUntil(({ status }) => status === "Finished"),
        Stream.map(({ job, node, status }) =>
          `${status} ${node?.address ?? "-"} ${typeof job?.id === "string" ? job.id : "-"}`
        ),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      expect(yield* cluster.setNodeCpus("local", 1)).toBe(1)
      yield* cluster.deallocateNode("local")
      const job = yield* cluster.submitJobIdNode("mine", "local", 12)
      expect((yield* cluster.explain(job)).code).toBe("PinnedNodeUnusable")
      yield* cluster.allocateNode({ host: "local", cpus: 2 })
      expect(yield* job.result).toBe(144)
      expect(yield* Fiber.join(seen)).toEqual([
        "Initialized local -",
        "Created - mine",
        "Running local mine",
        "Finished local mine"
      ])
      expect(yield* cluster.nodeJobs("local", { fromNode: true })).toEqual([])
      const unknown = yield* cluster.submitNode("locla", 1).pipe(Effect.flip)
      expect(unknown).toMatchObject({ _tag: "UnknownNode", suggestion: "local" })
      yield* cluster.closeNode("local", { terminatePending: true })
      expect((yield* cluster.status).nodes[0]).toMatchObject({ state: "closed" })
      expect((yield* cluster.submitNode("local", 1).pipe(Effect.flip))._tag).toBe("NodeNotReady")
    }))

  it.live("are left by all clusters of a scheduler at once", () =>
    Effect.gen(function*() {
      const one = yield* JobCluster.makeWith((n: number) => n + 1, { name: "one" })
      const two = yield* JobCluster.makeWith((n: number) => n + 2, { name: "two" })
      expect([yield* one.run(1), yield* two.run(1)]).toEqual([2, 3])
      expect(yield* one.shutdown()).toBe(true)
      expect((yield* two.run(1).pipe(Effect.flip))._tag).toBe("ClusterClosed")
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(Dispy.layerMemory({ cpus: 2 })))))
})
