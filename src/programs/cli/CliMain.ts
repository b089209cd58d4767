/** Runs `dispy`: reads the command line, and turns how it ended into an exit status. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Cause, Console, Effect, Exit } from "effect"
import { Command } from "effect/cli"
import { packageVersion } from "../../domain/Version.ts"
import * as Launch from "../settings/Launch.ts"
import * as CliExit from "./CliExit.ts"
import * as DoctorCommand from "./doctor/DoctorCommand.ts"
import * as KeysCommand from "./keys/KeysCommand.ts"
import * as ExplainCommand from "./recover/ExplainCommand.ts"
import * as RecoverCommand from "./recover/RecoverCommand.ts"

const dispy = Command.make("dispy").pipe(
  Command.withDescription("Distributed jobs: tools around clusters and nodes"),
  Command.withSubcommands([
    DoctorCommand.make(process.env),
    ExplainCommand.command,
    KeysCommand.command,
    RecoverCommand.command
  ])
)

const main = Command.run(dispy, { version: packageVersion, renderErrors: false }).pipe(
  Effect.provide(Launch.services),
  Effect.tapError((error) => {
    const { text } = CliExit.explain(error)
    return text === "" ? Effect.void : Console.error(text)
  }),
  Effect.tapDefect((defect) => Console.error("dispy: this is a bug", defect))
)

const statusOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return CliExit.interruptedStatus
  return CliExit.explain(Cause.squash(exit.cause)).status
}

NodeRuntime.runMain(main, { disableErrorReporting: true, teardown: (exit, onExit) => onExit(statusOf(exit)) })
