import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer } from "effect"
import * as ClockSkipping from "../../../src/layers/testing/ClockSkipping.ts"

const hour = 3_600_000

/** Runs a test with such a clock. */
const withClock = <A, E>(test: (advance: (millis: number) => Effect.Effect<void>) => Effect.Effect<A, E>) => {
  const { advance, clock } = ClockSkipping.make(() => 0)
  return Effect.provide(
    test((millis) => Effect.promise(() => advance(millis))),
    Layer.succeed(Clock.Clock, clock)
  )
}

describe("a clock that is put forward", () => {
  it.live("goes by itself, too", () => withClock(() => Effect.sleep("1 millis")))

  it.live("wakes who sleeps in the order of their times, each at its time", () =>
    withClock((advance) =>
      Effect.gen(function*() {
        const start = yield* Clock.currentTimeMillis
        const woken: Array<readonly [string, number]> = []
        const sleeper = (name: string, hours: number) =>
          Effect.sleep(hours * hour).pipe(
            Effect.andThen(Clock.currentTimeMillis),
            Effect.map((now) => woken.push([name, Math.round((now - start) / hour)]))
          )
        // What is begun on the way has its turn as well.
        const twice = Effect.andThen(sleeper("b", 2), sleeper("b again", 2))
        const fibers = yield* Effect.forEach([sleeper("c", 3), twice, sleeper("a", 1), sleeper("late", 9)], (one) =>
          Effect.forkChild(one, { startImmediately: true }))
        yield* advance(5 * hour)
        expect(woken).toEqual([["a", 1], ["b", 2], ["c", 3], ["b again", 4]])
        yield* advance(5 * hour)
        expect(woken.at(-1)).toEqual(["late", 9])
        yield* Effect.forEach(fibers, Fiber.join)
      })
    ))

  it.live("moves wall clock and monotonic clock alike", () =>
    withClock((advance) =>
      Effect.gen(function*() {
        const wall = yield* Clock.currentTimeNanos
        const monotonic = yield* Clock.monotonicTimeNanos
        yield* advance(hour)
        const passed = [(yield* Clock.currentTimeNanos) - wall, (yield* Clock.monotonicTimeNanos) - monotonic]
        for (const nanos of passed) expect(Number(nanos) / 1e6).toBeGreaterThanOrEqual(hour - 1)
      })
    ))

  it.live("forgets who does not sleep any more, and never wakes who sleeps for ever", () =>
    withClock((advance) =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(Effect.sleep(hour), { startImmediately: true })
        const forever = yield* Effect.forkChild(Effect.sleep("Infinity"), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        yield* advance(2 * hour)
        expect(forever.pollUnsafe()).toBeUndefined()
        yield* Fiber.interrupt(forever)
      })
    ))
})
