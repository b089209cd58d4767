/**
 * Time as the event loop of this process has it: it stands still while the machine does other things, so what is
 * measured with it says how long this process took, on a busy machine as on one that is not.
 */

/** Every so many milliseconds the loop is asked whether it goes on. */
const tickMillis = 5

/** Milliseconds in which the loop went on, since this was made. */
export interface LoopTime extends Disposable {
  readonly now: () => number
}

/** Starts the clock; it stops when it is disposed of. */
export const start = (): LoopTime => {
  let [ticks, last] = [0, performance.now()]
  const timer = setInterval(() => {
    ticks++
    last = performance.now()
  }, tickMillis)
  timer.unref()
  return {
    // Less than a tick more counts, however long ago the last one was.
    now: () => ticks * tickMillis + Math.min(performance.now() - last, tickMillis),
    [Symbol.dispose]: () => clearInterval(timer)
  }
}
