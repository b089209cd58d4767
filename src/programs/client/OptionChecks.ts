/** Checks of single options that turn a mistake into a sentence. */
import { Duration, Result } from "effect"
import { InvalidOption } from "../../domain/ClusterError.ts"
import { nearest } from "../../domain/Suggestion.ts"

/** The largest timeout that fits the protocol, about 49 days. */
const maxMillis = 0xffffffff

/** A mistake in an option. */
export const fail = (option: string, reason: string) => Result.fail(new InvalidOption({ option, reason }))

/** A duration in whole milliseconds, rounded up; 0 for "infinity". */
export const millisOf = (
  option: string,
  input: Duration.Input
): Result.Result<number, InvalidOption> => {
  const duration = Duration.fromInput(input)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : Number.NaN
  if (Number.isNaN(millis) || millis < 0) {
    return fail(option, `${JSON.stringify(input)} is not a duration; write "5 seconds", or a number of milliseconds`)
  }
  if (millis === Infinity) return Result.succeed(0)
  if (millis > maxMillis) return fail(option, `${millis} ms is more than the longest possible, 49 days`)
  return Result.succeed(Math.ceil(millis))
}

/** Dispy writes seconds, JavaScript milliseconds: the range tells them apart. */
export const intervalOf = (
  option: string,
  input: Duration.Input | undefined,
  { least, leastText }: { readonly least: number; readonly leastText: string }
): Result.Result<number | undefined, InvalidOption> =>
  input === undefined ? Result.succeed(undefined) : Result.flatMap(millisOf(option, input), (millis) => {
    if (millis >= least && millis <= 1_000_000) return Result.succeed(millis)
    const hint = typeof input === "number" && input > 0 && input <= 1000
      ? `; did you mean "${input} second${input === 1 ? "" : "s"}"?`
      : `; it is from ${leastText} to 1000 seconds`
    return fail(option, `${JSON.stringify(input)} is ${millis} ms${hint}`)
  })

/** One text or several, each of which is right. */
export const textsOf = (
  option: string,
  value: string | ReadonlyArray<string> | undefined,
  isRight: (text: string) => boolean,
  what: string
): Result.Result<ReadonlyArray<string>, InvalidOption> => {
  const texts: ReadonlyArray<unknown> = value === undefined ? [] : typeof value === "string" ? [value] : value
  if (!Array.isArray(texts)) return fail(option, "it is an address, or a list of them")
  const wrong: unknown = texts.find((text) => typeof text !== "string" || !isRight(text))
  return wrong === undefined
    ? Result.succeed(texts as ReadonlyArray<string>)
    : fail(option, `${JSON.stringify(wrong)} is not ${what}`)
}

/** A whole number in a range. */
export const integer = (
  option: string,
  value: number | undefined,
  byDefault: number,
  [least, most]: readonly [number, number]
): Result.Result<number, InvalidOption> => {
  if (value === undefined) return Result.succeed(byDefault)
  return Number.isInteger(value) && value >= least && value <= most
    ? Result.succeed(value)
    : fail(option, `${String(value)} is not a whole number from ${least} to ${most}`)
}

/** A value of this JavaScript type, or none. */
export const typed = <A>(
  option: string,
  value: A | undefined,
  type: "string" | "boolean" | "function"
): Result.Result<A | undefined, InvalidOption> =>
  value === undefined || typeof value === type
    ? Result.succeed(value)
    : fail(option, `${JSON.stringify(value) ?? String(value)} is not a ${type}`)

/** A copy of a list. */
export const listed = (
  option: string,
  value: ReadonlyArray<unknown> | undefined
): Result.Result<ReadonlyArray<unknown>, InvalidOption> =>
  value === undefined || Array.isArray(value) ? Result.succeed([...value ?? []]) : fail(option, "it is a list")

/** Refuses options that there are not. */
export const checkNames = (
  options: object,
  names: ReadonlySet<string>,
  whose: string
): Result.Result<void, InvalidOption> => {
  const unknown = Object.keys(options).find((option) => !names.has(option))
  if (unknown === undefined) return Result.void
  const meant = nearest(unknown, [...names])
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`
  return fail(unknown, `there is no such option${hint}; the options of ${whose} are ${[...names].join(", ")}`)
}
