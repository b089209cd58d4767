/** A loop that keeps a core busy, as a computation and as a yardstick. */

/** Computes something from nothing; stands alone, so that it can be sent. */
export const spin = (spins: number): number => {
  let x = 1
  for (let i = 0; i < spins; i++) x = (Math.imul(x, 1_664_525) + 1_013_904_223) | 0
  return x
}

/** Rounds of the loop that this machine does in a millisecond. */
export const spinsPerMilli = (): number => {
  const spins = 2_000_000
  let best = Infinity
  for (let i = 0; i < 20; i++) {
    const start = performance.now()
    spin(spins)
    best = Math.min(best, performance.now() - start)
  }
  return spins / best
}
