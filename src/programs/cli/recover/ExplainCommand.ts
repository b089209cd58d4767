/**
 * `dispy explain`: where the jobs of a program are, by its recover file and by what its nodes say, whether it runs or
 * has died. Nothing is taken, forgotten or run.
 */
import { Console, Duration, Effect, Option, Result } from "effect"
import { Argument, Command } from "effect/cli"
import * as path from "node:path"
import * as ExplainFile from "../../client/ExplainFile.ts"
import * as CliExit from "../CliExit.ts"
import * as RecoverFlags from "./RecoverFlags.ts"

/** There is no such job. */
const unknownStatus = 1

/** How long nodes have to tell what they keep. */
const defaultTimeout = Duration.seconds(2)

const flags = {
  file: RecoverFlags.file,
  job: Argument.Int("job").pipe(
    Argument.withMetavar("JOB"),
    Argument.withDescription("Number of a job (default: all that have not been handed over)"),
    Argument.optional
  ),
  timeout: RecoverFlags.optionalText("timeout", "SECONDS", "How long nodes have to answer (default 2)"),
  ...RecoverFlags.credentials,
  json: RecoverFlags.oneSwitch("json", "Print it as JSON")
}

const run = Effect.fnUntraced(function*(options: Command.Command.Config.Infer<typeof flags>) {
  const timeout = RecoverFlags.timeoutOf(options.timeout)
  if (Result.isFailure(timeout)) return yield* CliExit.wrongUsage(timeout.failure)
  const explained = yield* ExplainFile.explain(path.resolve(options.file), {
    job: Option.getOrUndefined(options.job),
    timeout: timeout.success ?? defaultTimeout,
    ...RecoverFlags.credentialsOf(options)
  }).pipe(Effect.catchTags({ RecoverFileFailed: RecoverFlags.unusable, InvalidOption: RecoverFlags.unusable }))
  yield* Console.log(options.json ? JSON.stringify(explained, undefined, 2) : ExplainFile.format(explained))
  if (Option.isSome(options.job) && explained.jobs.length === 0) {
    yield* RecoverFlags.say(`neither the file nor a node that answered knows of a job ${options.job.value}`)
    return yield* new CliExit.ExitWith({ status: unknownStatus })
  }
})

/** The command. */
export const command = Command.make("explain", flags, run).pipe(
  Command.withDescription("Says where the jobs of a program are, by its recover file and by what its nodes keep"),
  Command.withExamples([
    { command: "dispy explain _dispy_20260131093000", description: "All jobs that have not been handed over" },
    { command: "dispy explain _dispy_20260131093000 17 --json", description: "What is known of job 17, as JSON" }
  ])
)
