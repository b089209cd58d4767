import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Attempts from "../../../src/domain/transfer/Attempts.ts"

describe("tries of a transfer", () => {
  it("end after six in a row that brought nothing, with growing pauses", () => {
    const pauses: Array<number | undefined> = []
    let attempts = Attempts.none
    for (let i = 0; i < Attempts.maxTries; i++) {
      const next = Attempts.broken(attempts, 0)
      attempts = next.attempts
      pauses.push(next.pauseMillis)
    }
    expect(pauses).toEqual([50, 100, 200, 400, 800, undefined])
  })

  it("go on for as long as each of them brings the transfer on", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { minLength: 1, maxLength: 50 }), (steps) => {
        let attempts = Attempts.none
        let reached = 0
        let futile = 0
        for (const step of steps) {
          reached += step
          futile = step > 0 ? 1 : futile + 1
          const next = Attempts.broken(attempts, reached)
          expect(next.pauseMillis === undefined).toBe(futile >= Attempts.maxTries)
          expect(next.pauseMillis ?? 0).toBeLessThanOrEqual(2000)
          attempts = next.attempts
        }
      })
    )
  })
})
