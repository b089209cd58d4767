/** Log of a daemon: one line per entry on stderr, with colours on a terminal. */
import { Cause, Layer, Logger, References } from "effect"

const levels: Record<string, readonly [name: string, colour: number]> = {
  Trace: ["trace", 90],
  Debug: ["debug", 90],
  Info: ["info ", 32],
  Warn: ["warn ", 33],
  Error: ["error", 31],
  Fatal: ["fatal", 31]
}

const text = (value: unknown): string =>
  typeof value === "string" ? value : value instanceof Error ? value.message : JSON.stringify(value) ?? String(value)

const quoted = (value: unknown): string => {
  const plain = text(value)
  return /^[^\s"=]+$/.test(plain) ? plain : JSON.stringify(plain)
}

const logger = (colours: boolean) =>
  Logger.make<unknown, void>(({ cause, date, fiber, logLevel, message }) => {
    const [name, colour] = levels[logLevel] ?? ["     ", 0]
    const words = (Array.isArray(message) ? message : [message]).map(text).join(" ")
    const fields = Object.entries(fiber.getRef(References.CurrentLogAnnotations))
      .map(([key, value]) => ` ${key}=${quoted(value)}`).join("")
    const why = cause.reasons.length === 0 ? "" : ` cause=${quoted(Cause.pretty(cause).replaceAll(/\s*\n\s*/g, " | "))}`
    const level = colours ? `\u001b[${colour}m${name}\u001b[0m` : name
    process.stderr.write(`${date.toISOString()} ${level} ${words}${fields}${why}\n`)
  })

/** Logs to stderr, from this level on. */
export const layer = (level: "Debug" | "Info" | "Warn"): Layer.Layer<never> =>
  Layer.merge(
    Logger.layer([logger(process.stderr.isTTY && process.env["NO_COLOR"] === undefined)]),
    Layer.succeed(References.MinimumLogLevel, level)
  )
