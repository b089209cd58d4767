/**
 * Ctrl-C ends a program with its jobs: they are cancelled and the nodes given back before the signal does what it always
 * does; the second one does it at once. A program that handles the signal itself decides itself.
 */

const signals = ["SIGINT", "SIGTERM"] as const

/** How long jobs and nodes may take to end. */
const endMillis = 5000

/** Whether the signals are watched. */
export interface EndSignals {
  readonly watch: () => void
  readonly unwatch: () => void
}

/** Calls `end` when the process is asked to end, and lets it end when that is done. */
export const make = (end: () => Promise<unknown>): EndSignals => {
  let isWatching = false
  const onSignal = (signal: NodeJS.Signals): void => {
    if (process.listenerCount(signal) > 1) return
    unwatch()
    const again = (): void => void process.kill(process.pid, signal)
    const timer = setTimeout(again, endMillis)
    void end().catch(() => {}).then(() => {
      clearTimeout(timer)
      again()
    })
  }
  const unwatch = (): void => {
    isWatching = false
    for (const signal of signals) process.off(signal, onSignal)
  }
  const watch = (): void => {
    if (isWatching) return
    isWatching = true
    // Before those of the program, of which one for a single time is gone when it is called.
    for (const signal of signals) process.prependListener(signal, onSignal)
  }
  return { watch, unwatch }
}
