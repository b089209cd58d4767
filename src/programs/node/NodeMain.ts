/** Runs `dispynode`: reads the command line, and turns how it ended into an exit status. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Console, Effect, Exit, Runtime } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import { packageVersion } from "../../domain/Version.ts"
import * as NodeHelp from "./NodeHelp.ts"
import * as NodeOptions from "./NodeOptions.ts"
import * as NodeProgram from "./NodeProgram.ts"

/** Help and version as the library makes them; a wrong command line is one sentence, not the whole help. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation" || (event._tag === "Help" && event.reason === "Implicit")
      ? Effect.void
      : CliOutput.defaultPresenter.present(event)
}

const main = Command.run(NodeOptions.command(process.env, NodeProgram.run), {
  version: packageVersion,
  renderErrors: false
}).pipe(
  Effect.provideService(CliOutput.Presenter, presenter),
  Effect.provideService(CliOutput.Formatter, NodeHelp.formatter()),
  Effect.provideService(CliConfig.CliConfig, {
    builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions]
  }),
  Effect.provide(NodeServices.layer),
  Effect.tapError((error) => {
    const explained = NodeProgram.explain(error)
    return explained === undefined || explained.text === "" ? Effect.void : Console.error(explained.text)
  }),
  Effect.tapDefect((defect) => Console.error("dispynode: this is a bug", defect))
)

const statusOf = (exit: Exit.Exit<unknown, unknown>): number =>
  Exit.isSuccess(exit) ? 0 : NodeProgram.explain(Cause.squash(exit.cause))?.status ?? 1

// Signals are the program's own matter (`NodeSignals`), so not the runner that interrupts at the first one.
Runtime.makeRunMain(({ fiber, teardown }) => {
  fiber.addObserver((exit) => teardown(exit, (status) => process.exit(status)))
})(main, { disableErrorReporting: true, teardown: (exit, onExit) => onExit(statusOf(exit)) })
