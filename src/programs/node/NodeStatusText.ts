/** What a node says of itself on its console. */
import type { NodeReport } from "../../services/NodeOwner.ts"

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

const spanOf = (millis: number): string => {
  const seconds = Math.max(0, Math.floor(millis / 1000))
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60
  ]
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`
}

/** A few lines: what it offers, to whom, and what it did. */
export const format = (report: NodeReport, hours: string, now: number): string => {
  const { chosenCpus, clients, closedBecause, computations, cpuMillis, cpus, endingBecause, jobsDone, opened } = report
  const served = closedBecause === ""
    ? `Serving ${counted(cpus, "cpu")}`
    : `Starting no jobs (${closedBecause}), else ${counted(chosenCpus, "cpu")}`
  return [
    `${served}, up ${spanOf(now - report.startedAt)}${hours === "" ? "" : `; ${hours}`}`,
    ...(endingBecause === "" ? [] : [`Taking no new clients: ${endingBecause}`]),
    `Done: ${counted(jobsDone, "job")} of ${counted(opened, "computation")}, ${
      (cpuMillis / 1000).toFixed(1)
    } s cpu time`,
    ...(clients.length === 0 ? ["Clients: none"] : []),
    ...clients.map(({ isConnected, name }) =>
      `Client ${name}${isConnected ? "" : ": its connection is broken; release takes the node back"}`
    ),
    ...computations.map(({ clientName, name, running, waiting }) =>
      `  ${name} (${clientName}): ${running} running, ${waiting} waiting`
    )
  ].join("\n")
}
