/**
 * How many handshakes of an address may fail, so that nobody tries one secret after
 * the other: so many at once, and so many a minute in the long run. Only a handshake
 * that went wrong counts: those that are held or broken off have told nothing. With
 * the last one the others of the address that go on are to be ended, for each may be
 * a guess. Whoever used them up has the next one within a minute divided by their
 * number, so an address that honest clients share with a guesser is never shut out
 * for good. Time is an input, in milliseconds of any clock; memory is bounded.
 */
import * as IpAddress from "../IpAddress.ts"
import * as RateLimit from "../RateLimit.ts"

/** What is left to each address; changed in place. */
export interface Guesses {
  readonly limit: RateLimit.RateLimit
}

const unlimited = { burst: Number.MAX_SAFE_INTEGER, perSecond: Number.MAX_SAFE_INTEGER }

/** All of them left to everybody. */
export const make = (perMinute: number): Guesses => ({
  limit: RateLimit.make({ burst: perMinute, perSecond: perMinute / 60 }, unlimited)
})

/** Who is behind an address: of IPv6 the whole network of 64 bits, which one machine may use up. */
export const guesserOf = (address: string): string => {
  const [usual = address, groups] = IpAddress.forms(address)
  return groups === undefined ? usual : groups.split(":").slice(0, 4).join(":")
}

/** Whether a handshake with the guesser may begin. */
export const mayBegin = ({ limit }: Guesses, guesser: string, now: number): boolean =>
  RateLimit.isLeft(limit, guesser, now)

/** A handshake has failed. False when it was the last that may: the guesser's others are to be ended. */
export const failed = ({ limit }: Guesses, guesser: string, now: number): boolean =>
  RateLimit.take(limit, guesser, now) && RateLimit.isLeft(limit, guesser, now)
