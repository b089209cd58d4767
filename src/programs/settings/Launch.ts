/** Runs a program of the package: reads its command line, and turns how it ended into an exit status. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Console, Effect, Exit, Layer, Runtime } from "effect"
import { CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import { CannotStart } from "../../domain/NodeError.ts"
import { packageVersion } from "../../domain/Version.ts"
import * as Help from "./Help.ts"

/** Help and version as the library makes them; a wrong command line is one sentence, not the whole help. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation" || (event._tag === "Help" && event.reason === "Implicit")
      ? Effect.void
      : CliOutput.defaultPresenter.present(event)
}

/** What every program of the package has of the library: one-sentence errors, help, version, completions, this machine. */
export const services = Layer.mergeAll(
  NodeServices.layer,
  Layer.succeed(CliOutput.Presenter, presenter),
  Layer.succeed(CliConfig.CliConfig, { builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
)

/** What a program that failed says on stderr, and its exit status; nothing for a bug. */
const explain = (
  program: string,
  error: unknown
): { readonly text: string; readonly status: number } | undefined => {
  if (error instanceof CannotStart) return { text: error.message, status: error.status ?? 1 }
  if (!CliError.isCliError(error)) return undefined
  if (error._tag !== "ShowHelp") return { text: `${program}: ${error.message}`, status: 2 }
  const first = error.errors[0]
  if (first === undefined) return { text: "", status: 0 }
  return { text: `${program}: ${first.message.replaceAll(/\s*\n\s*/g, " ").trim()}; see ${program} --help`, status: 2 }
}

/** Runs it as this process. */
export const launch = <Name extends string, Input, E>(
  program: string,
  command: Command.Command<Name, Input, unknown, E>,
  groups: Help.Groups
): void => {
  const main = Command.run(command, { version: packageVersion, renderErrors: false }).pipe(
    Effect.provideService(CliOutput.Formatter, Help.formatter(groups)),
    Effect.provide(services),
    Effect.tapError((error) => {
      const explained = explain(program, error)
      return explained === undefined || explained.text === "" ? Effect.void : Console.error(explained.text)
    }),
    Effect.tapDefect((defect) => Console.error(`${program}: this is a bug`, defect))
  )
  const statusOf = (exit: Exit.Exit<unknown, unknown>): number =>
    Exit.isSuccess(exit) ? 0 : explain(program, Cause.squash(exit.cause))?.status ?? 1
  // Signals are the program's own matter (`Signals`), so not the runner that interrupts at the first one.
  Runtime.makeRunMain(({ fiber, teardown }) => {
    fiber.addObserver((exit) => teardown(exit, (status) => process.exit(status)))
  })(main, { disableErrorReporting: true, teardown: (exit, onExit) => onExit(statusOf(exit)) })
}
