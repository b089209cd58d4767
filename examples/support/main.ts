/**
 * How the examples start and end: Ctrl-C ends them at once and without a stack trace, a wrong command line gets the
 * usage, an error that is the user's to solve one sentence.
 */

/** The command line is not what it should be: the usage helps. */
export class UsageError extends Error {
  override readonly name = "UsageError"
}

/** Something outside of the program is not as it should be: one sentence helps. */
export class Problem extends Error {
  override readonly name = "Problem"
}

/** What went wrong outside of the program has a code or a tag, and a message made for people. */
const isExpected = (error: unknown): error is Error =>
  error instanceof Problem || (error instanceof Error && ("code" in error || "_tag" in error))

const isUsage = (error: unknown): error is Error =>
  error instanceof UsageError || (error instanceof Error && String(Reflect.get(error, "code")).startsWith("ERR_PARSE"))

/** After Ctrl-C, jobs and nodes get so long to end. A second Ctrl-C waits for nothing. */
const leaveMillis = 3000

/** Runs a program that stops when the signal aborts; its result is the exit status, 2 when it got into trouble. */
export const main = async (usage: string, run: (signal: AbortSignal) => Promise<number>): Promise<void> => {
  const interrupt = new AbortController()
  process.once("SIGINT", () => {
    process.exitCode = 130
    interrupt.abort()
    setTimeout(() => process.exit(130), leaveMillis).unref()
  })
  // Whoever read the output has gone (`| head -1`): that is no reason to stop working.
  process.stdout.on("error", () => {})
  const name = usage.replace(/^node /, "").split(" ")[0]!
  try {
    process.exitCode = await run(interrupt.signal)
  } catch (error) {
    if (interrupt.signal.aborted) {
      process.stderr.write("interrupted\n")
    } else if (isUsage(error)) {
      process.exitCode = 2
      process.stderr.write(`${name}: ${error.message}\nusage: ${usage}\n`)
    } else if (isExpected(error)) {
      process.exitCode = 2
      process.stderr.write(`${name}: ${error.message}\n`)
    } else {
      throw error
    }
  }
}
