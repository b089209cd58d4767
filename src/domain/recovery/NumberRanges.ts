/**
 * Sets of job numbers as ranges: of millions of jobs that ended more or less in order, it holds a few. Ranges are
 * disjoint, not adjacent and ascending.
 */

/** A set of whole numbers. */
export interface NumberRanges {
  /** First and last number of each range, in turns. */
  readonly bounds: Array<number>
}

/** The empty set. */
export const make = (): NumberRanges => ({ bounds: [] })

/** Index of the first range that ends at `number` or later. */
const indexOf = ({ bounds }: NumberRanges, number: number): number => {
  let low = 0
  let high = bounds.length / 2
  while (low < high) {
    const middle = (low + high) >>> 1
    if (bounds[2 * middle + 1]! < number) low = middle + 1
    else high = middle
  }
  return low
}

/** Whether the number is in the set. */
export const has = (self: NumberRanges, number: number): boolean => {
  const first = self.bounds[2 * indexOf(self, number)]
  return first !== undefined && first <= number
}

/** Adds all numbers from `first` to `last`. */
export const add = (self: NumberRanges, first: number, last = first): void => {
  const { bounds } = self
  const from = indexOf(self, first - 1)
  let to = from
  while (to < bounds.length / 2 && bounds[2 * to]! <= last + 1) to++
  if (to === from) {
    if (2 * from === bounds.length) bounds.push(first, last)
    else bounds.splice(2 * from, 0, first, last)
    return
  }
  const least = Math.min(first, bounds[2 * from]!)
  const most = Math.max(last, bounds[2 * to - 1]!)
  if (to - from > 1) bounds.splice(2 * from, 2 * (to - from), least, most)
  else {
    bounds[2 * from] = least
    bounds[2 * from + 1] = most
  }
}

/** How many numbers are in it. */
export const size = ({ bounds }: NumberRanges): number => {
  let count = 0
  for (let i = 0; i < bounds.length; i += 2) count += bounds[i + 1]! - bounds[i]! + 1
  return count
}

/** The ranges of these numbers, which are in any order. */
export const from = (numbers: Iterable<number>): NumberRanges => {
  const self = make()
  for (const number of numbers) add(self, number)
  return self
}

/** The numbers in it, ascending. */
export const toArray = ({ bounds }: NumberRanges): ReadonlyArray<number> => {
  const numbers: Array<number> = []
  for (let i = 0; i < bounds.length; i += 2) {
    for (let number = bounds[i]!; number <= bounds[i + 1]!; number++) numbers.push(number)
  }
  return numbers
}
