/** The one source of chance of a simulated run: all that is random in there comes from its seed, in order. */

/** See above. A value changed in place. */
export interface Random {
  a: number
  b: number
  c: number
  counter: number
}

/** The next number, from 0 to below 1 (sfc32). */
export const next = (random: Random): number => {
  const t = (random.a + random.b + random.counter) | 0
  random.counter = (random.counter + 1) | 0
  random.a = random.b ^ (random.b >>> 9)
  random.b = (random.c + (random.c << 3)) | 0
  random.c = ((random.c << 21) | (random.c >>> 11)) + t | 0
  return (t >>> 0) / 4_294_967_296
}

/** Chance by a seed. */
export const make = (seed: number): Random => {
  const random = { a: seed | 0, b: (seed / 4_294_967_296) | 0, c: 0x9E_37_79_B9 | 0, counter: 1 }
  for (let i = 0; i < 12; i++) next(random)
  return random
}

/** A whole number from `least` to `most`. */
export const int = (random: Random, least: number, most: number): number =>
  least + Math.floor(next(random) * (most - least + 1))

/** A number from `least` to below `most`. */
export const between = (random: Random, least: number, most: number): number => least + next(random) * (most - least)

/** More often small than large: from `least` to `most`, spread evenly over orders of magnitude. */
export const skewed = (random: Random, least: number, most: number): number =>
  least * Math.exp(next(random) * Math.log(most / least))

/** True with this probability. */
export const chance = (random: Random, probability: number): boolean => next(random) < probability

/** One of these. */
export const pick = <A>(random: Random, items: ReadonlyArray<A>): A => items[int(random, 0, items.length - 1)]!

/** The same in another order. */
export const shuffled = <A>(random: Random, items: ReadonlyArray<A>): Array<A> => {
  const order = [...items]
  for (let i = order.length - 1; i > 0; i--) {
    const j = int(random, 0, i)
    const item = order[i]!
    order[i] = order[j]!
    order[j] = item
  }
  return order
}
