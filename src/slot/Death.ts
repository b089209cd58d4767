/** Says for the running jobs that one of them takes the slot down, while the slot still can say so. */
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

/** What a job is told that may not have been the one. */
const suspicion = (loop: JobLoop.JobLoop, guilty: JobLoop.RunningJob | null): string => {
  const where = `in the same ${loop.told.executor}`
  return guilty === null
    ? ` by one of the ${loop.active} jobs that ran ${where}`
    : ` by job ${guilty.jobId}, which ran ${where}`
}

const tell = (loop: JobLoop.JobLoop, reason: string, exitCode: number, lastStderr: string): void => {
  const guilty = JobLoop.currentOf(loop)
  const jobs = JobLoop.runningJobs(loop)
  const others = jobs.length > 1 ? suspicion(loop, guilty) : ""
  for (const job of jobs) {
    const death = {
      reason: job === guilty ? reason : reason + others,
      exitCode,
      signal: null,
      lastStderr: lastStderr.slice(-4096),
      suspects: guilty === null ? jobs.length : job === guilty ? 1 : 0
    }
    JobLoop.finish(loop, job, Outcome.slotDied, encodeSlotDeath(death))
  }
}

const onUncaught = (loop: JobLoop.JobLoop, error: unknown, origin: string): void => {
  const what = origin === "unhandledRejection" ? "unhandled rejection" : "uncaught exception"
  const stack = stackOf(error)
  const stray = loop.jobsRun > 0 && loop.several === null
    ? " (possibly left behind by an earlier job of this slot)"
    : ""
  if (loop.active === 0) Output.writeAll(2, Buffer.from(`${what} while no job ran: ${stack}\n`))
  else tell(loop, `${what}: ${Stack.describe(error)}${stray}`, 1, stack)
  process.exit(1)
}

/** From now on no exception and no `process.exit` goes unexplained. */
export const watch = (loop: JobLoop.JobLoop): void => {
  process.on("uncaughtException", (error, origin) => onUncaught(loop, error, origin))
  process.on("exit", (code) => {
    if (loop.active > 0) tell(loop, `process.exit(${code}) was called`, code, "")
  })
}
