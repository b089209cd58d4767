/**
 * How a running job is ended: asked first if it listens, then told, then killed.
 *
 * ```
 * alone in its process, listens to dispy.signal   Abort ──grace/2──▶ SIGTERM ──grace/2──▶ SIGKILL
 * alone in its process                            SIGTERM ──────────grace──────────────▶ SIGKILL
 * alone in its process, grace 0                   SIGKILL
 * alone in its thread, listens                    Abort ──grace/2──▶ stop ──grace/2──▶ SIGKILL to the process
 * alone in its thread                             stop ─────────grace────────────────▶ SIGKILL to the process
 * with others in its process                      Abort ───────────grace─────────────▶ SIGKILL
 * with others in its thread                       Abort ───────────grace──▶ stop ──▶ SIGKILL to the process
 * ```
 * What has others around it is given all of its grace, and at least `stopMillis`, before they suffer; so is a thread
 * that is to stop before its process is killed.
 */

/** One thing to do, `atMillis` after the plan began. */
export interface KillStep {
  readonly atMillis: number
  /** `terminate` is SIGTERM to a process, and the stop of a thread. */
  readonly act: "abort" | "terminate" | "kill"
}

/** Where the job runs. */
export interface Surroundings {
  /** Whether its slot is a thread. */
  readonly isThread: boolean
  /** Whether its slot may run other jobs at the same time. */
  readonly isShared: boolean
}

/** A thread stops within a millisecond or two unless it is in native code; this is for a busy machine. */
export const stopMillis = 500

/** The steps for a job, in order of time. */
export const steps = (
  graceMillis: number,
  isListening: boolean,
  { isShared, isThread }: Surroundings
): ReadonlyArray<KillStep> => {
  const grace = Math.max(isShared ? stopMillis : 0, graceMillis)
  if (isThread) {
    const stopAt = isShared ? grace : isListening ? Math.max(0, grace / 2) : 0
    const stopped: ReadonlyArray<KillStep> = [
      { atMillis: stopAt, act: "terminate" },
      { atMillis: Math.max(grace, stopAt + stopMillis), act: "kill" }
    ]
    return stopAt <= 0 ? stopped : [{ atMillis: 0, act: "abort" }, ...stopped]
  }
  if (grace <= 0) return [{ atMillis: 0, act: "kill" }]
  if (isShared) return [{ atMillis: 0, act: "abort" }, { atMillis: grace, act: "kill" }]
  return isListening
    ? [
      { atMillis: 0, act: "abort" },
      { atMillis: grace / 2, act: "terminate" },
      { atMillis: grace, act: "kill" }
    ]
    : [{ atMillis: 0, act: "terminate" }, { atMillis: grace, act: "kill" }]
}
