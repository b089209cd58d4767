/** Whether a node is given away that works for a client that is gone. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Orphans from "../../../src/domain/node/Orphans.ts"

const minute = 60_000
const gone = { clientName: "ann@desk", goneMillis: 12 * minute, jobs: 3, unwritten: 0 }

const how = "`dispy recover FILE --terminate-pending`, with its recover file, frees it now"

describe("Orphans", () => {
  it("says who is gone, since when, what runs, and when the node is free at the latest", () => {
    const holder = (change: Partial<Orphans.Gone>, zombieMillis = 60 * minute) => {
      const claim = Orphans.claim({ ...gone, ...change }, zombieMillis)
      return claim._tag === "Wait" ? claim.holder : claim._tag
    }
    expect(holder({})).toBe(
      "ann@desk, which is gone for 12 minutes: 3 of its jobs still run, and the node is free in 48 minutes at the" +
        ` latest; ${how}`
    )
    expect(holder({ goneMillis: 5000, jobs: 1 }, minute)).toBe(
      "ann@desk, which is gone for less than a minute: one of its jobs still runs, and the node is free in a minute at" +
        ` the latest; ${how}`
    )
    expect(holder({ goneMillis: 1e9 }, 0)).toContain(
      "3 of its jobs still run, and the node is free when that has ended"
    )
    expect(holder({ jobs: 0, unwritten: 2 })).toContain("2 replies wait for room on its disk")
    expect(holder({ jobs: 0 })).toBe("Free")
    expect(holder({ goneMillis: 60 * minute })).toBe("Overdue")
  })

  it("never gives it away too early, and never waits beyond the interval", () => {
    fc.assert(fc.property(
      fc.record({
        clientName: fc.constant("c"),
        goneMillis: fc.nat(),
        jobs: fc.nat({ max: 3 }),
        unwritten: fc.nat({ max: 2 })
      }),
      fc.nat(),
      (state, zombieMillis) => {
        const { _tag } = Orphans.claim(state, zombieMillis)
        const isBusy = state.jobs > 0 || state.unwritten > 0
        const isOver = zombieMillis > 0 && state.goneMillis >= zombieMillis
        expect(_tag).toBe(isBusy ? isOver ? "Overdue" : "Wait" : "Free")
      }
    ))
  })
})
