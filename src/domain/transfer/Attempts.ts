/**
 * When a transfer whose connection broke is tried again: soon at first, later
 * after longer pauses, and for as long as tries bring it on.
 *
 * ```
 * sending ──▶ broken ──▶ (pause) ──▶ asking where to go on ──▶ sending … ──▶ done
 *                │                                                └──▶ refused: not tried again
 *                └──▶ given up after `maxTries` tries in a row that brought nothing
 * ```
 */

/** Tries in a row without progress before a transfer is given up. */
export const maxTries = 6

const firstPauseMillis = 50
const maxPauseMillis = 2_000

/** What is known of a transfer's tries. */
export interface Attempts {
  /** Tries in a row that brought nothing. */
  readonly futile: number
  /** Bytes that are there. */
  readonly reached: number
}

/** A transfer that was not tried. */
export const none: Attempts = { futile: 0, reached: 0 }

/** A try broke off after `reached` bytes in all: what is known now, and the pause before the next; undefined for no next. */
export const broken = (
  attempts: Attempts,
  reached: number
): { readonly attempts: Attempts; readonly pauseMillis: number | undefined } => {
  const futile = reached > attempts.reached ? 1 : attempts.futile + 1
  return {
    attempts: { futile, reached: Math.max(reached, attempts.reached) },
    pauseMillis: futile >= maxTries ? undefined : Math.min(maxPauseMillis, firstPauseMillis * 2 ** (futile - 1))
  }
}
