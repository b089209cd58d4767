/** What this machine is and what it has to spare. */
import { Context, type Effect } from "effect"
import type { AvailInfo } from "../domain/NodeInfo.ts"

export class HostStats extends Context.Service<HostStats, {
  /** The machine's own name. */
  readonly hostName: string
  /** Processors that this process may use. */
  readonly cpus: number
  /** Like "linux-x64 6.1.0 node-24.21.0". */
  readonly platform: string
  /**
   * Reads what is to spare now: idle CPU since the reading before (since the layer was made, for the first), memory,
   * swap, and disk where `directory` is. Never fails: what cannot be read is told as 0.
   */
  readonly availInfo: (directory: string) => Effect.Effect<AvailInfo>
}>()("dispy/services/HostStats") {}
