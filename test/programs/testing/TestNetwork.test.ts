import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Dispy, JobCluster, type NodeLost } from "../../../src/index.ts"
import { Faults, layer } from "../../../src/testing.ts"

const square = (n: number): number => n * n

const forever = (): Promise<never> => new Promise(() => {})

const onNodes = (nodes: number) => <A, E>(test: Effect.Effect<A, E, Faults>) => Effect.provide(test, layer({ nodes }))

describe("nodes in memory under the test clock", () => {
  it.effect("run jobs without time passing, for clusters that are made by themselves or on a shared scheduler", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.make(square)
      expect(yield* cluster.run(12)).toBe(144)
      const shared = yield* JobCluster.makeWith(square).pipe(Effect.provide(Dispy.layer({ nodes: ["node-2"] })))
      expect((yield* shared.status).nodes.map(({ name }) => name)).toEqual(["node-2"])
      expect(yield* Stream.runCollect(cluster.map(Stream.range(1, 200)))).toEqual(
        Array.from({ length: 200 }, (_, n) => (n + 1) ** 2)
      )
    }).pipe(Effect.scoped, onNodes(3)))

  it.effect("are lost after five silent pulses and a quarter, and not before", () =>
    Effect.gen(function*() {
      const faults = yield* Faults
      const cluster = yield* JobCluster.make(forever, { pulseInterval: "2 seconds" })
      const job = yield* cluster.submit()
      expect(yield* faults.awaitRunning(job)).toBe("node-1")
      yield* faults.freeze("node-1")
      yield* TestClock.adjust("10400 millis")
      expect(job.status).toBe("Running")
      yield* TestClock.adjust("100 millis")
      const error = yield* Effect.flip(job.result)
      expect(error as NodeLost).toMatchObject({ _tag: "NodeLost", node: "node-1:51348" })
      expect(error.message).toContain("no sign of life for five pulses")
    }).pipe(Effect.scoped, onNodes(1)))

  it.effect("stay while they answer, however long a job takes", () =>
    Effect.gen(function*() {
      const faults = yield* Faults
      const cluster = yield* JobCluster.make(forever, { pulseInterval: "1 second" })
      const job = yield* cluster.submit()
      yield* faults.awaitRunning(job)
      yield* TestClock.adjust("2 minutes")
      expect(job.status).toBe("Running")
    }).pipe(Effect.scoped, onNodes(2)))

  it.effect("have their jobs run elsewhere within the first try to connect again, when they are killed", () =>
    Effect.gen(function*() {
      const faults = yield* Faults
      const cluster = yield* JobCluster.make(square, { reentrant: true })
      yield* faults.hold("node-1")
      yield* faults.hold("node-2")
      const job = yield* cluster.submit(7)
      const first = yield* faults.awaitRunning(job)
      yield* faults.kill(first)
      yield* faults.release("node-1")
      yield* faults.release("node-2")
      yield* TestClock.adjust("50 millis")
      expect(yield* job.result).toBe(49)
      expect(job.ipAddr).not.toBe(`${first}:51348`)
    }).pipe(Effect.scoped, onNodes(2)))

  it.effect("end jobs whose fibers are interrupted", () =>
    Effect.gen(function*() {
      const faults = yield* Faults
      const cluster = yield* JobCluster.make(forever)
      const fiber = yield* Effect.forkChild(cluster.run())
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      yield* cluster.wait()
      expect((yield* faults.nodes).map(({ running }) => running)).toEqual([0])
    }).pipe(Effect.scoped, onNodes(1)))

  it.effect.each(["kill", "freeze", "partition", "drop", "delay", "restart"] as const)(
    "end with the test although nobody lets time pass after they were hit by %s",
    (verb) =>
      Effect.gen(function*() {
        const faults = yield* Faults
        const cluster = yield* JobCluster.make(forever)
        const job = yield* cluster.submit()
        yield* faults.awaitRunning(job)
        yield* verb === "delay" ? faults.delay("node-1", "1 minute") : faults[verb]("node-1")
      }).pipe(Effect.scoped, onNodes(1))
  )

  it.effect("have other clients, who make a cluster wait for time to pass", () =>
    Effect.gen(function*() {
      const faults = yield* Faults
      yield* faults.occupy("node-1")
      const cluster = yield* JobCluster.make(square)
      const job = yield* cluster.submit(3)
      yield* TestClock.adjust("1 minute")
      expect((yield* cluster.status).nodes).toMatchObject([{ state: "busy" }])
      yield* faults.vacate("node-1")
      yield* TestClock.adjust("1 second")
      expect(yield* job.result).toBe(9)
    }).pipe(Effect.scoped, onNodes(1)))

  it.effect("fail with what is wrong", () =>
    Effect.gen(function*() {
      const faults = yield* Faults
      expect(yield* Effect.flip(faults.kill("node-9"))).toMatchObject({ _tag: "UnknownTestNode", known: ["node-1"] })
      yield* faults.kill("node-1")
      expect(yield* Effect.flip(faults.drop("node-1"))).toMatchObject({ _tag: "TestNodeDead", node: "node-1" })
    }).pipe(onNodes(1)))
})
