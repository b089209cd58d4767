import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as ReplayWindow from "../../../src/domain/discovery/ReplayWindow.ts"

const tolerance = ReplayWindow.toleranceMillis

describe("the replay window", () => {
  it("lets a datagram pass once at most, whenever it comes again, and only near its time", () => {
    const arrival = fc.record({
      id: fc.nat({ max: 12 }),
      skew: fc.integer({ min: -2 * tolerance, max: 2 * tolerance }),
      later: fc.nat({ max: tolerance })
    })
    fc.assert(
      fc.property(fc.array(arrival, { maxLength: 200 }), (arrivals) => {
        const window = ReplayWindow.make()
        const sent = new Map<number, number>()
        const passed = new Set<number>()
        let now = 1e12
        for (const { id, later, skew } of arrivals) {
          now += later
          // The sender says the time once, and copies of the datagram say the same.
          const sentAtMillis = sent.get(id) ?? now - skew
          sent.set(id, sentAtMillis)
          const verdict = ReplayWindow.check(window, { nonce: String(id), sentAtMillis }, now)
          const isNear = Math.abs(now - sentAtMillis) <= tolerance
          expect(verdict._tag).toBe(isNear ? passed.has(id) ? "Replayed" : "Fresh" : "Stale")
          if (verdict._tag === "Fresh") passed.add(id)
          if (verdict._tag === "Stale") expect(verdict.behindMillis).toBe(now - sentAtMillis)
        }
      })
    )
  })

  it("keeps a bounded number of nonces", () => {
    const window = ReplayWindow.make()
    for (let i = 0; i < 3 * ReplayWindow.capacity; i++) {
      expect(ReplayWindow.check(window, { nonce: String(i), sentAtMillis: i }, i)._tag).toBe("Fresh")
      expect(window.seen.size).toBeLessThanOrEqual(ReplayWindow.capacity)
    }
    const later = 3 * ReplayWindow.capacity + 2 * tolerance + 1
    ReplayWindow.check(window, { nonce: "late", sentAtMillis: later }, later)
    expect(window.seen.size).toBe(1)
  })
})
