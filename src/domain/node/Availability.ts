/**
 * Whether a node takes jobs: what its owner said on the console, and its service
 * hours. The owner's word counts more. "stop" holds until "start"; "start" outside
 * of the service hours holds until these begin and end the next time.
 *
 * ```
 * owner   undecided ── stop ──▶ stopped ── start ──▶ undecided, or started when the hours say no
 *         started ── the hours change ──▶ undecided
 * ```
 */

/** What decides. */
export interface Availability {
  readonly owner: "undecided" | "stopped" | "started"
  readonly isInHours: boolean
}

/** A node that takes jobs. */
export const initial: Availability = { owner: "undecided", isInHours: true }

/** Whether the node takes jobs. */
export const isOpen = ({ isInHours, owner }: Availability): boolean =>
  owner === "undecided" ? isInHours : owner === "started"

/** Why it takes none; empty when it does. */
export const reason = (availability: Availability): string =>
  isOpen(availability)
    ? ""
    : availability.owner === "stopped"
    ? "stopped by its owner"
    : "outside of its service hours"

/** The owner says stop. */
export const stop = (availability: Availability): Availability => ({ ...availability, owner: "stopped" })

/** The owner says start. */
export const start = (availability: Availability): Availability => ({
  ...availability,
  owner: availability.isInHours ? "undecided" : "started"
})

/** The service hours say yes or no. */
export const setInHours = (availability: Availability, isInHours: boolean): Availability => {
  if (isInHours === availability.isInHours) return availability
  return { owner: availability.owner === "stopped" ? "stopped" : "undecided", isInHours }
}
