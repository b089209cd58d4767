/** Everything that can be measured, by name. A step runs in a process of its own (`step.ts`). */
import type { Metrics, StepOptions } from "./support/Drive.ts"

/** A file that measures something. */
export interface Step {
  readonly measure: (options: StepOptions) => Promise<Metrics>
}

/** Anchors and measurements of dispy. */
export const steps = {
  hashedPump: () => import("./anchors/hashedPump.ts"),
  ipc: () => import("./anchors/ipc.ts"),
  nodeStart: () => import("./anchors/nodeStart.ts"),
  piscina: () => import("./anchors/piscina.ts"),
  socket: () => import("./anchors/socket.ts"),
  spawn: () => import("./anchors/spawn.ts"),
  tcpEcho: () => import("./anchors/tcpEcho.ts"),
  cpuJobs: () => import("./dispy/cpuJobs.ts"),
  failover: () => import("./dispy/failover.ts"),
  kill: () => import("./dispy/kill.ts"),
  map: () => import("./dispy/map.ts"),
  mapMemory: () => import("./dispy/mapMemory.ts"),
  nodeMemory: () => import("./dispy/nodeMemory.ts"),
  noop: () => import("./dispy/noop.ts"),
  noopEffect: () => import("./dispy/noopEffect.ts"),
  programs: () => import("./dispy/programs.ts"),
  provisional: () => import("./dispy/provisional.ts"),
  queueMemory: () => import("./dispy/queueMemory.ts"),
  recover: () => import("./dispy/recover.ts"),
  roundTrip: () => import("./dispy/roundTrip.ts"),
  schedulerCore: () => import("./dispy/schedulerCore.ts"),
  start: () => import("./dispy/start.ts"),
  bulk: () => import("./dispy/bulk.ts"),
  discovery: () => import("./dispy/discovery.ts"),
  secret: () => import("./dispy/secret.ts"),
  slowLink: () => import("./dispy/slowLink.ts"),
  values: () => import("./dispy/values.ts")
} satisfies Record<string, () => Promise<Step>>

/** Name of a step. */
export type StepName = keyof typeof steps
