/**
 * Lets a program end that forgot to close its clusters, when its jobs are done: the
 * connections and timers of a promise cluster do not keep the process alive by
 * themselves, only what somebody waits for does. Node tells when there is nothing
 * left (`beforeExit`); then the clusters are closed, which takes a moment more.
 */
import { Clock, Duration, Effect, Layer } from "effect"

/** What keeps the process alive while somebody waits for a cluster. */
export interface KeepAlive {
  /** Keeps the process alive until the function that it returns is called. */
  readonly hold: () => () => void
}

/** Longest delay of a timer; the timer itself does nothing. */
const longest = 2 ** 31 - 1

/** One timer for all clusters, which counts only while somebody holds it. */
export const make = (): KeepAlive => {
  let holders = 0
  let timer: NodeJS.Timeout | undefined
  return {
    hold: () => {
      timer ??= setInterval(() => {}, longest)
      if (holders++ === 0) timer.ref()
      let isHeld = true
      return () => {
        if (!isHeld) return
        isHeld = false
        if (--holders === 0) timer?.unref()
      }
    }
  }
}

/** Holds until the promise is settled. */
export const during = <A>(keepAlive: KeepAlive, promise: Promise<A>): Promise<A> => promise.finally(keepAlive.hold())

const later = (call: () => void, millis: number): NodeJS.Timeout => setTimeout(call, millis).unref()

/** A clock whose timers do not keep the process alive. */
const clock = (own: Clock.Clock): Clock.Clock =>
  Object.assign(Object.create(own) as Clock.Clock, {
    sleep: (duration: Duration.Duration): Effect.Effect<void> => {
      const millis = Duration.toMillis(duration)
      if (millis <= 0) return Effect.yieldNow
      if (millis === Infinity) return Effect.never
      return Effect.callback<void>((resume) => {
        const timer = later(() => resume(Effect.void), Math.min(millis, longest))
        return Effect.sync(() => clearTimeout(timer))
      })
    }
  })

/** Effects sleep without keeping the process alive. */
export const layerClock: Layer.Layer<never> = Layer.effect(
  Clock.Clock,
  Clock.clockWith((own) => Effect.succeed(clock(own)))
)
