/**
 * What must be true after every fault, whatever it was. Each job has exactly one outcome and is told it once; the sum of
 * the results is what it must be; no job was begun more often than faults explain, and none twice without leave; client
 * and nodes have as many files open as before, no process and no file of theirs is left, and memory does not grow.
 */
import { expect } from "vitest"
import type { Report, Sample } from "../../fixtures/chaos/client.ts"
import type { CountedClient } from "./CountedClient.ts"
import * as Faults from "./Faults.ts"
import * as Ledger from "./Ledger.ts"

/** What happened. */
export interface Run {
  readonly report: Report
  readonly client: Pick<CountedClient, "ledger" | "log">
  readonly faults: Faults.Faults
  /** Whether jobs may be begun again. */
  readonly mayRunAgain: boolean
  /** Errors with which jobs may end. Default none: every one has its result. */
  readonly errors?: ReadonlyArray<string>
  /** What makes it happen again. */
  readonly seed?: number
}

/** Figures of a run that was as it must be. */
export interface Figures {
  readonly jobs: number
  readonly finished: number
  readonly faults: number
  readonly executions: number
  /** Most executions of one job. */
  readonly most: number
  /** Growth of the client's memory in bytes per 100,000 jobs; undefined for a run too short to tell. */
  readonly slopeBytes: number | undefined
}

/** Jobs below which the memory of a program still settles. */
const enoughJobs = 50_000

/** Least squares, over the second half: the first one is that of code and heap that warm up. */
const slopeOf = (samples: ReadonlyArray<Sample>): number => {
  const late = samples.slice(samples.length >> 1)
  const mean = (of: (sample: Sample) => number): number => late.reduce((sum, one) => sum + of(one), 0) / late.length
  const [meanJobs, meanBytes] = [mean((one) => one.jobs), mean((one) => one.rssBytes)]
  const above = late.reduce((sum, one) => sum + (one.jobs - meanJobs) * (one.rssBytes - meanBytes), 0)
  const below = late.reduce((sum, one) => sum + (one.jobs - meanJobs) ** 2, 0)
  return above / below
}

/** What is wrong, in sentences. */
const problemsOf = (run: Run, executions: ReadonlyMap<number, ReadonlyArray<Ledger.Execution>>): Array<string> => {
  const { errors = [], faults, mayRunAgain, report } = run
  const problems: Array<string> = []
  let expected = 0
  for (const [job, status] of report.statuses.entries()) {
    const [error, told, settled] = [report.errors[job]!, report.told[job]!, report.settled[job]!]
    const begun = executions.get(job) ?? []
    if (told !== 1 || settled !== 1) {
      problems.push(`job ${job} (${status}) was told ${told} times that it ended, its promise ${settled} times`)
    }
    if (status === "Finished") expected += job * 3 + 1
    if (error !== "" && !errors.includes(error)) problems.push(`job ${job} ended with ${error}`)
    if ((status === "Finished") !== (error === "")) problems.push(`job ${job} is ${status} with error "${error}"`)
    if (status === "Finished" && begun.length === 0) problems.push(`job ${job} has a result and never ran`)
    const touched = Faults.touching(faults, begun, report.endedAt[job]!)
    const allowed = mayRunAgain ? 1 + touched : 1
    if (begun.length > allowed) {
      const where = begun.map(({ at, node, pid }) => `${node} (${pid}) at ${Math.round(at)}`).join(", ")
      const ended = `ended at ${Math.round(report.endedAt[job]!)}`
      problems.push(`job ${job} ran ${begun.length} times, touched by ${touched} faults: ${where}; ${ended}`)
    }
    if (error !== "" && touched === 0) problems.push(`job ${job} ended with ${error}, and no fault had touched it`)
  }
  if (report.sum !== expected) problems.push(`the sum of the results is ${report.sum}, not ${expected}`)
  if (report.leftFiles.length > 0) {
    problems.push(`the client has more files open than before: ${report.leftFiles.join("; ")}`)
  }
  return problems
}

/** Holds a run against them. */
export const check = (run: Run): Figures => {
  const { report } = run
  const executions = Ledger.read(run.client.ledger)
  const problems = problemsOf(run, executions)
  const slopeBytes = report.statuses.length >= enoughJobs ? slopeOf(report.samples) * 100_000 : undefined
  if (slopeBytes !== undefined && slopeBytes > 1e6) {
    problems.push(`the client grows by ${(slopeBytes / 1e6).toFixed(2)} MB per 100,000 jobs`)
  }
  const seed = run.seed === undefined ? "" : ` (CHAOS_SEED=${run.seed})`
  expect(
    problems.slice(0, 20),
    `${problems.length} invariants do not hold${seed}; the client said: ${run.client.log().slice(-2000)}`
  ).toEqual([])
  const counts = [...executions.values()].map((all) => all.length)
  return {
    jobs: report.statuses.length,
    finished: report.statuses.filter((status) => status === "Finished").length,
    faults: run.faults.length,
    executions: counts.reduce((sum, count) => sum + count, 0),
    most: counts.reduce((most, count) => Math.max(most, count), 0),
    slopeBytes
  }
}

/** Figures in a line. */
export const describe = (row: string, figures: Figures, more = ""): string =>
  `${row}: ${figures.jobs} jobs, ${figures.faults} faults, ${figures.executions} executions (most of one job` +
  ` ${figures.most}), ${figures.finished} finished` +
  (figures.slopeBytes === undefined ? "" : `, client ${(figures.slopeBytes / 1e6).toFixed(2)} MB per 100,000 jobs`) +
  (more === "" ? "" : `, ${more}`)
