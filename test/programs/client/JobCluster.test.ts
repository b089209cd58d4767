/** What a cluster says while it waits, over a node in memory and the test clock. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { Dispy, JobCluster } from "../../../src/index.ts"

const recorded = (messages: Array<string>) =>
  Logger.layer([Logger.make(({ message }) => void messages.push(String(message)))])

describe("closing a cluster", () => {
  it.effect("says what it waits for when that takes long, and goes on waiting", () => {
    const messages: Array<string> = []
    return Effect.gen(function*() {
      const cluster = yield* JobCluster.makeWith(() => new Promise<void>(() => {}), { name: "endless" })
      const job = yield* cluster.submit()
      const closing = yield* Effect.forkChild(cluster.close())
      yield* TestClock.adjust("4 seconds")
      expect(messages.filter((message) => message.includes("pending jobs"))).toEqual([])
      yield* TestClock.adjust("1 seconds")
      expect(messages.filter((message) => message.includes("cluster endless waits for 1 pending jobs"))).toHaveLength(1)
      expect(closing.pollUnsafe()).toBeUndefined()
      yield* cluster.cancel(job)
      expect(yield* Fiber.join(closing)).toBe(true)
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.provideMerge(Layer.fresh(Dispy.layerMemory({ cpus: 1 })), recorded(messages)))
    )
  })

  it.effect("gives up after its timeout, or cancels what is pending then", () =>
    Effect.gen(function*() {
      const cluster = yield* JobCluster.makeWith(() => new Promise<void>(() => {}))
      const job = yield* cluster.submit()
      const patient = yield* Effect.forkChild(cluster.close({ timeout: "2 seconds" }))
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(patient)).toBe(false)
      const strict = yield* Effect.forkChild(cluster.close({ timeout: "2 seconds", terminate: true }))
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(strict)).toBe(true)
      expect((yield* Effect.flip(job.result))._tag).toBe("JobCancelled")
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(Dispy.layerMemory({ cpus: 1 })))))
})
