/**
 * Whether a node is given to another client while it works on for one that is gone: at once when nothing runs any
 * more, after the zombie interval whatever runs, and until then with the reason why not.
 */

/** What a node still does for a client that is gone. */
export interface Gone {
  readonly clientName: string
  /** Since the client was last heard. */
  readonly goneMillis: number
  /** Jobs without a reply. */
  readonly jobs: number
  /** Replies that are not on the disk yet, because there is no room. */
  readonly unwritten: number
}

/** What the other client is told. */
export type Claim =
  /** The node does nothing for the one that is gone any more. */
  | { readonly _tag: "Free" }
  /** It was waited for long enough: its jobs are to be killed. */
  | { readonly _tag: "Overdue" }
  /** Who holds the node, and why for how long. */
  | { readonly _tag: "Wait"; readonly holder: string }

const minuteMillis = 60_000

const minutes = (millis: number): string => {
  const count = Math.max(1, Math.ceil(millis / minuteMillis))
  return count === 1 ? "a minute" : `${count} minutes`
}

const left = ({ jobs, unwritten }: Gone): string => {
  if (jobs === 0) return `${unwritten === 1 ? "a reply waits" : `${unwritten} replies wait`} for room on its disk`
  return jobs === 1 ? "one of its jobs still runs" : `${jobs} of its jobs still run`
}

/** Another client wants the node; an interval of 0 waits for ever. */
export const claim = (gone: Gone, zombieMillis: number): Claim => {
  if (gone.jobs === 0 && gone.unwritten === 0) return { _tag: "Free" }
  const remaining = zombieMillis - gone.goneMillis
  if (zombieMillis > 0 && remaining <= 0) return { _tag: "Overdue" }
  const since = gone.goneMillis < minuteMillis
    ? "for less than a minute"
    : `for ${minutes(gone.goneMillis - minuteMillis + 1)}`
  const until = zombieMillis === 0
    ? "the node is free when that has ended"
    : `the node is free in ${minutes(remaining)} at the latest`
  const how = "`dispy recover FILE --terminate-pending`, with its recover file, frees it now"
  return { _tag: "Wait", holder: `${gone.clientName}, which is gone ${since}: ${left(gone)}, and ${until}; ${how}` }
}
