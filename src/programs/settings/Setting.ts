/**
 * One option of a program: how it is written on the command line, in the
 * environment and in a configuration file, and what is wrong with it. Each kind of
 * value has one checker, whoever wrote the value and wherever.
 */
import { Result } from "effect"
import { Flag } from "effect/cli"
import * as ServiceHours from "../../domain/node/ServiceHours.ts"

/** What people read of an option. */
export interface About {
  readonly alias?: string
  readonly metavar?: string
  /** A sentence without a full stop. */
  readonly about: string
  /** Heading that it is listed under. */
  readonly group: string
}

/** An option whose value is an `A`. */
export interface Setting<A> extends About {
  readonly kind: "text" | "texts" | "switch"
  readonly byDefault: A
  /** From the command line or the environment; a failure says what it should be. */
  readonly fromText: (text: string) => Result.Result<A, string>
  /** From a configuration file. */
  readonly fromJson: (value: unknown) => Result.Result<A, string>
  /** For a configuration file; null for what is not set. */
  readonly toJson: (value: A) => unknown
}

const shown = (value: unknown): string => JSON.stringify(value) ?? String(value)

const wrong = (value: unknown, what: string): Result.Result<never, string> =>
  Result.fail(`${shown(value)} is not ${what}`)

/** A whole number. */
export const whole = (
  options: About & {
    readonly byDefault: number
    /** Like "a port". */
    readonly what: string
    readonly least: number
    readonly most: number
    /** Which ones there are, when a number is not one of them. */
    readonly hint: string
  }
): Setting<number> => {
  const ranged = (value: number): Result.Result<number, string> =>
    value >= options.least && value <= options.most
      ? Result.succeed(value)
      : Result.fail(`${value} is not ${options.what}; ${options.hint}`)
  return {
    ...options,
    kind: "text",
    fromText: (text) => /^[-+]?\d{1,15}$/.test(text.trim()) ? ranged(Number(text)) : wrong(text, "a whole number"),
    fromJson: (value) => Number.isSafeInteger(value) ? ranged(value as number) : wrong(value, "a whole number"),
    toJson: (value) => value
  }
}

/** Any text; empty for none. */
export const text = (options: About): Setting<string> => ({
  ...options,
  kind: "text",
  byDefault: "",
  fromText: Result.succeed,
  fromJson: (value) => typeof value === "string" ? Result.succeed(value) : wrong(value, "a text"),
  toJson: (value) => value === "" ? null : value
})

/** A list of texts: the option is repeated, the variable has commas, the file a list. */
export const texts = (options: About): Setting<ReadonlyArray<string>> => ({
  ...options,
  kind: "texts",
  byDefault: [],
  fromText: (value) => Result.succeed(value.split(",").map((one) => one.trim()).filter((one) => one !== "")),
  fromJson: (value) => {
    const list = typeof value === "string" ? [value] : value
    return Array.isArray(list) && list.every((one) => typeof one === "string")
      ? Result.succeed(list)
      : wrong(value, "a list of texts")
  },
  toJson: (value) => value.length === 0 ? null : value
})

const words: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false
}

/** Yes or no; no unless it is said. */
export const onOff = (options: About): Setting<boolean> => ({
  ...options,
  kind: "switch",
  byDefault: false,
  fromText: (value) => {
    const found = words[value.trim().toLowerCase()]
    return found === undefined ? Result.fail(`${shown(value)} is neither true nor false`) : Result.succeed(found)
  },
  fromJson: (value) =>
    typeof value === "boolean" ? Result.succeed(value) : Result.fail(`${shown(value)} is neither true nor false`),
  toJson: (value) => value
})

const unitSeconds: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 }

/** Longest span that a timer can be set to. */
const mostSeconds = 2_000_000

const shownUnits = { s: "seconds", m: "minutes", d: "days" } as const

/** Unit of a number that is said without one. */
type Unit = keyof typeof shownUnits

const spanOf = (count: number, unit: Unit): string =>
  `${count} ${count === 1 ? shownUnits[unit].slice(0, -1) : shownUnits[unit]}`

const parseSpan = (value: string, unit: Unit, most: number): Result.Result<number, string> => {
  const [, number, suffix = ""] = /^\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*([a-z]*)\s*$/i.exec(value) ?? []
  const factor = number === undefined ? undefined : unitSeconds[suffix.toLowerCase() || unit]
  if (factor === undefined) {
    return Result.fail(
      `${shown(value)} is not a time span; write ${shownUnits[unit]}, or a number with a unit: 500ms, 2s, 3m, 1h${
        unit === "d" ? ", 7d" : ""
      }`
    )
  }
  const seconds = Number(number) * factor
  if (seconds < 0) return Result.fail(`${shown(value)} is less than no time`)
  return seconds > most
    ? Result.fail(`${shown(value)} is longer than ${most} seconds, the longest there is`)
    : Result.succeed(Math.round(seconds * 1000) / 1000)
}

/** Seconds in "5", "0.5", "500ms", "2s", "3m", "1h". */
export const parseSeconds = (value: string): Result.Result<number, string> => parseSpan(value, "s", mostSeconds)

const spanned = (
  unit: Unit,
  options: About & { readonly byDefault: number },
  parse: (value: string) => Result.Result<number, string>
): Setting<number> => ({
  ...options,
  byDefault: options.byDefault * unitSeconds[unit]!,
  kind: "text",
  fromText: parse,
  fromJson: (value) =>
    typeof value === "string" || typeof value === "number"
      ? parse(String(value))
      : wrong(value, `a time span: a number of ${shownUnits[unit]}, or a text such as "500ms"`),
  toJson: (value) => value / unitSeconds[unit]!
})

/** A span of time, in seconds. */
export const seconds = (options: About & { readonly byDefault: number; readonly least?: number }): Setting<number> =>
  spanned("s", options, (value) =>
    Result.flatMap(parseSeconds(value), (parsed) =>
      parsed >= (options.least ?? 0)
        ? Result.succeed(parsed)
        : Result.fail(`${parsed} is too short: at least ${options.least} seconds`)))

/** Longest span that is compared with clocks instead of set to a timer: about a century. */
const mostSpan = 3_000_000_000

/** A span of time said in this unit, in seconds; 0 for any. */
export const span = (
  unit: Unit,
  options: About & { readonly byDefault: number; readonly least?: number }
): Setting<number> =>
  spanned(
    unit,
    options,
    (value) =>
      Result.flatMap(parseSpan(value, unit, mostSpan), (parsed) =>
        parsed === 0 || parsed >= (options.least ?? 0) * unitSeconds[unit]!
          ? Result.succeed(parsed)
          : Result.fail(`${shown(value)} is too short: at least ${spanOf(options.least ?? 0, unit)}, or 0`))
  )

const sizeUnits = ["", "k", "m", "g", "t"]

/** Bytes in "1000", "10k", "1.5M", "2G", "1T"; the units are powers of 1024. */
export const parseSize = (value: string): Result.Result<number, string> => {
  const [, number, unit = ""] = /^\s*(\d{1,15}(?:\.\d+)?)\s*([kmgt]?)\s*$/i.exec(value) ?? []
  const bytes = Math.floor(Number(number) * 1024 ** sizeUnits.indexOf(unit.toLowerCase()))
  return Number.isSafeInteger(bytes)
    ? Result.succeed(bytes)
    : Result.fail(`${shown(value)} is not a size; write bytes, or 10k, 20M, 2G, 1T, or 0 for any`)
}

/** A number of bytes; 0 for any. */
export const size = (options: About): Setting<number> => ({
  ...options,
  kind: "text",
  byDefault: 0,
  fromText: parseSize,
  fromJson: (value) =>
    typeof value === "string" || typeof value === "number" ? parseSize(String(value)) : wrong(value, "a size"),
  toJson: (value) => value
})

/** A time of the day, in minutes since midnight. */
export const timeOfDay = (options: About): Setting<number | undefined> => ({
  ...options,
  kind: "text",
  byDefault: undefined,
  fromText: ServiceHours.parseTime,
  fromJson: (value) =>
    typeof value === "string" ? ServiceHours.parseTime(value) : wrong(value, "a time of the day such as \"17:30\""),
  toJson: (value) => value === undefined ? null : ServiceHours.formatTime(value)
})

/** What is common to all flags. */
const described = <A>(flag: Flag.Flag<A>, { about, alias, metavar }: About): Flag.Flag<A> => {
  const named = alias === undefined ? flag : Flag.withAlias(flag, alias)
  return (metavar === undefined ? named : Flag.withMetavar(named, metavar)).pipe(Flag.withDescription(about))
}

/** The flag of an option: the texts that were given, in order. */
export const flagOf = (name: string, setting: Setting<unknown>): Flag.Flag<ReadonlyArray<string>> =>
  setting.kind === "switch"
    ? Flag.map(Flag.atLeast(described(Flag.Boolean(name), setting), 0), (given) => given.map(String))
    : Flag.atLeast(described(Flag.String(name), setting), 0)
