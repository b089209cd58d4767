/** What the commands about recover files have in common: their flags, and how they say that a file is of no use. */
import { Console, Duration, Effect, Result } from "effect"
import { Argument, Flag } from "effect/cli"
import * as path from "node:path"
import * as Setting from "../../settings/Setting.ts"
import * as CliExit from "../CliExit.ts"

/** A file that is none, or options that cannot be. */
const unusableStatus = 2

/** A flag with a text; "" for none. */
export const optionalText = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withDefault(""), Flag.withMetavar(metavar), Flag.withDescription(description))

/** A flag that is there or not. */
export const oneSwitch = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDefault(false), Flag.withoutNegation, Flag.withDescription(description))

/** The recover file. */
export const file = Argument.String("file").pipe(
  Argument.withMetavar("FILE"),
  Argument.withDescription(
    "The recover file of the program: _dispy_YYYYMMDDHHMMSS in its directory, or its recoverFile"
  )
)

/** What lets this program in at the nodes. */
export const credentials = {
  "secret-file": optionalText("secret-file", "FILE", "The secret (default: the file that the program had it from)"),
  certfile: optionalText("certfile", "FILE", "The client's certificate (the same)"),
  keyfile: optionalText("keyfile", "FILE", "Its key, if it is in another file (the same)"),
  cafile: optionalText("cafile", "FILE", "The authority's certificate (the same)")
}

/** A path, absolute; undefined for none. */
export const pathOf = (text: string): string | undefined => text === "" ? undefined : path.resolve(text)

/** These flags as options. */
export const credentialsOf = (options: Readonly<Record<keyof typeof credentials, string>>) => ({
  secretFile: pathOf(options["secret-file"]),
  certfile: pathOf(options.certfile),
  keyfile: pathOf(options.keyfile),
  cafile: pathOf(options.cafile)
})

/** A time in seconds; undefined for none. */
export const timeoutOf = (text: string): Result.Result<Duration.Duration | undefined, string> =>
  text === "" ? Result.succeed(undefined) : Result.mapBoth(Setting.parseSeconds(text), {
    onSuccess: (seconds) => Duration.seconds(seconds),
    onFailure: (reason) => `--timeout ${reason}`
  })

/** A sentence on stderr. */
export const say = (sentence: string): Effect.Effect<void> => Console.error(`dispy: ${sentence}`)

/** Ends the command because of its file or its options. */
export const unusable = (error: { readonly message: string }): Effect.Effect<never, CliExit.ExitWith> =>
  Effect.andThen(say(error.message), new CliExit.ExitWith({ status: unusableStatus }))
