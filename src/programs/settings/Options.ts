/**
 * What programs with a configuration file have in common: their flags, the headings of their help, and how the command
 * line, the environment and the file come together.
 */
import { Result } from "effect"
import { Flag } from "effect/cli"
import * as path from "node:path"
import * as Setting from "./Setting.ts"
import * as Settings from "./Settings.ts"

const optionalText = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withDefault(""), Flag.withMetavar(metavar), Flag.withDescription(description))

/** The flags of a table, and those for the configuration file. */
export const flagsOf = <T extends object>(table: T) => ({
  ...Object.fromEntries(
    Object.entries(table).map(([name, setting]) => [name, Setting.flagOf(name, setting as Setting.Setting<unknown>)])
  ) as { readonly [K in keyof T]: Flag.Flag<ReadonlyArray<string>> },
  config: optionalText("config", "FILE", "Read options from this JSON file; the command line counts more"),
  "save-config": optionalText("save-config", "FILE", "Write all options to this file, and end")
})

/** Heading of the flags for the configuration file, with their names. */
export const configurationGroup = ["CONFIGURATION", ["config", "save-config"]] as const

/** The options of a table that are listed under a heading. */
export const namesIn = (table: object, group: string): ReadonlyArray<string> =>
  Object.entries(table).filter(([, setting]) => (setting as Setting.About).group === group).map(([name]) => name)

/** What a program was given, on the command line and around it. */
export interface Given<T> {
  readonly flags: Readonly<Record<keyof T, ReadonlyArray<string>>>
  /** The configuration file; empty for what the environment names, if that names one. */
  readonly config: string
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Paths as absolute ones: those from the configuration file are relative to that. */
const absolutePaths = <T extends object>(
  { origins, values }: Settings.Merged<T>,
  names: ReadonlyArray<keyof T>,
  file: Settings.ConfigFile | undefined
): Settings.Values<T> => {
  const absolute: Partial<Record<keyof T, string>> = {}
  for (const name of names) {
    const isFromFile = file !== undefined && origins[name].startsWith(`${file.path}: `)
    const value = values[name] as string
    if (value !== "") absolute[name] = path.resolve(isFromFile ? path.dirname(file.path) : ".", value)
  }
  return { ...values, ...absolute }
}

/**
 * The options as they count, or the first mistake in one sentence. `prefix` is that of environment variables, empty for
 * a program that heeds none; `paths` are the options that name a file or a directory.
 */
export const resolve = <T extends object>(
  table: T,
  { config: told, environment, flags }: Given<T>,
  { paths, prefix }: { readonly prefix: string; readonly paths: ReadonlyArray<keyof T> }
): Result.Result<Settings.Merged<T>, string> =>
  Result.gen(function*() {
    const variable = prefix === "" ? "" : environment[Settings.variableOf(prefix, "config")] ?? ""
    const config = told === "" ? variable : told
    const file = config === "" ? undefined : yield* Settings.read(config)
    const merged = yield* Settings.merge(table, { flags, environment, prefix, file })
    return { ...merged, values: absolutePaths(merged, paths, file) }
  })
