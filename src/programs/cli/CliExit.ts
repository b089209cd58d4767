/** How commands of `dispy` end: what is said on stderr, and the exit status. */
import { Schema } from "effect"
import { CliError } from "effect/cli"

/** After Ctrl-C. */
export const interruptedStatus = 130

/** A wrong command line. */
const usageStatus = 2

/** A command that said all there is to say ends with this status. */
export class ExitWith extends Schema.TaggedError<ExitWith>()("ExitWith", {
  status: Schema.Number
}) {
  override get message(): string {
    return `the command ended with status ${this.status}`
  }
}

/** A wrong use of options that the parser of the command line cannot see. */
export const wrongUsage = (message: string): CliError.ValidationError => new CliError.ValidationError({ message })

const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, " ").trim()

/** What a command that failed says, empty for nothing, and its exit status. */
export const explain = (error: unknown): { readonly text: string; readonly status: number } => {
  if (error instanceof ExitWith) return { text: "", status: error.status }
  if (!CliError.isCliError(error)) {
    return { text: error instanceof Error ? `dispy: ${oneLine(error.message)}` : "", status: 1 }
  }
  if (error._tag !== "ShowHelp") return { text: `dispy: ${oneLine(error.message)}`, status: usageStatus }
  const command = error.commandPath.length === 0 ? "dispy" : error.commandPath.join(" ")
  const [first] = error.errors
  const reason = first === undefined ? `${command} is not a command without one of its subcommands` : first.message
  return { text: `dispy: ${oneLine(reason)}; see ${command} --help`, status: usageStatus }
}
