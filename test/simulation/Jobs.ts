/** What simulated jobs do, and what they may: chosen at random, each kind often enough to be seen. */
import type { Terms } from "../../src/domain/scheduler/JobRecord.ts"
import type { RetryPolicy } from "../../src/domain/scheduler/Retry.ts"
import type * as Ledger from "./Ledger.ts"
import * as Random from "./Random.ts"

/** Most attempts that differ from each other. */
const mostEnds = 6

const endOf = (random: Random.Random): Ledger.End =>
  Random.chance(random, 0.85) ? "returns" : Random.chance(random, 0.7) ? "throws" : "exits"

const endsOf = (random: Random.Random): Ledger.Spec["ends"] => {
  // Poison, with nodes beside slots now and then.
  if (Random.chance(random, 0.01)) return ["exits"]
  if (Random.chance(random, 0.004)) return Random.pick(random, [["ends its node"], ["exits", "ends its node"]])
  const first = endOf(random)
  const ends: Array<Ledger.End> = []
  for (let end = first; end !== "returns" && ends.length < mostEnds; end = endOf(random)) ends.push(end)
  return [first, ...ends.slice(1), Random.chance(random, 0.7) ? "returns" : "throws"]
}

/** What a job does. */
export const specOf = (random: Random.Random, isShort: boolean): Ledger.Spec => ({
  millis: isShort || Random.chance(random, 0.6) ? Random.skewed(random, 1, 200) : Random.skewed(random, 200, 20_000),
  ends: endsOf(random),
  isStubborn: Random.chance(random, 0.2),
  hasProvisional: Random.chance(random, 0.15)
})

const retryOf = (random: Random.Random): RetryPolicy => {
  const delayMillis = Random.pick(random, [0, 0, 50, 1000, 5000])
  return {
    times: Random.int(random, 1, 6),
    delayMillis,
    factor: Random.pick(random, [1, 2, 3]),
    maxDelayMillis: Random.pick(random, [delayMillis, 10_000]),
    on: Random.pick(random, [[], [], ["JobFailed"], ["JobCrashed", "NodeLost"], ["JobTimedOut", "JobFailed"]])
  }
}

/** What the jobs of a computation may; undefined for nothing beside one attempt at some time. */
export const termsOf = (random: Random.Random): Terms | undefined => {
  if (Random.chance(random, 0.5)) return undefined
  return {
    retry: Random.chance(random, 0.8) ? retryOf(random) : undefined,
    queueMillis: Random.chance(random, 0.3) ? Random.skewed(random, 100, 20_000) : 0,
    totalMillis: Random.chance(random, 0.3) ? Random.skewed(random, 500, 60_000) : 0
  }
}
