/** When a node that dials out dials again, after it was not let in: soon at first, then every ten seconds. */

const firstMillis = 250
const lastMillis = 10_000

/** A connection that was parked for so long was not refused. */
export const acceptedMillis = 5000

/** How long to wait after so many failures in a row, at random so that nodes do not come together; `random` is in [0, 1). */
export const pauseMillis = (failures: number, random: number): number =>
  Math.min(lastMillis, firstMillis * 2 ** Math.min(failures - 1, 20)) * (0.5 + random / 2)
