/** When a client pings: often while it has found nothing, then less and less, then every `pingInterval` if it has one. */

/** Gap while nothing was found. With 90 % of the datagrams of one direction lost, a node is found in 10 s in 99.5 of 100 cases. */
export const eagerMillis = 200

/** How long a client that has found nothing stays eager. */
export const eagerForMillis = 10_000

/** First gap once something was found (or nothing in all that time); it doubles up to the last. */
export const firstGapMillis = 500
export const lastGapMillis = 8_000

/** What a schedule depends on. */
export interface Progress {
  /** Since the first ping. */
  readonly elapsedMillis: number
  /** The last gap; 0 for none yet, and while it was an eager one. */
  readonly gapMillis: number
  readonly hasFound: boolean
}

/** What comes next: whether there is another ping, after how long, and the gap to remember. */
export type Next = { readonly afterMillis: number; readonly gapMillis: number } | undefined

/** The wait for the next ping; undefined when there is none. */
export const next = (
  { elapsedMillis, gapMillis, hasFound }: Progress,
  pingIntervalMillis: number | undefined
): Next => {
  if (gapMillis === 0 && !hasFound && elapsedMillis < eagerForMillis) return { afterMillis: eagerMillis, gapMillis: 0 }
  const gap = gapMillis === 0 ? firstGapMillis : gapMillis * 2
  if (gap <= lastGapMillis) return { afterMillis: Math.min(gap, pingIntervalMillis ?? gap), gapMillis: gap }
  return pingIntervalMillis === undefined ? undefined : { afterMillis: pingIntervalMillis, gapMillis: lastGapMillis }
}
