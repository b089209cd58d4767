/** When a lasting connection that broke is dialled again, and when its node is given up: by the test clock. */
import { describe, expect, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, Layer, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { NodeUnreachable } from "../../../src/domain/NodeError.ts"
import type { NodeInfo } from "../../../src/domain/NodeInfo.ts"
import * as NodeLinkLasting from "../../../src/layers/link/NodeLinkLasting.ts"
import { type NodeConnection, NodeLink } from "../../../src/services/NodeLink.ts"

const address = { _tag: "Tcp", host: "10.0.0.7", port: 51348 } as const
const pulseMillis = 10_000

const reset = new NodeUnreachable({ address: "10.0.0.7:51348", reason: "connection reset" })

/** A node whose connection breaks at once and that cannot be reached any more: when it was dialled, and when given up. */
const outage = Effect.fnUntraced(function*(seed: number) {
  const dials: Array<number> = []
  const broken = yield* Deferred.make<never, NodeUnreachable>()
  const first: Pick<NodeConnection, "info" | "ipAddr" | "acquire" | "pulse" | "events"> = {
    info: { incarnation: "1" } as NodeInfo,
    ipAddr: "10.0.0.7",
    acquire: () => Effect.succeed({ leaseId: "lease", pulseMillis }),
    pulse: () => Effect.void,
    events: () => Stream.fromEffect(Deferred.await(broken))
  }
  const link = NodeLink.of({
    connect: () =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        dials.push(now)
        return dials.length === 1 ? Effect.succeed(first as NodeConnection) : Effect.fail(reset)
      })
  })
  const given = yield* Effect.gen(function*() {
    const connection = yield* (yield* NodeLink).connect(address)
    const { leaseId } = yield* connection.acquire({ clientId: "a", clientName: "ann" }, "session")
    const listening = yield* Effect.forkChild(Stream.runDrain(connection.events(leaseId, 0)).pipe(Effect.flip))
    yield* Effect.yieldNow
    yield* Deferred.fail(broken, reset)
    for (let time = 0; time < 6 * pulseMillis; time += 20) yield* TestClock.adjust(20)
    return yield* Fiber.join(listening)
  }).pipe(
    Effect.scoped,
    Effect.provide(NodeLinkLasting.layer.pipe(Layer.provide(Layer.succeed(NodeLink, link)))),
    Random.withSeed(seed)
  )
  const [start = 0, ...again] = dials
  return { given, dials: again.map((at) => at - start) }
})

describe("a connection that broke", () => {
  it.effect("is dialled again at random times whose mean doubles up to two seconds, until its node is given up", () =>
    Effect.gen(function*() {
      const runs = yield* Effect.forEach([1, 2, 3], outage)
      for (const { dials, given } of runs) {
        expect(given).toMatchObject({ _tag: "NodeUnreachable", reason: "no sign of life for five pulses" })
        const waits = dials.map((at, n) => at - (dials[n - 1] ?? 0))
        // The clock goes on in steps of 20 ms.
        waits.forEach((wait, n) => expect(wait).toBeLessThanOrEqual(Math.min(50 * 2 ** n, 2000) + 20))
        expect(Math.max(...waits)).toBeGreaterThan(1500)
        // 5.25 pulses after it was heard, and none later.
        expect(dials.at(-1)).toBeGreaterThan(4.7 * pulseMillis)
        expect(dials.at(-1)).toBeLessThanOrEqual(5.25 * pulseMillis)
        expect(dials.length).toBeLessThan(120)
      }
      // Clients that lost the same node do not come back at the same moments.
      expect(new Set(runs.map(({ dials }) => dials.slice(0, 10).join())).size).toBe(runs.length)
    }))
})
