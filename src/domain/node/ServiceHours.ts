/**
 * When a node is there for its clients, by the local clock, every day: from
 * `start` it takes jobs, from `stop` none that are new, at `end` it shuts down.
 * Times are minutes since midnight; the day of a node begins at its start, so
 * that 17:00 to 06:00 is one night.
 *
 * ```
 *      start              stop             end
 * ───────┼── open ──────────┼── closed ──────┼── (the node is gone)
 * ```
 */
import { DateTime, Result } from "effect"

/** Times of the day, in minutes since midnight. */
export interface ServiceHours {
  readonly start: number
  readonly stop: number | undefined
  readonly end: number | undefined
}

/** Minutes of a day that is as long as most. */
export const dayMinutes = 24 * 60

/** Minutes since midnight in "9:00" or "17:30". */
export const parseTime = (text: string): Result.Result<number, string> => {
  const [, hours, minutes] = /^(\d{1,2}):(\d{2})$/.exec(text.trim()) ?? []
  if (hours === undefined || Number(hours) > 23 || Number(minutes) > 59) {
    return Result.fail(`${JSON.stringify(text)} is not a time of the day; write hours and minutes, such as 17:30`)
  }
  return Result.succeed(Number(hours) * 60 + Number(minutes))
}

/** The time as people write it. */
export const formatTime = (minutes: number): string =>
  `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`

/** Minutes from one time of the day to the next other one. */
const distance = (from: number, to: number): number => (to - from + dayMinutes) % dayMinutes

/**
 * Hours from the times that were given; the start is now unless it was given. Nothing when none was. Fails with what
 * is wrong with them.
 */
export const make = (
  given: { readonly [K in keyof ServiceHours]: number | undefined },
  now: number
): Result.Result<ServiceHours | undefined, string> => {
  const { end, stop } = given
  if (stop === undefined && end === undefined) {
    return given.start === undefined
      ? Result.succeed(undefined)
      : Result.fail("--service-start needs --service-stop or --service-end: without one it would say nothing")
  }
  const start = given.start ?? now
  const said = given.start === undefined ? "now, " : "--service-start "
  for (const [name, time] of [["stop", stop], ["end", end]] as const) {
    if (time === start) {
      return Result.fail(`--service-${name} ${formatTime(time)} is ${said}${formatTime(start)}: that leaves no time`)
    }
  }
  if (stop !== undefined && end !== undefined && distance(start, end) < distance(start, stop)) {
    return Result.fail(
      `--service-end ${formatTime(end)} comes before --service-stop ${formatTime(stop)} on a day that begins at ` +
        formatTime(start)
    )
  }
  return Result.succeed({ start, stop, end })
}

/** Minutes since midnight on the local clock. */
export const minuteOf = (now: DateTime.Zoned): number => {
  const { hour, minute } = DateTime.toParts(now)
  return hour * 60 + minute
}

/** Whether the node takes jobs at this time of the day. */
export const isOpen = (hours: ServiceHours, minute: number): boolean =>
  distance(hours.start, minute) < distance(hours.start, hours.stop ?? hours.end!)

/** The next moment at which the node shuts down, if it ever does: after `now`, when the local clock says so. */
export const endAfter = (hours: ServiceHours, now: DateTime.Zoned): DateTime.Zoned | undefined => {
  const { end } = hours
  if (end === undefined) return undefined
  const today = DateTime.setParts(now, { hour: Math.floor(end / 60), minute: end % 60, second: 0, millisecond: 0 })
  if (DateTime.toEpochMillis(today) > DateTime.toEpochMillis(now)) return today
  const { day, month, year } = DateTime.toParts(DateTime.add(DateTime.startOf(now, "day"), { days: 1 }))
  return DateTime.setParts(now, {
    year,
    month,
    day,
    hour: Math.floor(end / 60),
    minute: end % 60,
    second: 0,
    millisecond: 0
  })
}

/** The hours in words, for people. */
export const describe = ({ end, start, stop }: ServiceHours): string =>
  [
    `takes jobs from ${formatTime(start)}`,
    ...(stop === undefined ? [] : [`no new ones from ${formatTime(stop)}`]),
    ...(end === undefined ? [] : [`ends at ${formatTime(end)}`])
  ].join(", ")
