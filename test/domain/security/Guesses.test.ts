/** How many handshakes may fail. */
import { describe, expect, it } from "vitest"
import * as Guesses from "../../../src/domain/security/Guesses.ts"

describe("guesses of a secret", () => {
  /** A try that fails; whether it was heard. */
  const attempt = (guesses: Guesses.Guesses, guesser: string, now: number): boolean => {
    if (!Guesses.mayBegin(guesses, guesser, now)) return false
    Guesses.failed(guesses, guesser, now)
    return true
  }

  it("are 60 and then one a second, of 100,000 tries in an hour", () => {
    const guesses = Guesses.make(60)
    let heard = 0
    for (let n = 0; n < 100_000; n++) if (attempt(guesses, "10.0.0.1", n * 36)) heard++
    expect(heard).toBeGreaterThan(3600)
    expect(heard).toBeLessThanOrEqual(60 + 3600)
  })

  it("of one address leave all to others, and a try a second to those who share it", () => {
    const guesses = Guesses.make(60)
    while (attempt(guesses, "10.0.0.1", 0));
    expect(Guesses.mayBegin(guesses, "10.0.0.2", 0)).toBe(true)
    expect(Guesses.mayBegin(guesses, "10.0.0.1", 999)).toBe(false)
    expect(Guesses.mayBegin(guesses, "10.0.0.1", 1000)).toBe(true)
  })

  it("that went on at the same time are to be ended with the last that may fail", () => {
    const guesses = Guesses.make(3)
    expect([1, 2, 3, 4].map(() => Guesses.failed(guesses, "10.0.0.1", 0))).toEqual([true, true, false, false])
  })

  it("are not what begins and never fails, however often", () => {
    const guesses = Guesses.make(3)
    for (let n = 0; n < 1000; n++) expect(Guesses.mayBegin(guesses, "10.0.0.1", 0)).toBe(true)
  })

  it("are counted for a network of 64 bits, and for an IPv4 address however it is written", () => {
    expect(Guesses.guesserOf("2001:db8::1")).toBe(Guesses.guesserOf("2001:db8:0:0:ffff::2"))
    expect(Guesses.guesserOf("2001:db8::1")).not.toBe(Guesses.guesserOf("2001:db8:0:1::1"))
    expect(Guesses.guesserOf("::ffff:10.0.0.1")).toBe(Guesses.guesserOf("10.0.0.1"))
    expect(Guesses.guesserOf("10.0.0.1")).not.toBe(Guesses.guesserOf("10.0.0.2"))
  })

  it("take no more memory for 20,000 guessers", () => {
    const guesses = Guesses.make(60)
    for (let n = 0; n < 20_000; n++) Guesses.failed(guesses, `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, n)
    expect(guesses.limit.buckets.size).toBeLessThanOrEqual(1024)
  })
})
