/** The life of a daemon: its layers in one place, the ready line, and the end. */
import { Console, DateTime, Deferred, Effect, Layer, Result } from "effect"
import { CliError } from "effect/cli"
import { randomUUID } from "node:crypto"
import * as os from "node:os"
import * as path from "node:path"
import * as ServiceHours from "../../domain/node/ServiceHours.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { CannotStart } from "../../domain/NodeError.ts"
import { type Credentials, datagramKeyOf, none } from "../../domain/security/Credentials.ts"
import { packageVersion } from "../../domain/Version.ts"
import * as Interfaces from "../../layers/discovery/Interfaces.ts"
import * as NodeBeacon from "../../layers/discovery/NodeBeacon.ts"
import * as NodeDialOut from "../../layers/discovery/NodeDialOut.ts"
import * as JobExecutorProcess from "../../layers/executor/JobExecutorProcess.ts"
import * as HostStatsNode from "../../layers/host/HostStatsNode.ts"
import * as NodeDirectory from "../../layers/node/NodeDirectory.ts"
import * as NodeHours from "../../layers/node/NodeHours.ts"
import * as NodeInit from "../../layers/node/NodeInit.ts"
import * as NodeListener from "../../layers/node/NodeListener.ts"
import * as NodeRivals from "../../layers/node/NodeRivals.ts"
import * as NodeServer from "../../layers/node/NodeServer.ts"
import * as CredentialsNode from "../../layers/security/CredentialsNode.ts"
import * as CredentialsService from "../../services/Credentials.ts"
import * as ExecutorConfig from "../../services/ExecutorConfig.ts"
import { HostStats } from "../../services/HostStats.ts"
import * as NodeConfig from "../../services/NodeConfig.ts"
import { NodeEndpoints } from "../../services/NodeEndpoints.ts"
import { NodeLifecycle } from "../../services/NodeLifecycle.ts"
import { NodeOwner } from "../../services/NodeOwner.ts"
import * as NodeConsole from "./NodeConsole.ts"
import * as NodeLog from "./NodeLog.ts"
import * as NodeOptions from "./NodeOptions.ts"
import * as NodeSignals from "./NodeSignals.ts"

/** Everything a node is made of. */
const nodeLayer = (
  settings: Partial<NodeConfig.NodeSettings>,
  executor: Partial<ExecutorConfig.ExecutorSettings>,
  known: NodeBeacon.NodeBeaconOptions & NodeDialOut.NodeDialOutOptions
) =>
  Layer.merge(NodeBeacon.layer(known), NodeDialOut.layer(known)).pipe(
    Layer.provideMerge(NodeListener.layer),
    Layer.provideMerge(NodeServer.layer),
    Layer.provide(JobExecutorProcess.layer),
    Layer.provide([
      NodeConfig.layer(settings),
      ExecutorConfig.layer(executor)
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

/** Ends the daemon when its time has come: by the clock, by counting, by its owner's word. */
const watch = Effect.fnUntraced(function*(environment: NodeConsole.Environment) {
  const { hours, options, signals } = environment
  const control = yield* NodeOwner
  const endWith = (reason: string) => Effect.andThen(Deferred.succeed(signals.end, reason))
  if (hours !== undefined) {
    yield* NodeHours.keep(hours).pipe(
      Effect.provide(DateTime.layerCurrentZoneLocal),
      endWith("the end of its service hours"),
      Effect.forkScoped({ startImmediately: true })
    )
  }
  yield* control.untilServed.pipe(endWith("it served all computations that it was to"), Effect.forkScoped)
  yield* control.untilShutDown.pipe(
    Effect.flatMap((clientName) => Effect.as(control.untilFree, `${clientName} shut it down`)),
    Effect.flatMap((reason) => Deferred.succeed(signals.end, reason)),
    Effect.forkScoped
  )
  if (NodeConsole.isWanted(options)) yield* Effect.forkScoped(NodeConsole.run(environment))
})

const portsOf = (addresses: ReadonlyArray<NodeAddress.NodeAddress>): ReadonlyArray<number> => [
  ...new Set(addresses.flatMap((address) => address._tag === "Tcp" ? [address.port] : []))
]

const serve = (name: string, cpus: number, directory: string, environment: NodeConsole.Environment) =>
  Effect.gen(function*() {
    const { options, signals } = environment
    const { addresses } = yield* NodeEndpoints
    const lifecycle = yield* NodeLifecycle
    for (const address of options.insecure ? NodeOptions.openAddresses(options) : []) {
      yield* Effect.logWarning("everyone who reaches this address can run any code here (--insecure)").pipe(
        Effect.annotateLogs({ address })
      )
    }
    yield* NodeRivals.record(directory, name, portsOf(addresses))
    yield* watch(environment)
    yield* Console.log(readyLine(name, cpus, addresses))
    const reason = yield* Deferred.await(signals.end)
    const grace = options["drain-grace"]
    yield* Effect.logInfo("ending").pipe(Effect.annotateLogs({ reason, graceSeconds: grace }))
    const killed = yield* lifecycle.drain(grace * 1000)
    if (killed > 0) yield* Effect.logWarning("killing jobs that still run").pipe(Effect.annotateLogs({ jobs: killed }))
  }).pipe(Effect.scoped)

/** The client of an embedded node shares its stderr with it, and wants to hear of trouble only. */
const levelOf = (options: NodeOptions.NodeOptions) => options.debug ? "Debug" : options.embedded ? "Warn" : "Info"

const wrongOption = (message: string) => new CliError.ValidationError({ message })

/** Ends daemons that have the port, for one that wants it. */
const clean = (directory: string, options: NodeOptions.NodeOptions) =>
  Effect.flatMap(
    NodeRivals.find(directory, options.port),
    Effect.forEach((rival) => NodeRivals.end(rival, options["drain-grace"]), { discard: true })
  )

/** Names the dispynode that has the port, where there is one. */
const nameRival = (directory: string) => (error: CannotStart): Effect.Effect<never, CannotStart> =>
  Effect.flatMap(
    error.takenPort === undefined ? Effect.succeed([]) : NodeRivals.find(directory, error.takenPort),
    ([rival]) =>
      Effect.fail(
        rival === undefined
          ? error
          : new CannotStart({
            program: "dispynode",
            reason:
              `port ${error.takenPort} is in use by another dispynode of yours (pid ${rival.pid}); end that with` +
              " --clean, or choose another port with --port (0 for any free one)"
          })
      )
  )

/** An embedded node has no doors that others reach. */
const credentialsOf = (options: NodeOptions.NodeOptions): Effect.Effect<Credentials, CliError.ValidationError> =>
  options.embedded
    ? Effect.succeed(none)
    : Effect.mapError(
      Effect.fromResult(CredentialsNode.read(NodeOptions.givenCredentials(options, process.env))),
      ({ message }) => wrongOption(message)
    )

/** Without credentials this machine alone may connect, with them everybody who has them. */
const addressesOf = (options: NodeOptions.NodeOptions, credentials: Credentials): ReadonlyArray<string> => {
  if (options["ip-addr"].length > 0) return [...new Set(options["ip-addr"])]
  return credentials._tag === "None" ? NodeConfig.defaults.addresses : ["::"]
}

/** The address that jobs are told: the first that the node listens on, of all addresses the first on a network. */
const jobAddressOf = ([first = "127.0.0.1"]: ReadonlyArray<string>): string => {
  if (first !== "::" && first !== "0.0.0.0") return first
  return Interfaces.read().find(({ family, isLoopback }) => family === 4 && !isLoopback)?.address ?? "127.0.0.1"
}

const settingsOf = (
  options: NodeOptions.NodeOptions,
  addresses: ReadonlyArray<string>,
  name: string,
  directory: string
): Partial<NodeConfig.NodeSettings> => ({
  name,
  incarnation: randomUUID(),
  port: options.port,
  directory,
  helloDeadline: options["msg-timeout"] * 1000,
  leaseResume: options["msg-timeout"] * 1000,
  maxConnections: options["max-connections"],
  maxStrangers: options["max-strangers"],
  maxFailures: options["max-failures"],
  serve: options.serve,
  maxFileBytes: options["max-file-size"],
  forceCleanup: options["force-cleanup"],
  clientShutdown: options["client-shutdown"],
  zombieInterval: options["zombie-interval"] * 1000,
  keepResults: options["keep-results"] * 1000,
  addresses,
  ...(options.embedded ? { socketPath: path.join(directory, "node.sock") } : {})
})

/** Nothing when the daemon is asked to end before this is done. */
const beforeTheEnd = <A, E, R>(signals: NodeSignals.NodeSignals, effect: Effect.Effect<A, E, R>) =>
  Effect.raceFirst(
    effect,
    Effect.as(Effect.raceFirst(Deferred.await(signals.end), Deferred.await(signals.endNow)), undefined)
  )

/** Runs a daemon until it is asked to end. */
export const run = Effect.fnUntraced(
  function*(options: NodeOptions.NodeOptions) {
    const host = yield* HostStats
    const now = yield* Effect.provide(DateTime.nowInCurrentZone, DateTime.layerCurrentZoneLocal)
    const credentials = yield* credentialsOf(options)
    const checked = NodeOptions.check(options, credentials, host.cpus, ServiceHours.minuteOf(now))
    if (Result.isFailure(checked)) return yield* wrongOption(checked.failure)
    if (options.saveTo !== "") {
      const saved = NodeOptions.save(options)
      return yield* Result.isFailure(saved) ? wrongOption(`--save-config ${saved.failure}`) : Effect.void
    }
    const { cpus, hours, schedulers } = checked.success
    const signals = yield* NodeSignals.make(options)
    const prefix = options["dest-path-prefix"]
    const directory = yield* NodeDirectory.acquire(prefix === "" ? os.tmpdir() : prefix)
    if (options.clean) yield* clean(directory, options)
    if (options.serve === 0) return
    const name = options.name === "" ? host.hostName : options.name
    const init = options.init === ""
      ? NodeInit.none
      : yield* beforeTheEnd(signals, NodeInit.run(options.init, directory))
    if (init === undefined) return
    const addresses = addressesOf(options, credentials)
    const layer = nodeLayer(
      settingsOf(options, addresses, name, directory),
      {
        nodeName: name,
        ipAddr: jobAddressOf(addresses),
        cpus,
        directory,
        globalsPath: init.globalsPath,
        addedEnvironment: init.environment
      },
      {
        key: datagramKeyOf(credentials),
        extIpAddr: options["ext-ip-addr"],
        schedulers,
        isOpen: credentials._tag !== "None" || options.insecure,
        pingIntervalMillis: options["ping-interval"] === 0 ? undefined : options["ping-interval"] * 1000,
        ipv4UdpMulticast: options["ipv4-udp-multicast"]
      }
    )
    yield* serve(name, cpus, directory, { options, signals, cores: host.cpus, hours }).pipe(
      Effect.provide(Layer.provide(layer, CredentialsService.layer(credentials))),
      Effect.raceFirst(Deferred.await(signals.endNow)),
      Effect.catchTag("CannotStart", nameRival(directory))
    )
  },
  (effect, options) =>
    effect.pipe(Effect.scoped, Effect.provide([HostStatsNode.layer, NodeLog.layer(levelOf(options))]))
)
