/** The layers behind a cluster, composed: what `JobCluster.make` uses and what users build on. */
import { Layer } from "effect"
import { hostname, userInfo } from "node:os"
import * as NodeLauncherProcess from "../../layers/launcher/NodeLauncherProcess.ts"
import * as NodeLinkSocket from "../../layers/link/NodeLinkSocket.ts"
import * as SchedulerLocal from "../../layers/scheduler/SchedulerLocal.ts"
import * as ClusterConfig from "../../services/ClusterConfig.ts"
import type { LinkClient } from "../../services/NodeLink.ts"
import type { Scheduler } from "../../services/Scheduler.ts"
import type { CheckedOptions } from "./ClusterOptions.ts"

const nameOfUser = (): string => {
  try {
    return userInfo().username
  } catch {
    // A container may run under a user id without a name.
    return String(process.getuid?.() ?? "unknown")
  }
}

/** This process, to nodes and other clients: clusters of one process share its leases. */
export const client: LinkClient = {
  clientId: crypto.randomUUID(),
  clientName: `${nameOfUser()}@${hostname()}, process ${process.pid}`
}

/** The scheduler of a `JobCluster` with these options. */
export const layer = (options: Pick<CheckedOptions, "nodes" | "localCpus">): Layer.Layer<Scheduler> =>
  SchedulerLocal.layer.pipe(
    Layer.provide([
      NodeLinkSocket.layer,
      NodeLauncherProcess.layer({ cpus: options.localCpus }),
      ClusterConfig.layer({ client, nodes: options.nodes })
    ])
  )
