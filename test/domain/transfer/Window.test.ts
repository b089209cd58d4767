/** The window against simulated links: time is a number here, so minutes pass in milliseconds. */
import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Window from "../../../src/domain/transfer/Window.ts"

interface Link {
  /** Bytes per millisecond. */
  readonly rate: number
  /** There and back without a queue. */
  readonly baseMillis: number
}

interface Run {
  /** Longest time that a byte waited in the queue of the link, after the start. */
  readonly longestQueue: number
  /** Share of what the link could have carried, after the start. */
  readonly use: number
  readonly largest: number
}

/** Sends as fast as the window allows for some time over a link that may change. */
const simulate = (linkAt: (now: number) => Link, millis: number, from = 1000): Run => {
  const window = Window.make(0)
  const acks: Array<{ readonly at: number; readonly bytes: number; readonly sentAt: number }> = []
  let now = 0
  let freeAt = 0
  let longestQueue = 0
  let carried = 0
  let possible = 0
  let largest = 0
  while (now < millis) {
    while (acks.length > 0 && acks[0]!.at <= now) {
      const { at, bytes, sentAt } = acks.shift()!
      Window.acknowledged(window, bytes, at - sentAt, at)
    }
    const link = linkAt(now)
    for (;;) {
      const piece = Window.pieceBytes(window)
      if (Window.room(window) < piece && window.inFlight > 0) break
      Window.sent(window, piece)
      freeAt = Math.max(freeAt, now) + piece / link.rate
      if (now > from) {
        longestQueue = Math.max(longestQueue, freeAt - now)
        carried += piece
      }
      acks.push({ at: freeAt + link.baseMillis, bytes: piece, sentAt: now })
    }
    if (now > from) possible += link.rate
    largest = Math.max(largest, window.size)
    now++
  }
  return { longestQueue, use: carried / possible, largest }
}

const links = fc.record({
  // 100 KB/s to 100 MB/s
  rate: fc.double({ min: 100, max: 100_000, noNaN: true }),
  baseMillis: fc.double({ min: 0.2, max: 300, noNaN: true })
})

describe("the window", () => {
  it("keeps the queue of any link below 250 ms, so that a control message passes", () => {
    fc.assert(
      fc.property(links, (link) => {
        expect(simulate(() => link, 20_000).longestQueue).toBeLessThan(250)
      }),
      { numRuns: 60 }
    )
  })

  it("fills a link as far as its largest size allows", () => {
    fc.assert(
      fc.property(links, (link) => {
        const bound = Math.min(1, Window.maxBytes / ((link.baseMillis + 2) * link.rate))
        expect(simulate(() => link, 20_000).use).toBeGreaterThan(0.7 * bound)
      }),
      { numRuns: 60 }
    )
  })

  it("keeps the queue of 1 MB/s below 150 ms from the start", () => {
    const { longestQueue, use } = simulate(() => ({ rate: 1000, baseMillis: 0.5 }), 10_000)
    expect(longestQueue).toBeLessThan(150)
    expect(use).toBeGreaterThan(0.9)
  })

  it("has a short queue again three seconds after a link became ten times slower", () => {
    const linkAt = (now: number) => ({ rate: now < 5_000 ? 10_000 : 1000, baseMillis: 5 })
    const { longestQueue, use } = simulate(linkAt, 30_000, 8_000)
    expect(longestQueue).toBeLessThan(250)
    expect(use).toBeGreaterThan(0.9)
  })

  it("is never below its least and never above its largest size, whatever is acknowledged", () => {
    const acks = fc.array(
      fc.record({
        bytes: fc.nat(1_000_000),
        delay: fc.double({ min: 0, max: 60_000, noNaN: true }),
        pause: fc.nat(10_000)
      })
    )
    fc.assert(
      fc.property(acks, (all) => {
        const window = Window.make(0)
        let now = 0
        for (const { bytes, delay, pause } of all) {
          now += pause
          Window.sent(window, bytes)
          Window.acknowledged(window, bytes, delay, now)
          expect(window.size).toBeGreaterThanOrEqual(Window.minBytes)
          expect(window.size).toBeLessThanOrEqual(Window.maxBytes)
          expect(window.inFlight).toBe(0)
          expect(Window.pieceBytes(window)).toBeGreaterThan(0)
        }
      })
    )
  })
})
