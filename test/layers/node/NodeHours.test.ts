/** A node that keeps to its service hours, on a clock of the test's. */
import { describe, expect, it } from "@effect/vitest"
import { DateTime, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as NodeHours from "../../../src/layers/node/NodeHours.ts"
import { NodeOwner } from "../../../src/services/NodeOwner.ts"

/** Sees what the hours do to a node. */
const aNode = () => {
  const seen = { isOpen: true, changes: 0 }
  const control = NodeOwner.of({
    report: Effect.die("not here"),
    setCpus: () => Effect.void,
    stop: Effect.void,
    start: Effect.void,
    setInHours: (isOpen) =>
      Effect.sync(() => {
        if (seen.isOpen !== isOpen) seen.changes++
        seen.isOpen = isOpen
      }),
    release: Effect.succeed([]),
    refuseClients: () => Effect.void,
    untilFree: Effect.never,
    untilShutDown: Effect.never,
    untilServed: Effect.never
  })
  return { seen, control }
}

const at = (text: string, timeZone: string): number =>
  DateTime.toEpochMillis(DateTime.makeZonedUnsafe(text, { timeZone, adjustForTimeZone: true }))

const startAt = Effect.fnUntraced(
  function*(text: string, timeZone: string, hours: Parameters<typeof NodeHours.keep>[0]) {
    yield* TestClock.setTime(at(text, timeZone))
    const { control, seen } = aNode()
    const fiber = yield* NodeHours.keep(hours).pipe(
      Effect.provideService(NodeOwner, control),
      Effect.provide(DateTime.layerCurrentZoneNamed(timeZone)),
      Effect.forkChild
    )
    yield* TestClock.adjust(0)
    return { seen, fiber, goTo: (time: string) => TestClock.setTime(at(time, timeZone)) }
  }
)

describe("service hours", () => {
  it.effect("open at the start, close at the stop and end at the end, to the minute", () =>
    Effect.gen(function*() {
      const hours = { start: 9 * 60, stop: 17 * 60, end: 18 * 60 }
      const { fiber, goTo, seen } = yield* startAt("2026-05-04T08:00:30", "Europe/Berlin", hours)
      expect(seen.isOpen).toBe(false)
      yield* goTo("2026-05-04T08:59:59")
      expect(seen.isOpen).toBe(false)
      yield* goTo("2026-05-04T09:00:00")
      expect(seen.isOpen).toBe(true)
      yield* goTo("2026-05-04T16:59:59")
      expect(seen).toEqual({ isOpen: true, changes: 2 })
      yield* goTo("2026-05-04T17:00:00")
      expect(seen.isOpen).toBe(false)
      expect(fiber.pollUnsafe()).toBeUndefined()
      yield* goTo("2026-05-04T18:00:00")
      yield* Fiber.join(fiber)
    }))

  it.effect("go over midnight and come again every day when they have no end", () =>
    Effect.gen(function*() {
      const hours = { start: 17 * 60, stop: 6 * 60, end: undefined }
      const { goTo, seen } = yield* startAt("2026-05-04T12:00:00", "Europe/Berlin", hours)
      for (const day of ["04", "05", "06"]) {
        yield* goTo(`2026-05-${day}T17:00:00`)
        expect(seen.isOpen).toBe(true)
        yield* goTo(`2026-05-${day}T23:59:00`)
        expect(seen.isOpen).toBe(true)
        yield* goTo(`2026-05-0${Number(day) + 1}T06:00:00`)
        expect(seen.isOpen).toBe(false)
      }
      expect(seen.changes).toBe(7)
    }))

  it.effect("follow the local clock over the change to summer time", () =>
    Effect.gen(function*() {
      const hours = { start: 22 * 60, stop: 5 * 60, end: 6 * 60 }
      const { fiber, goTo, seen } = yield* startAt("2026-03-28T23:00:00", "Europe/Berlin", hours)
      yield* goTo("2026-03-29T04:59:00")
      expect(seen.isOpen).toBe(true)
      yield* goTo("2026-03-29T05:00:00")
      expect(seen.isOpen).toBe(false)
      yield* goTo("2026-03-29T05:59:00")
      expect(fiber.pollUnsafe()).toBeUndefined()
      yield* goTo("2026-03-29T06:00:00")
      yield* Fiber.join(fiber)
    }))

  it.effect("are not missed by a machine that slept through their end", () =>
    Effect.gen(function*() {
      const hours = { start: 9 * 60, stop: undefined, end: 17 * 60 }
      const { fiber, goTo } = yield* startAt("2026-05-04T16:00:00", "America/New_York", hours)
      yield* goTo("2026-05-05T10:00:00")
      yield* Fiber.join(fiber)
    }))
})
