/** The life of a daemon: its layers in one place, the ready line, and the end. */
import { Console, Deferred, Effect, Layer, Result } from "effect"
import { CliError } from "effect/cli"
import { randomUUID } from "node:crypto"
import * as os from "node:os"
import * as path from "node:path"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { CannotStart } from "../../domain/NodeError.ts"
import { packageVersion } from "../../domain/Version.ts"
import * as JobExecutorProcess from "../../layers/executor/JobExecutorProcess.ts"
import * as HostStatsNode from "../../layers/host/HostStatsNode.ts"
import * as NodeDirectory from "../../layers/node/NodeDirectory.ts"
import * as NodeListener from "../../layers/node/NodeListener.ts"
import * as NodeServer from "../../layers/node/NodeServer.ts"
import * as ExecutorConfig from "../../services/ExecutorConfig.ts"
import { HostStats } from "../../services/HostStats.ts"
import * as NodeConfig from "../../services/NodeConfig.ts"
import { NodeEndpoints } from "../../services/NodeEndpoints.ts"
import { NodeLifecycle } from "../../services/NodeLifecycle.ts"
import * as NodeLog from "./NodeLog.ts"
import * as NodeOptions from "./NodeOptions.ts"
import * as NodeSignals from "./NodeSignals.ts"

/** Everything a node is made of. */
const nodeLayer = (
  settings: Partial<NodeConfig.NodeSettings>,
  { cpus, directory, ipAddr, name }: {
    readonly name: string
    /** What jobs are told as their node's address: the first that it listens on. */
    readonly ipAddr: string
    readonly cpus: number
    readonly directory: string
  }
) =>
  NodeListener.layer.pipe(
    Layer.provideMerge(NodeServer.layer),
    Layer.provide(JobExecutorProcess.layer),
    Layer.provide([
      NodeConfig.layer(settings),
      ExecutorConfig.layer({ cpus, directory, nodeName: name, ipAddr })
    ])
  )

const readyLine = (
  name: string,
  cpus: number,
  addresses: ReadonlyArray<NodeAddress.NodeAddress>
): string => {
  const [first] = addresses
  return first?._tag === "Unix"
    ? JSON.stringify({ ready: true, version: packageVersion, pid: process.pid, name, cpus, socket: first.path })
    : `dispynode ${packageVersion} ${JSON.stringify(name)} ready on ${
      addresses.map(NodeAddress.format).join(" and ")
    }: ${cpus} ${cpus === 1 ? "cpu" : "cpus"}`
}

const serve = (options: NodeOptions.NodeOptions, name: string, cpus: number, signals: NodeSignals.NodeSignals) =>
  Effect.gen(function*() {
    const { addresses } = yield* NodeEndpoints
    const lifecycle = yield* NodeLifecycle
    for (const address of NodeOptions.openAddresses(options)) {
      yield* Effect.logWarning("everyone who reaches this address can run any code here (--insecure)").pipe(
        Effect.annotateLogs({ address })
      )
    }
    yield* Console.log(readyLine(name, cpus, addresses))
    const signal = yield* Deferred.await(signals.end)
    yield* Effect.logInfo("ending").pipe(Effect.annotateLogs({ signal, graceSeconds: options.drainGrace }))
    const killed = yield* lifecycle.drain(options.drainGrace * 1000)
    if (killed > 0) yield* Effect.logWarning("killing jobs that still run").pipe(Effect.annotateLogs({ jobs: killed }))
  })

/** The client of an embedded node shares its stderr with it, and wants to hear of trouble only. */
const levelOf = (options: NodeOptions.NodeOptions) => options.debug ? "Debug" : options.embedded ? "Warn" : "Info"

/** Runs a daemon until it is asked to end. */
export const run = Effect.fnUntraced(
  function*(options: NodeOptions.NodeOptions) {
    const host = yield* HostStats
    const checked = NodeOptions.check(options, host.cpus)
    if (Result.isFailure(checked)) return yield* new CliError.ValidationError({ message: checked.failure })
    const cpus = checked.success
    const signals = yield* NodeSignals.make(options)
    const directory = yield* NodeDirectory.acquire(options.prefix === "" ? os.tmpdir() : options.prefix)
    const name = options.name === "" ? host.hostName : options.name
    const layer = nodeLayer(
      {
        name,
        incarnation: randomUUID(),
        port: options.port,
        directory,
        ...(options.addresses.length > 0 ? { addresses: [...new Set(options.addresses)] } : {}),
        ...(options.embedded ? { socketPath: path.join(directory, "node.sock") } : {})
      },
      { name, ipAddr: options.addresses[0] ?? "127.0.0.1", cpus, directory }
    )
    yield* serve(options, name, cpus, signals).pipe(
      Effect.provide(layer),
      Effect.raceFirst(Deferred.await(signals.endNow))
    )
  },
  (effect, options) =>
    effect.pipe(Effect.scoped, Effect.provide([HostStatsNode.layer, NodeLog.layer(levelOf(options))]))
)

/** What a program of the package that failed says on stderr, and its exit status; nothing for a bug. */
export const explain = (error: unknown): { readonly text: string; readonly status: number } | undefined => {
  if (error instanceof CannotStart) return { text: error.message, status: 1 }
  if (!CliError.isCliError(error)) return undefined
  if (error._tag !== "ShowHelp") return { text: `dispynode: ${error.message}`, status: 2 }
  const first = error.errors[0]
  if (first === undefined) return { text: "", status: 0 }
  return { text: `dispynode: ${first.message.replaceAll(/\s*\n\s*/g, " ").trim()}; see dispynode --help`, status: 2 }
}
