/** The ways in which a daemon is asked to end. */
import { Deferred, Effect, type Scope } from "effect"
import type { NodeOptions } from "./NodeOptions.ts"

/** What the daemon was asked. */
export interface NodeSignals {
  /** Done when it is to end when its jobs have. */
  readonly end: Deferred.Deferred<string>
  /** Done when it is to end at once. */
  readonly endNow: Deferred.Deferred<string>
}

/**
 * Listens for signals while the scope is open: the first asks for an end, the
 * second for one at once, and the third waits for nothing any more. An embedded
 * node leaves Ctrl-C to its client, with which it shares the terminal, and ends
 * with it: the client holds the other end of standard input.
 */
export const make = (
  options: Pick<NodeOptions, "embedded" | "daemon">
): Effect.Effect<NodeSignals, never, Scope.Scope> => {
  const signals: NodeSignals = { end: Deferred.makeUnsafe(), endNow: Deferred.makeUnsafe() }
  let count = 0
  const ask = (name: string) => {
    count++
    if (count === 1) Deferred.doneUnsafe(signals.end, Effect.succeed(name))
    else if (count === 2) Deferred.doneUnsafe(signals.endNow, Effect.succeed(name))
    else process.exit(1)
  }
  const ignore = () => {}
  const parentGone = () => Deferred.doneUnsafe(signals.endNow, Effect.succeed("the client is gone"))
  const isEmbedded = options.embedded
  const listeners: ReadonlyArray<readonly [NodeJS.Signals, (name: string) => void]> = [
    ["SIGTERM", ask],
    ["SIGINT", isEmbedded ? ignore : ask],
    ["SIGHUP", isEmbedded || options.daemon ? ignore : ask]
  ]
  return Effect.as(
    Effect.acquireRelease(
      Effect.sync(() => {
        for (const [name, listener] of listeners) process.on(name, listener)
        if (isEmbedded) process.stdin.on("end", parentGone).on("error", parentGone).on("close", parentGone).resume()
      }),
      () =>
        Effect.sync(() => {
          for (const [name, listener] of listeners) process.off(name, listener)
          if (isEmbedded) process.stdin.destroy()
        })
    ),
    signals
  )
}
