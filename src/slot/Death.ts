/** Says for the running job that it takes the process down, while the process still can say so. */
import { Outcome } from "../domain/wire/Entries.ts"
import { encodeSlotDeath } from "../domain/wire/SlotDeath.ts"
import * as JobLoop from "./JobLoop.ts"
import * as Output from "./Output.ts"
import * as Stack from "./Stack.ts"

const stackOf = (thrown: unknown): string => {
  Stack.trim(thrown)
  try {
    return thrown instanceof Error && typeof thrown.stack === "string" ? thrown.stack : Stack.describe(thrown)
  } catch {
    return Stack.describe(thrown)
  }
}

const tell = (loop: JobLoop.JobLoop, reason: string, exitCode: number, lastStderr: string): void => {
  const result = encodeSlotDeath({ reason, exitCode, signal: null, lastStderr: lastStderr.slice(-4096) })
  JobLoop.finish(loop, Outcome.slotDied, result)
}

const onUncaught = (loop: JobLoop.JobLoop, error: unknown, origin: string): void => {
  const what = origin === "unhandledRejection" ? "unhandled rejection" : "uncaught exception"
  const stack = stackOf(error)
  const stray = loop.jobsRun > 0 ? " (possibly left behind by an earlier job of this slot)" : ""
  if (loop.current === null) Output.writeAll(2, Buffer.from(`${what} while no job ran: ${stack}\n`))
  else tell(loop, `${what}: ${Stack.describe(error)}${stray}`, 1, stack)
  process.exit(1)
}

/** From now on no exception and no `process.exit` goes unexplained. */
export const watch = (loop: JobLoop.JobLoop): void => {
  process.on("uncaughtException", (error, origin) => onUncaught(loop, error, origin))
  process.on("exit", (code) => {
    if (loop.current !== null) tell(loop, `process.exit(${code}) was called`, code, "")
  })
}
