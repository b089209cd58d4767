/**
 * When a client pings: often while nothing answers or answers get lost, for ten
 * seconds; then less and less, then every `pingInterval` if it has one.
 */

/** Gap while nothing has answered yet. */
export const firstMillis = 200

/** For how long that is nothing unusual. */
export const firstForMillis = 1000

/**
 * Gap after that. With nine of ten datagrams lost in both directions, and three answers to each ping, a node is found
 * within ten seconds in 99.7 of 100 cases.
 */
export const eagerMillis = 40

/** Answers to each ping that are asked for then. */
export const eagerAnswers = 3

/** How long a client is eager, from its first ping on. */
export const eagerForMillis = 10_000

/** For each node that has answered the gap is at least so long: all together are asked for 600 answers a second at most. */
export const nodeMillis = 5

/** First gap once all is well (or nothing is found in all that time); it doubles up to the last. */
export const firstGapMillis = 500
export const lastGapMillis = 8_000

/** What a schedule depends on. */
export interface Progress {
  /** Since the first ping. */
  readonly elapsedMillis: number
  /** The last gap; 0 for none yet, and while it was an eager one. */
  readonly gapMillis: number
  /** Nothing has answered, or many answers are missing. */
  readonly isLossy: boolean
  /** How many nodes have answered. */
  readonly nodes: number
}

/** What comes next: whether there is another ping, after how long, how many answers it asks for, and the gap to remember. */
export type Next =
  | { readonly afterMillis: number; readonly gapMillis: number; readonly answers: number }
  | undefined

/** The next ping; undefined when there is none. */
export const next = (
  { elapsedMillis, gapMillis, isLossy, nodes }: Progress,
  pingIntervalMillis: number | undefined
): Next => {
  if (isLossy && elapsedMillis < eagerForMillis) {
    const isFirst = elapsedMillis < firstForMillis
    const gap = Math.max(isFirst ? firstMillis : eagerMillis, nodes * nodeMillis)
    return { afterMillis: gap, gapMillis: 0, answers: isFirst ? 1 : eagerAnswers }
  }
  const gap = gapMillis === 0 ? firstGapMillis : gapMillis * 2
  if (gap <= lastGapMillis) {
    return { afterMillis: Math.min(gap, pingIntervalMillis ?? gap), gapMillis: gap, answers: 1 }
  }
  if (pingIntervalMillis === undefined) return undefined
  return { afterMillis: pingIntervalMillis, gapMillis: lastGapMillis, answers: 1 }
}
