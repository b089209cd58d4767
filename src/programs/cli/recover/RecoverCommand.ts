/**
 * `dispy recover`: what became of the jobs of a program that died, a line of JSON for each on stdout as they come;
 * everything else is on stderr. A job counts as handed over when its line is written.
 */
import { Effect, Result, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import * as path from "node:path"
import type { RecoveryIncomplete } from "../../../domain/RecoverError.ts"
import * as RecoverJobs from "../../client/RecoverJobs.ts"
import * as SentenceLog from "../../client/SentenceLog.ts"
import * as CliExit from "../CliExit.ts"
import * as JobJson from "./JobJson.ts"
import * as RecoverFlags from "./RecoverFlags.ts"

/** Some jobs have no result. */
const failedStatus = 1

/** The time was over before everything was there, as GNU timeout says it. */
const timeoutStatus = 124

const flags = {
  file: RecoverFlags.file,
  timeout: RecoverFlags.optionalText(
    "timeout",
    "SECONDS",
    "How long to wait for jobs and nodes (default: as long as it takes); what is left can be had later"
  ),
  "terminate-pending": RecoverFlags.oneSwitch(
    "terminate-pending",
    "End the jobs that still run, and run none: when the timeout is over, or at once without one"
  ),
  "no-resume": RecoverFlags.oneSwitch(
    "no-resume",
    "Do not run the jobs that a durable program did not get to send: they stay in the file for another time"
  ),
  node: Flag.String("node").pipe(
    Flag.withMetavar("HOST[:PORT]"),
    Flag.withDescription("Where to run these jobs; may be given more than once (default: the program's nodes)"),
    Flag.atLeast(0)
  ),
  "files-directory": RecoverFlags.optionalText(
    "files-directory",
    "DIR",
    "Where files go that jobs sent (default this directory)"
  ),
  ...RecoverFlags.credentials
}

type Options = Command.Command.Config.Infer<typeof flags>

/** Succeeds when the reader's end has it. */
const print = (text: string): Effect.Effect<void, CliExit.ExitWith> =>
  Effect.callback<void, CliExit.ExitWith>((resume) => {
    process.stdout.write(`${text}\n`, (error) => {
      const isWritten = error === undefined || error === null
      resume(isWritten ? Effect.void : Effect.fail(new CliExit.ExitWith({ status: failedStatus })))
    })
  })

const counted = (count: number): string => `${count} job${count === 1 ? "" : "s"}`

/** A reader that is gone ends the command, with what it did not read still to be recovered. */
const ignoreClosedPipe = Effect.sync(() => process.stdout.on("error", () => {}))

const run = Effect.fnUntraced(function*(options: Options) {
  const timeout = RecoverFlags.timeoutOf(options.timeout)
  if (Result.isFailure(timeout)) return yield* CliExit.wrongUsage(timeout.failure)
  yield* ignoreClosedPipe
  let count = 0
  let failed = 0
  const incomplete = yield* RecoverJobs.recoverJobsStream(path.resolve(options.file), {
    timeout: timeout.success,
    terminatePending: options["terminate-pending"],
    resume: !options["no-resume"],
    nodes: options.node.length === 0 ? undefined : options.node,
    filesDirectory: RecoverFlags.pathOf(options["files-directory"]),
    ...RecoverFlags.credentialsOf(options)
  }).pipe(
    Stream.runForEach((job) => {
      count++
      if (job.status !== "Finished") failed++
      return print(JSON.stringify(JobJson.of(job)))
    }),
    Effect.as(undefined),
    Effect.catchTag("RecoveryIncomplete", (error) => Effect.succeed<RecoveryIncomplete | undefined>(error)),
    Effect.catchTags({
      RecoverFileFailed: RecoverFlags.unusable,
      ClientAlive: RecoverFlags.unusable,
      InvalidOption: RecoverFlags.unusable
    }),
    Effect.provide(SentenceLog.layer("warning"))
  )
  yield* RecoverFlags.say(`recovered ${counted(count)}${failed === 0 ? "" : `, ${failed} of them without a result`}`)
  if (incomplete !== undefined) {
    yield* RecoverFlags.say(incomplete.message)
    return yield* new CliExit.ExitWith({ status: options.timeout === "" ? failedStatus : timeoutStatus })
  }
  if (failed > 0) return yield* new CliExit.ExitWith({ status: failedStatus })
})

/** The command. */
export const command = Command.make("recover", flags, run).pipe(
  Command.withDescription("Gets the results of a program that died from its nodes, by its recover file"),
  Command.withExamples([
    { command: "dispy recover _dispy_20260131093000", description: "Waits for the jobs that still run" },
    {
      command: "dispy recover _dispy_20260131093000 --timeout 1h --terminate-pending",
      description: "Waits an hour, then ends what still runs"
    },
    {
      command: "dispy recover _dispy_20260131093000 --node alpha --node beta",
      description: "Runs what a durable program did not get to send on these nodes"
    }
  ])
)
