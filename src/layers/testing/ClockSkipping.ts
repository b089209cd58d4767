/** A clock that goes as the real one does, and can be put forward: what was to happen until then happens at once, in order. */
import { type Clock, Duration, Effect } from "effect"

/** The clock, and how to put it forward. */
export interface SkippingClock {
  readonly clock: Clock.Clock
  /** Resolves when all that was due has happened, and what followed from it. */
  readonly advance: (millis: number) => Promise<void>
}

interface Sleeper {
  readonly due: number
  readonly wake: () => void
}

/** Turns of the event loop in which nothing happened, after which nothing is under way. */
const quietTurns = 5

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Longest delay of a timer. */
const longest = 2 ** 31 - 1

/** Makes a clock; `activity` counts what else goes on. Its timers do not keep the process alive. */
export const make = (activity: () => number): SkippingClock => {
  /** By `due`; of the same time in the order of their coming. */
  const sleepers: Array<Sleeper> = []
  let skipped = 0
  let sleeps = 0
  let timer: NodeJS.Timeout | undefined
  const now = (): number => performance.now() + skipped

  const fire = (): void => {
    for (let first = sleepers[0]; first !== undefined && first.due <= now(); first = sleepers[0]) {
      sleepers.shift()
      first.wake()
    }
    arm()
  }

  const arm = (): void => {
    clearTimeout(timer)
    const [first] = sleepers
    if (first !== undefined) timer = setTimeout(fire, Math.min(Math.max(0, first.due - now()), longest)).unref()
  }

  const add = (millis: number, wake: () => void): () => void => {
    sleeps++
    const sleeper: Sleeper = { due: now() + millis, wake }
    const at = sleepers.findLastIndex(({ due }) => due <= sleeper.due) + 1
    sleepers.splice(at, 0, sleeper)
    if (at === 0) arm()
    return () => {
      const index = sleepers.indexOf(sleeper)
      if (index >= 0) sleepers.splice(index, 1)
    }
  }

  const settled = async (): Promise<void> => {
    let seen = -1
    for (let quiet = 0; quiet < quietTurns; quiet++) {
      const count = activity() + sleeps
      if (count !== seen) quiet = 0
      seen = count
      await turn()
    }
  }

  const advance = async (millis: number): Promise<void> => {
    await settled()
    const target = now() + millis
    for (let first = sleepers[0]; first !== undefined && first.due <= target; first = sleepers[0]) {
      skipped += Math.max(0, first.due - now())
      sleepers.shift()
      first.wake()
      await settled()
    }
    skipped += Math.max(0, target - now())
    arm()
  }

  const wallMillis = (): number => Math.floor(performance.timeOrigin + now())
  const nanosOf = (millis: number): bigint => BigInt(Math.round(millis * 1_000_000))
  const wallNanos = (): bigint => nanosOf(performance.timeOrigin + now())
  const nanos = (): bigint => nanosOf(now())
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: wallMillis,
    currentTimeMillis: Effect.sync(wallMillis),
    currentTimeNanosUnsafe: wallNanos,
    currentTimeNanos: Effect.sync(wallNanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: (duration) => {
      const millis = Duration.toMillis(duration)
      if (millis <= 0) return Effect.yieldNow
      if (millis === Infinity) return Effect.never
      return Effect.callback<void>((resume) => {
        const takeBack = add(millis, () => resume(Effect.void))
        return Effect.sync(takeBack)
      })
    }
  }

  let last: Promise<void> = Promise.resolve()
  return {
    clock,
    advance: (millis) => {
      last = last.then(() => advance(millis))
      return last
    }
  }
}
