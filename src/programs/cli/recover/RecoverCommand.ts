/**
 * `dispy recover`: what became of the jobs of a program that died, a line of JSON for each on stdout as they come;
 * everything else is on stderr. A job counts as handed over when its line is written.
 */
import { Console, Duration, Effect, Result, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as path from "node:path"
import type { RecoveryIncomplete } from "../../../domain/RecoverError.ts"
import * as RecoverJobs from "../../client/RecoverJobs.ts"
import * as SentenceLog from "../../client/SentenceLog.ts"
import * as Setting from "../../settings/Setting.ts"
import * as CliExit from "../CliExit.ts"
import * as JobJson from "./JobJson.ts"

/** Some jobs have no result. */
const failedStatus = 1

/** A file that is none, or options that cannot be. */
const unusableStatus = 2

/** The time was over before everything was there, as GNU timeout says it. */
const timeoutStatus = 124

const optionalText = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withDefault(""), Flag.withMetavar(metavar), Flag.withDescription(description))

const oneSwitch = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDefault(false), Flag.withoutNegation, Flag.withDescription(description))

const flags = {
  file: Argument.String("file").pipe(
    Argument.withMetavar("FILE"),
    Argument.withDescription(
      "The recover file of the program: _dispy_YYYYMMDDHHMMSS in its directory, or its recoverFile"
    )
  ),
  timeout: optionalText(
    "timeout",
    "SECONDS",
    "How long to wait for jobs and nodes (default: as long as it takes); what is left can be had later"
  ),
  "terminate-pending": oneSwitch(
    "terminate-pending",
    "End the jobs that still run: when the timeout is over, or at once without one"
  ),
  "files-directory": optionalText("files-directory", "DIR", "Where files go that jobs sent (default this directory)"),
  "secret-file": optionalText("secret-file", "FILE", "The secret (default: the file that the program had it from)"),
  certfile: optionalText("certfile", "FILE", "The client's certificate (the same)"),
  keyfile: optionalText("keyfile", "FILE", "Its key, if it is in another file (the same)"),
  cafile: optionalText("cafile", "FILE", "The authority's certificate (the same)")
}

type Options = Command.Command.Config.Infer<typeof flags>

const fileOf = (text: string): string | undefined => text === "" ? undefined : path.resolve(text)

const timeoutOf = (text: string): Result.Result<Duration.Duration | undefined, string> =>
  text === "" ? Result.succeed(undefined) : Result.mapBoth(Setting.parseSeconds(text), {
    onSuccess: (seconds) => Duration.seconds(seconds),
    onFailure: (reason) => `--timeout ${reason}`
  })

/** Succeeds when the reader's end has it. */
const print = (text: string): Effect.Effect<void, CliExit.ExitWith> =>
  Effect.callback<void, CliExit.ExitWith>((resume) => {
    process.stdout.write(`${text}\n`, (error) => {
      const isWritten = error === undefined || error === null
      resume(isWritten ? Effect.void : Effect.fail(new CliExit.ExitWith({ status: failedStatus })))
    })
  })

const say = (sentence: string): Effect.Effect<void> => Console.error(`dispy: ${sentence}`)

const counted = (count: number): string => `${count} job${count === 1 ? "" : "s"}`

/** A reader that is gone ends the command, with what it did not read still to be recovered. */
const ignoreClosedPipe = Effect.sync(() => process.stdout.on("error", () => {}))

const run = Effect.fnUntraced(function*(options: Options) {
  const timeout = timeoutOf(options.timeout)
  if (Result.isFailure(timeout)) return yield* CliExit.wrongUsage(timeout.failure)
  yield* ignoreClosedPipe
  let count = 0
  let failed = 0
  const incomplete = yield* RecoverJobs.recoverJobsStream(path.resolve(options.file), {
    timeout: timeout.success,
    terminatePending: options["terminate-pending"],
    filesDirectory: fileOf(options["files-directory"]),
    secretFile: fileOf(options["secret-file"]),
    certfile: fileOf(options.certfile),
    keyfile: fileOf(options.keyfile),
    cafile: fileOf(options.cafile)
  }).pipe(
    Stream.runForEach((job) => {
      count++
      if (job.status !== "Finished") failed++
      return print(JSON.stringify(JobJson.of(job)))
    }),
    Effect.as(undefined),
    Effect.catchTag("RecoveryIncomplete", (error) => Effect.succeed<RecoveryIncomplete | undefined>(error)),
    Effect.catchTags({
      RecoverFileFailed: unusable,
      ClientAlive: unusable,
      InvalidOption: unusable
    }),
    Effect.provide(SentenceLog.layer("warning"))
  )
  yield* say(`recovered ${counted(count)}${failed === 0 ? "" : `, ${failed} of them without a result`}`)
  if (incomplete !== undefined) {
    yield* say(incomplete.message)
    return yield* new CliExit.ExitWith({ status: options.timeout === "" ? failedStatus : timeoutStatus })
  }
  if (failed > 0) return yield* new CliExit.ExitWith({ status: failedStatus })
})

const unusable = (error: { readonly message: string }): Effect.Effect<never, CliExit.ExitWith> =>
  Effect.andThen(say(error.message), new CliExit.ExitWith({ status: unusableStatus }))

/** The command. */
export const command = Command.make("recover", flags, run).pipe(
  Command.withDescription("Gets the results of a program that died from its nodes, by its recover file"),
  Command.withExamples([
    { command: "dispy recover _dispy_20260131093000", description: "Waits for the jobs that still run" },
    {
      command: "dispy recover _dispy_20260131093000 --timeout 1h --terminate-pending",
      description: "Waits an hour, then ends what still runs"
    }
  ])
)
