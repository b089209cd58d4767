/**
 * Time as this process has it: what it computed and what its event loop waited, but not what the machine gave to others
 * meanwhile. So limits hold on a busy machine as on one that is not.
 */

/** A loop that waits is seen to wait every so many milliseconds. */
const tickMillis = 5

/** Milliseconds of this process since it was made. */
export interface LoopTime extends Disposable {
  readonly now: () => number
}

/** Starts the clock; it stops when it is disposed of. Never ahead of the wall's, and at least what the process computed. */
export const start = (): LoopTime => {
  const startedAt = performance.now()
  const cpu = process.cpuUsage()
  let [ticks, last] = [0, startedAt]
  const timer = setInterval(() => {
    ticks++
    last = performance.now()
  }, tickMillis)
  timer.unref()
  return {
    now: () => {
      const now = performance.now()
      const { system, user } = process.cpuUsage(cpu)
      // However late a tick is, it stands for no more than itself: the rest was work, which counts as such, or others'.
      return Math.min(now - startedAt, ticks * tickMillis + Math.min(now - last, tickMillis) + (system + user) / 1000)
    },
    [Symbol.dispose]: () => clearInterval(timer)
  }
}
