/**
 * Tells the owner of a program of datagrams and announcements that are not heeded, and those who send such pings: seldom,
 * however many there are.
 */
import { Effect } from "effect"
import * as Inbox from "../../domain/discovery/Inbox.ts"
import * as RateLimit from "../../domain/RateLimit.ts"

/** Once in five minutes for each host and reason, and six entries a minute for all. */
export const make = (): RateLimit.RateLimit =>
  RateLimit.make({ burst: 1, perSecond: 1 / 300 }, { burst: 6, perSecond: 0.1 })

/** Says it, unless it was said lately. */
export const tell = (log: RateLimit.RateLimit, why: Inbox.Dropped, host: string, now: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (why === "replayed" || !RateLimit.take(log, `${why} ${host}`, now)) return Effect.void
    const said = why === "junk"
      ? Effect.logDebug("a datagram that is none of dispy's was dropped")
      : Effect.logWarning(`ignoring datagrams ${Inbox.meaning[why]}`)
    return said.pipe(Effect.annotateLogs({ host }))
  })

/** Words to senders: three a host and one every five seconds, 50 and ten a second for all. */
export const makeWords = (): RateLimit.RateLimit =>
  RateLimit.make({ burst: 3, perSecond: 0.2 }, { burst: 50, perSecond: 10 })

/** Whether the sender of a datagram that was dropped is to hear of it now. */
export const takeWord = (
  words: RateLimit.RateLimit,
  bytes: Uint8Array,
  why: Inbox.Dropped,
  host: string,
  now: number
): boolean => Inbox.deservesWord(bytes, why) && RateLimit.take(words, host, now)

/** What is wrong with a connection that somebody wants to park here; other reasons are clauses. */
export type NotParked = Inbox.Dropped | { readonly reason: string }

/** A sentence about such a connection, for both ends. */
export const explain = (why: NotParked): string => {
  if (typeof why === "object") return why.reason
  if (why === "junk") return "it does not begin with an announcement of a node"
  return `it begins with an announcement ${why === "replayed" ? "that was used before" : Inbox.meaning[why]}`
}

/** Says why it was closed, unless that was said lately. */
export const tellClosed = (log: RateLimit.RateLimit, why: NotParked, host: string, now: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const reason = explain(why)
    if (!RateLimit.take(log, `${reason} ${host}`, now)) return Effect.void
    const said = why === "junk"
      ? Effect.logDebug("closed a connection that is none of dispy's")
      : Effect.logWarning("closed a connection that a node wanted to park")
    return said.pipe(Effect.annotateLogs({ host, reason }))
  })
