/** The options of `dispynetrelay`, and the checks that need no I/O. */
import { Effect, Result } from "effect"
import { CliError, Command } from "effect/cli"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as Routes from "../../domain/discovery/Routes.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import type { Credentials } from "../../domain/security/Credentials.ts"
import * as CredentialsNode from "../../layers/security/CredentialsNode.ts"
import type { Groups } from "../settings/Help.ts"
import * as Options from "../settings/Options.ts"
import * as Places from "../settings/Places.ts"
import * as Setting from "../settings/Setting.ts"
import * as Settings from "../settings/Settings.ts"

const network = "NETWORK"
const life = "LIFE"

const port = (about: string, byDefault: number) =>
  Setting.whole({
    metavar: "PORT",
    about,
    group: network,
    byDefault,
    what: "a port",
    least: 1,
    most: 65_535,
    hint: "ports are 1 to 65535"
  })

/** The options that can be in a configuration file, in the order of the help. */
const table = {
  "ip-addr": Setting.texts({
    alias: "i",
    metavar: "ADDRESS",
    about:
      "Address of this machine, for pings of clients and on the network of the nodes; may be given more than once" +
      " (default 127.0.0.1 and ::1, this machine only; with a secret all addresses)",
    group: network
  }),
  "relay-port": port(
    "UDP port that clients ping; another than the nodes' if a dispynode runs on this machine",
    NodeAddress.defaultNodePort
  ),
  "node-port": port("UDP port of the nodes", NodeAddress.defaultNodePort),
  "scheduler-node": Setting.texts({
    metavar: "HOST[:PORT]",
    about: "Tell a client or scheduler of all nodes here, asked or not; may be given more than once",
    group: network
  }),
  "scheduler-port": port(
    "UDP port of clients and schedulers: where nodes announce themselves, and that of scheduler-node without a port",
    Datagram.clientPort
  ),
  "ipv4-udp-multicast": Setting.onOff({
    about: "Reach nodes by multicast instead of broadcast also for IPv4",
    group: network
  }),
  "secret-file": Setting.text({
    metavar: "FILE",
    about: "File with the secret of clients and nodes (default DISPY_SECRET, or what DISPY_SECRET_FILE names)",
    group: network
  }),
  insecure: Setting.onOff({
    about:
      "Listen on other than loopback addresses without a secret: everyone who reaches the port can have the nodes" +
      " answer, which lets them find the nodes and no more",
    group: network
  }),
  daemon: Setting.onOff({
    about: "Outlive the terminal. Stays in the foreground: start it with systemd, nohup or &",
    group: life
  }),
  debug: Setting.onOff({ alias: "d", about: "Log in detail", group: life })
}

/** What the options come to. */
export interface RelayOptions extends Settings.Values<typeof table> {
  /** IP addresses to listen on. */
  readonly hosts: ReadonlyArray<string>
  readonly schedulers: ReadonlyArray<Datagram.Place>
  readonly credentials: Credentials
  /** File to write the options to instead of relaying; empty for none. */
  readonly saveTo: string
}

/** Prefix of environment variables. */
const variablePrefix = "DISPYNETRELAY_"

/** Headings of the help, with the flags under each. */
export const groups: Groups = [
  ...[network, life].map((group) => [group, Options.namesIn(table, group)] as const),
  Options.configurationGroup
]

/** What the program was given, on the command line and around it. */
export interface Given extends Options.Given<typeof table> {
  readonly saveConfig: string
}

/** The options as they count, or the first mistake in one sentence. */
export const resolve = (given: Given): Result.Result<RelayOptions, string> =>
  Result.gen(function*() {
    const { origins, values } = yield* Options.resolve(table, given, { prefix: variablePrefix, paths: ["secret-file"] })
    const secretFile = values["secret-file"] === ""
      ? {}
      : { secretFile: { where: origins["secret-file"], text: values["secret-file"] } }
    const credentials = yield* Result.mapError(
      CredentialsNode.read(CredentialsNode.given(secretFile, given.environment, [variablePrefix, "DISPY_"])),
      ({ message }) => message
    )
    const wrong = values["ip-addr"].find((text) => Routes.familyOf(text) === undefined)
    if (wrong !== undefined) {
      return yield* Result.fail(`${origins["ip-addr"]} ${JSON.stringify(wrong)} is not an IP address`)
    }
    const open = values["ip-addr"].find((text) => !Routes.isLoopback(text))
    if (open !== undefined && !values.insecure && credentials._tag === "None") {
      return yield* Result.fail(
        `${origins["ip-addr"]} ${open} would have everyone who reaches it find the nodes here; give it their` +
          " secret with --secret-file, or if that may be, say so with --insecure"
      )
    }
    if (values["relay-port"] === values["scheduler-port"]) {
      return yield* Result.fail(
        `${origins["relay-port"]} ${values["relay-port"]} is also where nodes announce themselves` +
          " (--scheduler-port); choose another"
      )
    }
    const schedulers = yield* Places.parse(
      values["scheduler-node"],
      values["scheduler-port"],
      origins["scheduler-node"]
    )
    const byDefault = credentials._tag === "None" ? ["127.0.0.1", "::1"] : ["0.0.0.0", "::"]
    const hosts = values["ip-addr"].length === 0 ? byDefault : [...new Set(values["ip-addr"])]
    return { ...values, hosts, schedulers, credentials, saveTo: given.saveConfig }
  })

/** Writes the options to the file that was named. */
export const save = (options: RelayOptions): Result.Result<void, string> =>
  Settings.save(table, options, options.saveTo)

/** The command with its handler. */
export const command = <E, R>(
  environment: Given["environment"],
  run: (options: RelayOptions) => Effect.Effect<void, E, R>
) =>
  Command.make(
    "dispynetrelay",
    Options.flagsOf(table),
    ({ config, "save-config": saveConfig, ...flags }): Effect.Effect<void, E | CliError.ValidationError, R> => {
      const resolved = resolve({ flags, config, saveConfig, environment })
      return Result.isSuccess(resolved)
        ? run(resolved.success)
        : Effect.fail(new CliError.ValidationError({ message: resolved.failure }))
    }
  ).pipe(
    Command.withDescription("Makes the nodes of this network known to dispy clients on another"),
    Command.withExamples([
      {
        command: "dispynetrelay --ip-addr 10.1.0.5 --secret-file dispy.secret",
        description: "Clients list 10.1.0.5, and \"10.1.0.*\" for the nodes"
      },
      {
        command: "dispynetrelay --relay-port 51350 --secret-file dispy.secret",
        description: "On a machine that runs dispynode too: clients list \"10.1.0.5:51350\""
      }
    ])
  )
