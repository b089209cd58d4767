import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as RateLimit from "../../src/domain/RateLimit.ts"

describe("rate limits", () => {
  it("hold in any stretch of time, for each and for all, and give again what was not used", () => {
    const each = { burst: 5, perSecond: 2 }
    const all = { burst: 8, perSecond: 3 }
    const asks = fc.array(fc.record({ who: fc.nat({ max: 3 }), later: fc.nat({ max: 400 }) }), { maxLength: 300 })
    fc.assert(
      fc.property(asks, (list) => {
        const limit = RateLimit.make(each, all)
        const taken: Array<{ readonly who: number; readonly at: number }> = []
        let now = 0
        for (const { later, who } of list) {
          now += later
          if (RateLimit.take(limit, String(who), now)) taken.push({ who, at: now })
        }
        taken.forEach((first, from) => {
          taken.slice(from).forEach((last, i) => {
            const seconds = (last.at - first.at) / 1000
            expect(i + 1).toBeLessThanOrEqual(all.burst + seconds * all.perSecond + 1e-6)
            const own = taken.slice(from, from + i + 1).filter(({ who }) => who === first.who).length
            expect(own).toBeLessThanOrEqual(each.burst + seconds * each.perSecond + 1e-6)
          })
        })
        now += 10_000
        for (let i = 0; i < each.burst; i++) expect(RateLimit.take(limit, "0", now)).toBe(true)
        expect(RateLimit.take(limit, "0", now)).toBe(false)
      })
    )
  })

  it("take no more memory for a million askers", () => {
    const limit = RateLimit.make({ burst: 1, perSecond: 1 }, { burst: 1, perSecond: 1 })
    for (let i = 0; i < 1_000_000; i++) RateLimit.take(limit, String(i), i)
    expect(limit.buckets.size).toBeLessThanOrEqual(RateLimit.capacity)
  })
})
