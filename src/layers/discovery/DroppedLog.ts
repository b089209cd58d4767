/** Tells the owner of a node or relay of datagrams that are not heeded: seldom, however many there are. */
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
