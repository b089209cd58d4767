/** Calls something many times, one call per item, with a bounded number of calls outstanding. */

/** How a step is to measure. */
export interface StepOptions {
  /** Less of everything, for a first look. */
  readonly isQuick: boolean
}

/** What a step measured: figures by name. */
export type Metrics = Record<string, number>

/** Calls `call` with 0 to `total - 1`, checks that every number came back, and returns calls per second. */
export const drive = async (call: (n: number) => Promise<number>, total: number, window: number): Promise<number> => {
  let next = 0
  let sum = 0
  const lane = async (): Promise<void> => {
    while (next < total) {
      const result = await call(next++)
      sum += result
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: Math.min(window, total) }, lane))
  const seconds = (performance.now() - start) / 1000
  assertSum(sum, total)
  return total / seconds
}

/** Fails unless `sum` is that of 0 to `total - 1`: a figure counts only if every result was right. */
export const assertSum = (sum: number, total: number): void => {
  if (sum !== (total * (total - 1)) / 2) throw new Error(`wrong results: the sum over ${total} items is ${sum}`)
}

/** Milliseconds of `count` calls, one after the other, with a pause before each. */
export const latencies = async (
  call: () => Promise<unknown>,
  count: number,
  pauseMillis: number
): Promise<Array<number>> => {
  const millis: Array<number> = []
  for (let i = 0; i < count; i++) {
    if (pauseMillis > 0) await pause(pauseMillis)
    const start = performance.now()
    await call()
    millis.push(performance.now() - start)
  }
  return millis
}

/** Resolves after some time. */
export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))
