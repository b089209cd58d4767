/** The findings as people read them. */
import { type Finding, isHealthy, type Severity } from "../../../domain/doctor/Finding.ts"

const labels: Readonly<Record<Severity, readonly [label: string, colour: number]>> = {
  ok: ["ok     ", 32],
  warning: ["warning", 33],
  problem: ["problem", 31]
}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** What comes of them all. */
export const summary = (findings: ReadonlyArray<Finding>): string => {
  const count = (severity: Severity): number => findings.filter((finding) => finding.severity === severity).length
  const verdict = isHealthy(findings) ? "a job would run" : "a job would not run, or not everywhere"
  return `${counted(count("problem"), "problem")}, ${counted(count("warning"), "warning")}: ${verdict}`
}

/** A line for each, its fix in the line below, and the sum at the end. */
export const format = (findings: ReadonlyArray<Finding>, hasColours: boolean): string => {
  const lines = findings.flatMap(({ fix, message, severity }) => {
    const [label, colour] = labels[severity]
    const shown = hasColours ? `\u001b[${colour}m${label}\u001b[0m` : label
    return [`${shown}  ${message}`, ...(fix === "" ? [] : [`         fix: ${fix}`])]
  })
  return [...lines, summary(findings)].join("\n")
}
