/** What dispy has to say to people: sentences on stderr. */
import { Cause, Layer, Logger, References, Result } from "effect"
import { InvalidOption } from "../../domain/ClusterError.ts"

const levels = { debug: "Debug", info: "Info", warning: "Warn", error: "Error", none: "None" } as const

/** Least serious messages that go to stderr. */
export type LogLevel = keyof typeof levels

/** A sentence per line: who has set up no logging wants to know what is wrong, not when. */
const sentences = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
  const words = (Array.isArray(message) ? message : [message]).map(String).join(" ")
  const why = cause.reasons.length === 0 ? "" : `: ${Cause.pretty(cause)}`
  process.stderr.write(`dispy: ${logLevel === "Warn" ? "" : `${logLevel.toLowerCase()}: `}${words}${why}\n`)
})

/** Writes messages from this level on to stderr. */
export const layer = (level: LogLevel): Layer.Layer<never> =>
  Layer.mergeAll(Logger.layer([sentences]), Layer.succeed(References.MinimumLogLevel, levels[level]))

/** Checks a level. */
export const check = (level: LogLevel): Result.Result<LogLevel, InvalidOption> => {
  if (Object.hasOwn(levels, level)) return Result.succeed(level)
  const reason = `${JSON.stringify(level)} is not a level; the levels are ${Object.keys(levels).join(", ")}`
  return Result.fail(new InvalidOption({ option: "logLevel", reason }))
}
