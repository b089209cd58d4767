/** Chance that can be had again: CHAOS_SEED, or a seed that the failure of a test names. */

/** Draws from one seed. */
export interface Chance {
  readonly seed: number
  /** From 0 to 1, without 1. */
  readonly next: () => number
  readonly pick: <A>(all: ReadonlyArray<A>) => A
  /** Times of what happens at random with this mean. */
  readonly exponential: (mean: number) => number
}

/** Draws that begin with a seed. */
export const make = (seed = Number(process.env["CHAOS_SEED"] ?? Math.floor(Math.random() * 2 ** 31))): Chance => {
  let state = seed >>> 0
  // mulberry32
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    seed,
    next,
    pick: (all) => all[Math.floor(next() * all.length)]!,
    exponential: (mean) => -mean * Math.log(1 - next())
  }
}
