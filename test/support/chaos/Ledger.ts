/** What slots wrote down: which job they began, where and when. */
import * as fs from "node:fs"

/** A job began, once more perhaps. */
export interface Execution {
  readonly job: number
  readonly node: string
  /** Process of the slot, as it sees itself. */
  readonly pid: number
  /** Milliseconds of the machine's monotonic clock. */
  readonly at: number
}

const parse = (line: string): Execution => {
  const [job = "", node = "", pid = "", at = ""] = line.split(" ")
  return { job: Number(job), node, pid: Number(pid), at: Number(at) }
}

/** The execution that began last; undefined before the first. */
export const latest = (file: string): Execution | undefined => {
  const line = fs.readFileSync(file, "utf8").trimEnd().split("\n").at(-1)
  return line === undefined || line === "" ? undefined : parse(line)
}

/** All executions so far, by job. */
export const read = (file: string): ReadonlyMap<number, ReadonlyArray<Execution>> => {
  const executions = new Map<number, Array<Execution>>()
  for (const line of fs.readFileSync(file, "utf8").split("\n")) {
    if (line === "") continue
    const execution = parse(line)
    const known = executions.get(execution.job)
    if (known === undefined) executions.set(execution.job, [execution])
    else known.push(execution)
  }
  return executions
}
