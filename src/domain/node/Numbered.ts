/**
 * Which of a client's numbered messages a node has taken. A client that reconnects sends again what it had no answer to,
 * and what its old connection still brings may come later; each number is taken once. A value changed in place.
 */

/** Numbers that were taken: all up to `through`, and some beyond. */
export interface Numbered {
  through: number
  readonly beyond: Set<number>
}

/** Nothing was taken; numbers begin at 1. */
export const make = (): Numbered => ({ through: 0, beyond: new Set() })

/** Takes a number: whether it is taken for the first time. */
export const take = (taken: Numbered, number: number): boolean => {
  if (number <= taken.through || taken.beyond.has(number)) return false
  if (number !== taken.through + 1) {
    taken.beyond.add(number)
    return true
  }
  taken.through = number
  while (taken.beyond.delete(taken.through + 1)) taken.through++
  return true
}
