/** The state of a cluster and the table that dispy's `print_status` prints. */
import type { DispyNode } from "../../domain/DispyNode.ts"
import type { ClusterCore } from "./ClusterCore.ts"

/** The state of a cluster. */
export interface ClusterStatus {
  readonly name: string
  readonly nodes: ReadonlyArray<DispyNode>
  /** Jobs without an outcome. */
  readonly jobsPending: number
  /** Milliseconds since the cluster was made. */
  readonly wallTime: number
}

/** The state of a cluster that is `wallTime` milliseconds old. */
export const statusOf = (core: ClusterCore, wallTime: number): ClusterStatus => ({
  name: core.name,
  nodes: core.nodes(),
  jobsPending: core.pending(),
  wallTime
})

const seconds = (millis: number, digits: number): string => (millis / 1000).toFixed(digits)

/** Bytes as dispy prints them: in powers of 1024. */
const bytes = (count: number): string => {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(1, count)) / 10))
  return power === 0 ? `${count}` : `${(count / 1024 ** power).toFixed(1)} ${"KMGT"[power - 1]}`
}

/**
 * A table with a line per node: cpus that the cluster uses, jobs done, seconds per job, seconds that its cpus spent on
 * jobs, bytes of jobs sent to it and of results received, share of the wall time that its cpus were busy; nodes that are not used say why. Below it the sum and the speed-up.
 */
export const format = (status: ClusterStatus): string => {
  const header = ["Node", "CPUs", "Jobs", "Sec/Job", "Node Time Sec", "Sent", "Rcvd", "Used"]
  const last = header.length - 1
  const rows = status.nodes.map((node) => [
    node.name === "" || node.name === node.address ? node.address : `${node.address} (${node.name})`,
    String(node.cpus),
    String(node.jobsDone),
    node.jobsDone === 0 ? "-" : seconds(node.cpuTime / node.jobsDone, 4),
    seconds(node.cpuTime, 2),
    bytes(node.sentBytes),
    bytes(node.receivedBytes),
    node.state === "ready" || node.jobsDone > 0
      ? `${Math.round((100 * node.cpuTime) / Math.max(1, node.cpus * status.wallTime))} %`
      : node.reason === ""
      ? node.state
      : `${node.state}: ${node.reason}`
  ])
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => i === last ? 0 : row[i]!.length)))
  const line = (cells: ReadonlyArray<string>): string =>
    cells.map((cell, i) => i === 0 || i === last ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join(" | ")
      .trimEnd()
  const total = status.nodes.reduce((sum, node) => sum + node.cpuTime, 0)
  const lines = [
    line(header),
    widths.map((width) => "-".repeat(width)).join("-|-"),
    ...rows.map(line),
    "",
    `Total job time: ${seconds(total, 2)} sec, wall time: ${seconds(status.wallTime, 2)} sec, ` +
    `speedup: ${(total / Math.max(1, status.wallTime)).toFixed(2)}`
  ]
  if (status.jobsPending > 0) lines.splice(lines.length - 1, 0, `Jobs pending: ${status.jobsPending}`)
  return lines.join("\n")
}
