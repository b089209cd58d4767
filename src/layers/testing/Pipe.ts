/**
 * One direction of a connection in memory: messages arrive in order, after the delay that the machine had when they were
 * sent, and wait while a gate is closed.
 */
import { Clock, Effect, Queue, type Scope } from "effect"
import * as Gate from "./Gate.ts"

/** Sends a message; returns at once. */
export type Send<A> = (message: A) => void

/** A pipe that ends with the scope. */
export const make = Effect.fnUntraced(function*<A>(options: {
  readonly scope: Scope.Scope
  readonly gates: ReadonlyArray<Gate.Gate>
  readonly delayMillis: () => number
  /** Ends delays when it opens. */
  readonly prompt: Gate.Gate
  readonly deliver: (message: A) => Effect.Effect<void>
}) {
  const clock = yield* Clock.Clock
  // What is sent and not acknowledged bounds it, as it bounds what a socket holds.
  const queue = yield* Queue.unbounded<{ readonly message: A; readonly due: number }>()
  const pump = Effect.gen(function*() {
    const { due, message } = yield* Queue.take(queue)
    const early = due - clock.currentTimeMillisUnsafe()
    if (early > 0) yield* Effect.raceFirst(Effect.sleep(early), Gate.open([options.prompt]))
    yield* Gate.open(options.gates)
    yield* options.deliver(message)
  })
  yield* Effect.forkIn(Effect.forever(pump), options.scope)
  const send: Send<A> = (message) => {
    Queue.offerUnsafe(queue, { message, due: clock.currentTimeMillisUnsafe() + options.delayMillis() })
  }
  return send
})
