/** Names of processes, `<pid>-<start>`: the start tells one from another that got its pid later. */
import * as fs from "node:fs"

/** When a process started, in ticks since the machine did; undefined when there is no such process (any more). */
const startOf = (pid: number): string | undefined => {
  if (process.platform === "linux") {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
      // The name in parentheses may hold blanks; the fields after it are counted from 3.
      return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
    } catch {
      return undefined
    }
  }
  try {
    process.kill(pid, 0)
    return "0"
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "0" : undefined
  }
}

/** Name of this process. */
export const own = (): string => `${process.pid}-${startOf(process.pid) ?? "0"}`

/** Whether a name is that of a process that is gone. */
export const isStale = (name: string): boolean => {
  const [, pid, start] = /^(\d+)-(\d+)$/.exec(name) ?? []
  return pid !== undefined && startOf(Number(pid)) !== start
}
