import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Availability from "../../../src/domain/node/Availability.ts"

const { initial, isOpen, reason, setInHours, start, stop } = Availability

const change = fc.constantFrom("stop", "start", "in", "out")

const after = (changes: ReadonlyArray<string>): Availability.Availability =>
  changes.reduce(
    (now, what) => what === "stop" ? stop(now) : what === "start" ? start(now) : setInHours(now, what === "in"),
    initial
  )

describe("whether a node takes jobs", () => {
  it("follows the service hours while its owner says nothing", () => {
    expect(isOpen(initial)).toBe(true)
    expect(reason(setInHours(initial, false))).toBe("outside of its service hours")
    expect(isOpen(setInHours(setInHours(initial, false), true))).toBe(true)
  })

  it("is the owner's last word, whatever came before", () => {
    fc.assert(fc.property(fc.array(change), (changes) => {
      expect(isOpen(start(after(changes)))).toBe(true)
      expect(reason(stop(after(changes)))).toBe("stopped by its owner")
    }))
  })

  it("stays stopped until the owner says start, whatever the hours are", () => {
    fc.assert(fc.property(fc.array(change), fc.array(fc.constantFrom("in", "out", "stop")), (before, hours) => {
      expect(isOpen(after([...before, "stop", ...hours]))).toBe(false)
    }))
  })

  it("goes back to the hours when those change after a start out of them", () => {
    const started = start(setInHours(initial, false))
    expect(isOpen(setInHours(started, false))).toBe(true)
    const day = setInHours(started, true)
    expect(isOpen(day)).toBe(true)
    expect(isOpen(setInHours(day, false))).toBe(false)
  })
})
