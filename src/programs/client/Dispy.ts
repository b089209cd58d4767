/** The layers behind a cluster, composed: what `JobCluster.make` uses and what users build on. */
import { Effect, Layer, References } from "effect"
import { rm } from "node:fs/promises"
import { hostname, tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import type { InvalidOption } from "../../domain/ClusterError.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { datagramKeyOf } from "../../domain/security/Credentials.ts"
import * as FileTransferMemory from "../../layers/bulk/FileTransferMemory.ts"
import * as FileTransferSocket from "../../layers/bulk/FileTransferSocket.ts"
import * as DiscoveryStatic from "../../layers/discovery/DiscoveryStatic.ts"
import * as DiscoveryUdp from "../../layers/discovery/DiscoveryUdp.ts"
import * as ParkingTcp from "../../layers/discovery/ParkingTcp.ts"
import * as JobExecutorMemory from "../../layers/executor/JobExecutorMemory.ts"
import * as HostStatsFixed from "../../layers/host/HostStatsFixed.ts"
import * as NodeLauncherProcess from "../../layers/launcher/NodeLauncherProcess.ts"
import * as NodeLinkLasting from "../../layers/link/NodeLinkLasting.ts"
import * as NodeLinkMemory from "../../layers/link/NodeLinkMemory.ts"
import * as NodeLinkSocket from "../../layers/link/NodeLinkSocket.ts"
import * as NodeServer from "../../layers/node/NodeServer.ts"
import * as RecoverLogFile from "../../layers/recovery/RecoverLogFile.ts"
import * as SchedulerLocal from "../../layers/scheduler/SchedulerLocal.ts"
import * as ClusterConfig from "../../services/ClusterConfig.ts"
import { ClusterNetwork, type Network } from "../../services/ClusterNetwork.ts"
import * as Credentials from "../../services/Credentials.ts"
import * as ExecutorConfig from "../../services/ExecutorConfig.ts"
import * as LocalAddresses from "../../services/LocalAddresses.ts"
import * as NodeConfig from "../../services/NodeConfig.ts"
import { NodeLauncher } from "../../services/NodeLauncher.ts"
import type { LinkClient } from "../../services/NodeLink.ts"
import type { Scheduler } from "../../services/Scheduler.ts"
import * as ClusterOptions from "./ClusterOptions.ts"
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

/** What of a cluster's options is for its scheduler. */
type SchedulerOptions = Pick<
  CheckedOptions,
  | "nodes"
  | "isListed"
  | "localCpus"
  | "nodePort"
  | "pulseMillis"
  | "ipAddr"
  | "extIpAddr"
  | "pingMillis"
  | "ipv4UdpMulticast"
  | "credentials"
  | "isInsecure"
  | "credentialFiles"
  | "recoverFile"
>

const layerReal = (options: SchedulerOptions, isBackground: boolean): Layer.Layer<Scheduler, InvalidOption> =>
  SchedulerLocal.layer.pipe(
    Layer.provide([
      Layer.provide(NodeLinkLasting.layer, isBackground ? NodeLinkSocket.layerBackground : NodeLinkSocket.layer),
      isBackground ? FileTransferSocket.layerBackground : FileTransferSocket.layer,
      NodeLauncherProcess.layer({ cpus: options.localCpus, isBackground }),
      DiscoveryUdp.layer({
        nodePort: options.nodePort,
        ipAddr: options.ipAddr,
        extIpAddr: options.extIpAddr,
        pingIntervalMillis: options.pingMillis,
        ipv4UdpMulticast: options.ipv4UdpMulticast,
        key: datagramKeyOf(options.credentials),
        isBackground
      }),
      ClusterConfig.layer({ client, nodes: options.nodes, pulseMillis: options.pulseMillis }),
      options.recoverFile === false ? RecoverLogFile.layerNone : RecoverLogFile.layer({
        file: options.recoverFile,
        client: client.clientName,
        credentials: options.credentialFiles
      })
    ]),
    Layer.provide([
      LocalAddresses.layer(options.ipAddr),
      ParkingTcp.layer({
        ipAddr: options.ipAddr,
        isOpen: options.credentials._tag !== "None" || options.isInsecure,
        key: datagramKeyOf(options.credentials),
        isBackground
      })
    ]),
    Layer.provide(Credentials.layer(options.credentials))
  )

/** The same on the machines of a test, which write no recover files. */
const layerOn = (network: Network, options: SchedulerOptions): Layer.Layer<Scheduler> =>
  SchedulerLocal.layer.pipe(
    Layer.provide([
      Layer.succeed(NodeLauncher, network.launcher(options.localCpus)),
      ClusterConfig.layer({
        client,
        nodes: options.isListed ? options.nodes : network.nodes(),
        pulseMillis: options.pulseMillis
      }),
      RecoverLogFile.layerNone
    ]),
    Layer.provide(Layer.succeedContext(network.services))
  )

/** The scheduler of a `JobCluster` with checked options; in the background its nodes do not keep the process alive. */
export const layerChecked = (
  options: SchedulerOptions,
  isBackground = false
): Layer.Layer<Scheduler, InvalidOption> =>
  Layer.unwrap(
    Effect.map(ClusterNetwork, (network) =>
      network === undefined ? layerReal(options, isBackground) : layerOn(network, options))
  )

/**
 * A scheduler with the nodes that the options name, for clusters made by `JobCluster.makeWith`. Several clusters of one
 * scheduler share its connections.
 */
export const layer = (
  options: Pick<
    ClusterOptions.ClusterOptions,
    | "nodes"
    | "nodePort"
    | "cpus"
    | "pulseInterval"
    | "ipAddr"
    | "extIpAddr"
    | "pingInterval"
    | "ipv4UdpMulticast"
    | "secret"
    | "secretFile"
    | "certfile"
    | "keyfile"
    | "cafile"
    | "insecure"
    | "recoverFile"
  > = {}
): Layer.Layer<Scheduler, InvalidOption> =>
  Layer.unwrap(Effect.map(Effect.fromResult(ClusterOptions.check(options)), (checked) => layerChecked(checked)))

/** Files of the node in this process lie in a temporary directory, made when it is needed. */
const nodeConfigMemory = Layer.effect(
  NodeConfig.NodeConfig,
  Effect.acquireRelease(
    Effect.sync(() => join(tmpdir(), `dispy-memory-${crypto.randomUUID()}`)),
    (home) => Effect.promise(() => rm(home, { recursive: true, force: true }))
  ).pipe(
    Effect.map((home) =>
      NodeConfig.NodeConfig.of({
        ...NodeConfig.defaults,
        name: "memory",
        incarnation: "memory",
        directory: join(home, "node", "memory")
      })
    )
  )
)

/**
 * A scheduler with one node in this process, without sockets and processes: for fast tests of programs that use
 * clusters. Functions only; they run on this process's event loop, so one that never ends hangs the program.
 */
export const layerMemory = (options: { readonly cpus: number }): Layer.Layer<Scheduler> =>
  SchedulerLocal.layer.pipe(
    Layer.provide([
      NodeLinkMemory.layer,
      FileTransferMemory.layer,
      Layer.succeed(NodeLauncher, NodeLauncher.of({ launch: Effect.succeed({ _tag: "Unix", path: "memory" }) })),
      DiscoveryStatic.layer({ nodePort: NodeAddress.defaultNodePort }),
      ClusterConfig.layer({ client }),
      RecoverLogFile.layerNone
    ]),
    Layer.provide(NodeServer.layer),
    Layer.provide(JobExecutorMemory.layer),
    Layer.provide([
      nodeConfigMemory,
      HostStatsFixed.layer({ cpus: options.cpus }),
      ExecutorConfig.layer({ cpus: options.cpus, nodeName: "memory", environment: {} })
    ]),
    // The daily business of a daemon is none of its client's.
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "Warn"))
  )
