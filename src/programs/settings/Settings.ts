/**
 * All options of a program: what counts is the command line, then the environment,
 * then the configuration file, then the default. Configuration files are JSON:
 * numbers are numbers there and yes is not a text, everybody who writes TypeScript
 * can edit it, and no parser of our own is needed.
 */
import { Result } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Suggestion from "../../domain/Suggestion.ts"
import { messageOf } from "../../domain/Thrown.ts"
import type * as Setting from "./Setting.ts"

/** The options of a program by name. */
type AnyTable = Readonly<Record<string, Setting.Setting<unknown>>>

/** The values of a table's options. */
export type Values<T> = { readonly [K in keyof T]: T[K] extends Setting.Setting<infer A> ? A : never }

/** Where a program's options may come from. */
export interface Sources {
  /** By name: the texts that were given, in order. */
  readonly flags: Readonly<Record<string, ReadonlyArray<string>>>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Prefix of the variables; empty to ignore the environment. */
  readonly prefix: string
  readonly file: ConfigFile | undefined
}

/** A configuration file that was read. */
export interface ConfigFile {
  readonly path: string
  readonly values: Readonly<Record<string, unknown>>
}

/** Options with where each was said. */
export interface Merged<T> {
  readonly values: Values<T>
  /** "--cpus", "PREFIX_CPUS", "FILE: cpus". */
  readonly origins: { readonly [K in keyof T]: string }
}

/** Name of an option's variable. */
export const variableOf = (prefix: string, name: string): string => prefix + name.toUpperCase().replaceAll("-", "_")

const fromFlags = (setting: Setting.Setting<unknown>, given: ReadonlyArray<string>): Result.Result<unknown, string> =>
  setting.kind === "texts" ? Result.succeed(given) : setting.fromText(given.at(-1)!)

const valueOf = (
  name: string,
  setting: Setting.Setting<unknown>,
  { environment, file, flags, prefix }: Sources
): Result.Result<readonly [value: unknown, origin: string], string> => {
  const found = (origin: string, value: Result.Result<unknown, string>) =>
    Result.mapBoth(value, {
      onSuccess: (good) => [good, origin] as const,
      onFailure: (reason) => `${origin} ${reason}`
    })
  const given = flags[name] ?? []
  if (given.length > 0) return found(`--${name}`, fromFlags(setting, given))
  const variable = variableOf(prefix, name)
  const said = prefix === "" ? undefined : environment[variable]
  if (said !== undefined && said !== "") return found(variable, setting.fromText(said))
  const written = file?.values[name]
  if (file !== undefined && written !== undefined && written !== null) {
    return found(`${file.path}: ${name}`, setting.fromJson(written))
  }
  return Result.succeed([setting.byDefault, `--${name}`])
}

/** The options as they count, or the first mistake in one sentence that names where it is. */
export const merge = <T extends object>(table: T, sources: Sources): Result.Result<Merged<T>, string> => {
  const all = table as AnyTable
  const unknown = Object.keys(sources.file?.values ?? {}).find((name) => !Object.hasOwn(all, name))
  if (unknown !== undefined) return Result.fail(unknownKey(unknown, Object.keys(all), sources.file!.path))
  const values: Record<string, unknown> = {}
  const origins: Record<string, string> = {}
  for (const [name, setting] of Object.entries(all)) {
    const found = valueOf(name, setting, sources)
    if (Result.isFailure(found)) return Result.fail(found.failure)
    ;[values[name], origins[name]] = found.success
  }
  return Result.succeed({ values, origins } as unknown as Merged<T>)
}

const unknownKey = (name: string, known: ReadonlyArray<string>, file: string): string => {
  const meant = Suggestion.nearest(name.replaceAll("_", "-"), known)
  const hint = meant === undefined ? `; options are ${known.join(", ")}` : `; did you mean ${meant}?`
  return `${file}: there is no option ${JSON.stringify(name)}${hint}`
}

/** Reads a configuration file; what is in it is checked by `merge`. */
export const read = (file: string): Result.Result<ConfigFile, string> => {
  const content = Result.try({
    try: () => fs.readFileSync(file, "utf8"),
    catch: (error) => `${file} cannot be read: ${messageOf(error)}`
  })
  const parsed = Result.flatMap(content, (json) =>
    Result.try({
      try: (): unknown => JSON.parse(json),
      catch: (error) => `${file} is not JSON: ${messageOf(error)}`
    }))
  return Result.flatMap(parsed, (values) =>
    typeof values === "object" && values !== null && !Array.isArray(values)
      ? Result.succeed({ path: file, values: values as Readonly<Record<string, unknown>> })
      : Result.fail(`${file} has no options: it must be an object, such as {"cpus": 4}`))
}

/** Writes all options to a file that only its owner can read: some of them may be secrets one day. */
export const save = <T extends object>(table: T, values: Values<T>, file: string): Result.Result<void, string> => {
  const json = Object.fromEntries(
    Object.entries(table as AnyTable).map(([name, setting]) => [
      name,
      setting.toJson((values as Readonly<Record<string, unknown>>)[name])
    ])
  )
  const target = path.resolve(file)
  const temporary = `${target}.${process.pid}`
  return Result.try({
    try: () => {
      fs.writeFileSync(temporary, `${JSON.stringify(json, undefined, 2)}\n`, { mode: 0o600 })
      fs.renameSync(temporary, target)
    },
    catch: (error) => {
      fs.rmSync(temporary, { force: true })
      return `${file} cannot be written: ${messageOf(error)}`
    }
  })
}
