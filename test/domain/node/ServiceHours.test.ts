import { DateTime, Result } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as ServiceHours from "../../../src/domain/node/ServiceHours.ts"

const { endAfter, formatTime, isOpen, make, minuteOf, parseTime } = ServiceHours

const time = (text: string): number => Result.getOrThrow(parseTime(text))

const optional = (text: string | undefined): number | undefined => text === undefined ? undefined : time(text)

const hoursOf = (start?: string, stop?: string, end?: string, now = "12:00") =>
  make({ start: optional(start), stop: optional(stop), end: optional(end) }, time(now))

const some = (start?: string, stop?: string, end?: string, now?: string): ServiceHours.ServiceHours =>
  Result.getOrThrow(hoursOf(start, stop, end, now))!

const wrong = (start?: string, stop?: string, end?: string): string =>
  Result.getOrThrow(Result.flip(hoursOf(start, stop, end)))

const minute = fc.integer({ min: 0, max: ServiceHours.dayMinutes - 1 })

/** Zones with summer time in both hemispheres, one that changes at midnight, one with half an hour, and one without. */
const zone = fc.constantFrom(
  "Europe/Berlin",
  "America/New_York",
  "Australia/Lord_Howe",
  "America/Santiago",
  "Asia/Kolkata"
)

const anyHours = fc.uniqueArray(minute, { minLength: 3, maxLength: 3 }).map(([start, a, b]) => {
  const [stop, end] = [a!, b!].sort((x, y) => (x - start! + 1440) % 1440 - (y - start! + 1440) % 1440)
  return { start: start!, stop: stop!, end: end! }
})

const year2026 = Date.UTC(2026, 0, 1)

const moment = fc.tuple(zone, fc.integer({ min: 0, max: 365 * 24 * 60 })).map(([name, minutes]) =>
  DateTime.makeZonedUnsafe(year2026 + minutes * 60_000, { timeZone: name })
)

describe("times of the day", () => {
  it("are hours and minutes, and written back as such", () => {
    fc.assert(fc.property(minute, (minutes) => {
      expect(time(formatTime(minutes))).toBe(minutes)
    }))
    expect(time("7:05")).toBe(425)
  })

  it("are nothing else", () => {
    for (const text of ["", "17", "24:00", "12:60", "-1:00", "5pm", "17:3", "17:30:00"]) {
      expect(Result.getOrThrow(Result.flip(parseTime(text)))).toContain("such as 17:30")
    }
  })
})

describe("service hours", () => {
  it("are none unless some are given, and need an end of some kind", () => {
    expect(Result.getOrThrow(hoursOf())).toBeUndefined()
    expect(wrong("9:00")).toMatch(/needs --service-stop or --service-end/)
  })

  it("begin now when only their end is given", () => {
    expect(some(undefined, "17:00")).toEqual({ start: time("12:00"), stop: time("17:00"), end: undefined })
  })

  it("go over midnight", () => {
    const night = some("17:00", "6:00", "7:00")
    for (const open of ["17:00", "23:59", "0:00", "5:59"]) expect(isOpen(night, time(open))).toBe(true)
    for (const closed of ["6:00", "7:00", "16:59"]) expect(isOpen(night, time(closed))).toBe(false)
  })

  it("that leave no time, or end before they stop, are refused", () => {
    expect(wrong("9:00", "9:00")).toMatch(/leaves no time/)
    expect(wrong("9:00", undefined, "9:00")).toMatch(/leaves no time/)
    expect(wrong(undefined, "12:00")).toMatch(/is now, 12:00/)
    expect(wrong("9:00", "18:00", "17:00")).toMatch(/--service-end 17:00 comes before --service-stop 18:00/)
    expect(wrong("17:00", "6:00", "23:00")).toMatch(/on a day that begins at 17:00/)
    expect(some("9:00", "17:00", "17:00").end).toBe(time("17:00"))
  })

  it("are open for as many minutes a day as lie between start and stop", () => {
    fc.assert(
      fc.property(anyHours, (hours) => {
        let open = 0
        for (let at = 0; at < ServiceHours.dayMinutes; at++) if (isOpen(hours, at)) open++
        expect(open).toBe((hours.stop - hours.start + 1440) % 1440)
      }),
      { numRuns: 50 }
    )
  })

  it("end at the next moment when the local clock says so, be it a day of 23, 24 or 25 hours", () => {
    fc.assert(
      fc.property(anyHours, moment, (hours, now) => {
        const end = endAfter(hours, now)!
        const millis = DateTime.toEpochMillis(end) - DateTime.toEpochMillis(now)
        expect(millis).toBeGreaterThan(0)
        expect(millis).toBeLessThanOrEqual(25 * 3600_000)
        const skipped = (minuteOf(end) - hours.end + 1440) % 1440
        // Where the clock skips the time it is the moment after that, an hour later at most.
        expect(skipped).toBeLessThanOrEqual(60)
        if (skipped > 0) {
          const before = DateTime.makeZonedUnsafe(DateTime.toEpochMillis(end) - 3600_000, { timeZone: end.zone })
          expect(before.pipe(DateTime.zonedOffset)).not.toBe(DateTime.zonedOffset(end))
        }
      }),
      { numRuns: 1000 }
    )
  })

  it("never end when no end is given", () => {
    fc.assert(fc.property(moment, (now) => {
      expect(endAfter(some("9:00", "17:00"), now)).toBeUndefined()
    }))
  })
})
