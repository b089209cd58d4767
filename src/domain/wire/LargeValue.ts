/**
 * Arguments and results that do not travel in the entries of their jobs but in
 * files, over the bulk connection: how node and slot name them, and from what size.
 */

/** Encoded values larger than this go over the bulk connection. */
export const largeBytes = 1024 * 1024

/** One execution of a job. */
interface Execution {
  readonly jobId: number
  readonly attempt: number
}

/** File of a job's arguments. */
export const argumentsName = ({ attempt, jobId }: Execution): string => `args-${jobId}-${attempt}`

/** File of a job's result. */
export const resultName = ({ attempt, jobId }: Execution): string => `result-${jobId}-${attempt}`
