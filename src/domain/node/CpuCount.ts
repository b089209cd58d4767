/** How many slots a node offers, from what its owner asked for and what the machine has. */
import { Result } from "effect"

/**
 * Slots for `requested`: 0 for all cores, a negative number to leave that many
 * free, a positive one for just that many. Fails with what is wrong with it.
 */
export const resolve = (requested: number, cores: number): Result.Result<number, string> => {
  const has = `this machine has ${cores} ${cores === 1 ? "core" : "cores"}`
  if (!Number.isInteger(requested)) return Result.fail(`${requested} is not a whole number`)
  if (requested > cores) return Result.fail(`${requested} is more than there are: ${has}`)
  if (requested > 0) return Result.succeed(requested)
  if (-requested >= cores) {
    return Result.fail(`${requested} leaves no core to work with: ${has}; use a number above ${-cores}`)
  }
  return Result.succeed(cores + requested)
}
