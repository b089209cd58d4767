/**
 * How a running job is ended: asked first if it listens, then told, then killed.
 *
 * ```
 * listens to dispy.signal   Abort ──grace/2──▶ SIGTERM ──grace/2──▶ SIGKILL
 * does not                  SIGTERM ──────────grace──────────────▶ SIGKILL
 * grace 0                   SIGKILL
 * ```
 */

/** One thing to do, `atMillis` after the plan began. */
export interface KillStep {
  readonly atMillis: number
  readonly act: "abort" | "terminate" | "kill"
}

/** The steps for a job, in order of time. */
export const steps = (graceMillis: number, isListening: boolean): ReadonlyArray<KillStep> => {
  if (graceMillis <= 0) return [{ atMillis: 0, act: "kill" }]
  return isListening
    ? [
      { atMillis: 0, act: "abort" },
      { atMillis: graceMillis / 2, act: "terminate" },
      { atMillis: graceMillis, act: "kill" }
    ]
    : [{ atMillis: 0, act: "terminate" }, { atMillis: graceMillis, act: "kill" }]
}
