/** What `dispy doctor` finds: one thing that is as it should be, or is not. */

/** What a finding means for jobs: none, some of them or some day, none would run. */
export type Severity = "ok" | "warning" | "problem"

/** What a finding is about. */
export type Topic = "versions" | "network" | "ports" | "credentials" | "disk" | "node" | "clock" | "sockets"

/** What was found. */
export interface Finding {
  readonly severity: Severity
  readonly topic: Topic
  /** A clause that says what is so, and what that means. */
  readonly message: string
  /** What to do about it; empty when nothing has to be done. */
  readonly fix: string
}

/** It is as it should be. */
export const ok = (topic: Topic, message: string): Finding => ({ severity: "ok", topic, message, fix: "" })

/** Jobs run, and something is worse than it could be. */
export const warning = (topic: Topic, message: string, fix: string): Finding => ({
  severity: "warning",
  topic,
  message,
  fix
})

/** Jobs do not run. */
export const problem = (topic: Topic, message: string, fix: string): Finding => ({
  severity: "problem",
  topic,
  message,
  fix
})

/** Whether a job would run. */
export const isHealthy = (findings: ReadonlyArray<Finding>): boolean =>
  findings.every(({ severity }) => severity !== "problem")
