/** The life of a relay: its layer, the ready line, and the end. */
import { Console, Deferred, Effect, Result } from "effect"
import { CliError } from "effect/cli"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { datagramKeyOf } from "../../domain/security/Credentials.ts"
import { packageVersion } from "../../domain/Version.ts"
import * as Relay from "../../layers/discovery/Relay.ts"
import * as NodeLog from "../node/NodeLog.ts"
import * as NodeSignals from "../node/NodeSignals.ts"
import * as RelayOptions from "./RelayOptions.ts"

const readyLine = ({ hosts, "node-port": nodePort, "relay-port": relayPort }: RelayOptions.RelayOptions): string => {
  const places = hosts.map((host) => NodeAddress.format({ _tag: "Tcp", host, port: relayPort }))
  return `dispynetrelay ${packageVersion} ready on UDP ${places.join(" and ")}, for nodes at port ${nodePort}`
}

/** Runs a relay until it is asked to end. */
export const run = Effect.fnUntraced(
  function*(options: RelayOptions.RelayOptions) {
    if (options.saveTo !== "") {
      const saved = RelayOptions.save(options)
      if (Result.isSuccess(saved)) return
      return yield* new CliError.ValidationError({ message: `--save-config ${saved.failure}` })
    }
    const signals = yield* NodeSignals.make({ embedded: false, daemon: options.daemon })
    const relay = Relay.layer({
      key: datagramKeyOf(options.credentials),
      hosts: options.hosts,
      relayPort: options["relay-port"],
      nodePort: options["node-port"],
      clientPort: options["scheduler-port"],
      schedulers: options.schedulers,
      ipv4UdpMulticast: options["ipv4-udp-multicast"]
    })
    yield* Effect.gen(function*() {
      yield* Console.log(readyLine(options))
      const reason = yield* Effect.raceFirst(Deferred.await(signals.end), Deferred.await(signals.endNow))
      yield* Effect.logInfo("ending").pipe(Effect.annotateLogs({ reason }))
    }).pipe(Effect.provide(relay))
  },
  (effect, options) => effect.pipe(Effect.scoped, Effect.provide(NodeLog.layer(options.debug ? "Debug" : "Info")))
)
