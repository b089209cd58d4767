/** How much of the full size a soak runs: CHAOS_SCALE, 1 by default; 0.1 has a tenth of the jobs and cycles. */

const scale = Number(process.env["CHAOS_SCALE"] ?? 1)

/** So many in full; at least `least`. */
export const of = (full: number, least = 1): number => Math.max(least, Math.round(full * scale))
