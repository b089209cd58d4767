/** The door of a node with a secret: guesses, and what was recorded, sent back or asked for in a weaker form. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, References } from "effect"
import { TestClock } from "effect/testing"
import type { Secret } from "../../../src/domain/security/Credentials.ts"
import * as StolenSessions from "../../conformance/StolenSessions.ts"
import { aListeningNode } from "../../support/ListeningNode.ts"
import { aSecret, guess, hello } from "../../support/Secrets.ts"

const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, References.MinimumLogLevel, "None")

const right: Secret = aSecret(1)

describe("a guesser", () => {
  it.effect("is told that the secrets differ so often a minute, and then nothing of its guesses", () =>
    Effect.gen(function*() {
      const { port } = yield* aListeningNode({ maxFailures: 5 }, right)
      for (let n = 0; n < 5; n++) expect(yield* guess(port, aSecret(2))).toMatch(/the secrets differ/)
      // Also a right one is not heard now, so a guesser does not learn that it is.
      for (const secret of [aSecret(2), right, right]) {
        expect(yield* guess(port, secret)).toMatch(/too many handshakes from this address have failed/)
      }
      expect(yield* guess(port, right, "127.0.0.2")).toBe("let in")
      yield* TestClock.adjust("12 seconds")
      expect(yield* guess(port, right)).toBe("let in")
      expect(yield* guess(port, right)).toBe("let in")
    }).pipe(quiet, Effect.scoped))

  it.effect("of many at a time has no more tries than one after the other", () =>
    Effect.gen(function*() {
      const { port } = yield* aListeningNode({ maxFailures: 5 }, right)
      const said = yield* Effect.forEach(Array.from({ length: 60 }), () => guess(port, aSecret(2)), {
        concurrency: "unbounded"
      })
      expect(said.filter((one) => /the secrets differ/.test(one)).length).toBeLessThanOrEqual(5)
      expect(yield* guess(port, right)).toMatch(/too many handshakes/)
    }).pipe(quiet, Effect.scoped))

  it.effect("is nobody who breaks handshakes off or holds them: that tells nothing, and keeps no client out", () =>
    Effect.gen(function*() {
      const { port } = yield* aListeningNode({ maxFailures: 3 }, right)
      for (let n = 0; n < 20; n++) yield* guess(port, "breaks off")
      expect(yield* hello(port, right)).toBe("n1")
    }).pipe(quiet, Effect.scoped))

  it.effect("is no client with the secret, however often that comes", () =>
    Effect.gen(function*() {
      const { port } = yield* aListeningNode({ maxFailures: 2 }, right)
      for (let n = 0; n < 20; n++) expect(yield* guess(port, right)).toBe("let in")
      expect(yield* hello(port, right)).toBe("n1")
    }).pipe(quiet, Effect.scoped))
})

StolenSessions.suite(100)
