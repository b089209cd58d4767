/** The options of `dispynode`, and the checks that need no I/O. */
import { Effect, Result } from "effect"
import { CliError, Command, Flag } from "effect/cli"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as Routes from "../../domain/discovery/Routes.ts"
import * as CpuCount from "../../domain/node/CpuCount.ts"
import * as ServiceHours from "../../domain/node/ServiceHours.ts"
import { type Credentials, describe } from "../../domain/security/Credentials.ts"
import * as CredentialsNode from "../../layers/security/CredentialsNode.ts"
import * as NodeConfig from "../../services/NodeConfig.ts"
import type { Groups } from "../settings/Help.ts"
import * as Options from "../settings/Options.ts"
import * as Places from "../settings/Places.ts"
import * as Setting from "../settings/Setting.ts"
import * as Settings from "../settings/Settings.ts"

const work = "WORK"
const network = "NETWORK"
const life = "LIFE"

/** The options that can be in a configuration file, in the order of the help. */
export const table = {
  cpus: Setting.whole({
    alias: "c",
    metavar: "N",
    about: "Jobs that run at the same time: 0 for one per core, negative to leave that many cores free",
    group: work,
    byDefault: 0,
    what: "a number of cpus",
    least: -100_000,
    most: 100_000,
    hint: "0 is one per core"
  }),
  "dest-path-prefix": Setting.text({
    metavar: "DIR",
    about: "Directory for the files of computations (below it, in dispy-USER/node; default the temporary directory)",
    group: work
  }),
  "force-cleanup": Setting.onOff({
    about: "Remove the files of computations also where their client wants them kept",
    group: work
  }),
  "max-file-size": Setting.size({
    metavar: "SIZE",
    about: "Largest file that is taken or sent, in bytes or as 10k, 20M, 2G, 1T; 0 for any (default)",
    group: work
  }),
  init: Setting.text({
    metavar: "FILE",
    about: "Module whose init() runs first, and close() last: what init returns are globals of all jobs here",
    group: work
  }),
  "ip-addr": Setting.texts({
    alias: "i",
    metavar: "ADDRESS",
    about: "Address to listen on, may be given more than once (default 127.0.0.1 and ::1, this machine only; with a" +
      " secret or certificate all addresses)",
    group: network
  }),
  port: Setting.whole({
    alias: "p",
    metavar: "PORT",
    about: "TCP port to listen on; 0 for any that is free",
    group: network,
    byDefault: NodeConfig.defaults.port,
    what: "a port",
    least: 0,
    most: 65_535,
    hint: "ports are 1 to 65535, or 0 for any that is free"
  }),
  "ext-ip-addr": Setting.texts({
    metavar: "ADDRESS",
    about: "Address or name that clients are to dial instead, such as that of the NAT gateway; may be given more than" +
      " once",
    group: network
  }),
  "scheduler-node": Setting.texts({
    metavar: "HOST[:PORT]",
    about:
      "Tell a client or scheduler on another network of this node, again and again, by UDP (port 51347 unless told" +
      " otherwise), and dial it by TCP there, so that it can use this node behind NAT; may be given more than once",
    group: network
  }),
  "ping-interval": Setting.seconds({
    metavar: "SECONDS",
    about:
      "How often to announce this node while no client has it (default when it starts only, and to scheduler-node" +
      " every 10)",
    group: network,
    byDefault: 0
  }),
  "ipv4-udp-multicast": Setting.onOff({
    about: "Announce this node, and be found, by multicast instead of broadcast also for IPv4",
    group: network
  }),
  name: Setting.text({ metavar: "NAME", about: "Name that clients see (default the host's name)", group: network }),
  "secret-file": Setting.text({
    metavar: "FILE",
    about: "File with the secret that clients must have, too (default DISPY_SECRET, or what DISPY_SECRET_FILE names)",
    group: network
  }),
  certfile: Setting.text({
    metavar: "FILE",
    about: "Certificate of this node, instead of a secret; without --cafile all programs have the same one",
    group: network
  }),
  keyfile: Setting.text({
    metavar: "FILE",
    about: "Private key of the certificate (default in the same file)",
    group: network
  }),
  cafile: Setting.text({
    metavar: "FILE",
    about: "Authority that the clients' certificates are from",
    group: network
  }),
  insecure: Setting.onOff({
    about:
      "Listen on other than loopback addresses without a secret: everyone who reaches the port can run any code here",
    group: network
  }),
  "msg-timeout": Setting.seconds({
    metavar: "SECONDS",
    about:
      "How long a new connection may take to introduce itself, and a client whose connection broke to be back (default 5)",
    group: network,
    byDefault: 5,
    least: 0.1
  }),
  "max-connections": Setting.whole({
    metavar: "N",
    about: "Connections of clients at the same time; a client has up to four for each of its clusters",
    group: network,
    byDefault: NodeConfig.defaults.maxConnections,
    what: "a number of connections",
    least: 1,
    most: 100_000,
    hint: "1 to 100000"
  }),
  "max-strangers": Setting.whole({
    metavar: "N",
    about: "Connections that have not introduced themselves; with one more the oldest of them is closed",
    group: network,
    byDefault: NodeConfig.defaults.maxStrangers,
    what: "a number of connections",
    least: 1,
    most: 100_000,
    hint: "1 to 100000"
  }),
  "max-failures": Setting.whole({
    metavar: "N",
    about: "Handshakes of one address that may fail per minute, wrong secrets say; more are refused unheard",
    group: network,
    byDefault: NodeConfig.defaults.maxFailures,
    what: "a number of handshakes",
    least: 1,
    most: 1_000_000,
    hint: "1 to 1000000"
  }),
  serve: Setting.whole({
    metavar: "N",
    about: "End after so many computations; -1 for any number, 0 to end at once (with --clean)",
    group: life,
    byDefault: -1,
    what: "a number of computations",
    least: -1,
    most: 1_000_000_000,
    hint: "-1 is any number"
  }),
  "service-start": Setting.timeOfDay({
    metavar: "HH:MM",
    about: "Take jobs from this time of the day on (default now, if one of the next two is given)",
    group: life
  }),
  "service-stop": Setting.timeOfDay({
    metavar: "HH:MM",
    about: "Start no more jobs from this time of the day on, until the next service start",
    group: life
  }),
  "service-end": Setting.timeOfDay({
    metavar: "HH:MM",
    about: "End at this time of the day, as after SIGTERM",
    group: life
  }),
  "drain-grace": Setting.seconds({
    metavar: "SECONDS",
    about: "How long running jobs may go on when the node ends before they are killed (default 5); a second signal" +
      " kills them at once",
    group: life,
    byDefault: 5
  }),
  "zombie-interval": Setting.span("m", {
    metavar: "MINUTES",
    about:
      "How long another client waits for the jobs of one that is gone before they are killed; 0 for as long as they" +
      " run (default 60)",
    group: life,
    byDefault: 60,
    least: 1
  }),
  "keep-results": Setting.span("d", {
    metavar: "DAYS",
    about: "How long results of clients that are gone are kept for them; 0 until they are fetched (default 7)",
    group: life,
    byDefault: 7
  }),
  "client-shutdown": Setting.onOff({ about: "Let clients end this node", group: life }),
  daemon: Setting.onOff({
    about: "Run without a console: never read standard input, outlive the terminal. Stays in the foreground: start it" +
      " with systemd, nohup or &",
    group: life
  }),
  debug: Setting.onOff({ alias: "d", about: "Log in detail", group: life })
}

/** What the options come to. */
export interface NodeOptions extends Settings.Values<typeof table> {
  /** Where each of them was said, for messages. */
  readonly origins: Settings.Merged<typeof table>["origins"]
  /** File to write the options to instead of serving; empty for none. */
  readonly saveTo: string
  readonly clean: boolean
  readonly embedded: boolean
  /** Read commands though standard input is no terminal. */
  readonly console: boolean
}

/** Prefix of environment variables. Without the last letters it would be that of what programs find in theirs. */
const variablePrefix = "DISPYNODE_"

const oneSwitch = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDefault(false), Flag.withoutNegation, Flag.withDescription(description))

/** All flags, in the order of the help. */
const allFlags = {
  ...Options.flagsOf(table),
  clean: oneSwitch("clean", "First end another dispynode of this user on this port, and remove what it left"),
  embedded: Flag.withHidden(oneSwitch(
    "embedded",
    "Internal: serve one client over a unix socket, whose path the ready line tells, until standard input ends"
  )),
  console: Flag.withHidden(oneSwitch("console", "Internal: read commands though standard input is no terminal"))
}

/** Headings of the help, with the flags under each. */
export const groups: Groups = [
  [work, Options.namesIn(table, work)],
  [network, Options.namesIn(table, network)],
  [life, [...Options.namesIn(table, life), "clean"]],
  Options.configurationGroup
]

/** The addresses to listen on that are open to other machines. */
export const openAddresses = (options: Pick<NodeOptions, "ip-addr">): ReadonlyArray<string> =>
  options["ip-addr"].filter((address) => address.toLowerCase() !== "localhost" && !Routes.isLoopback(address))

/** Options that name a file or a directory: in a configuration file they are relative to that. */
const pathNames = ["dest-path-prefix", "init", "secret-file", "certfile", "keyfile", "cafile"] as const

/** What the program was given, on the command line and around it. */
export interface Given extends Options.Given<typeof table> {
  readonly clean: boolean
  readonly saveConfig: string
  readonly embedded: boolean
  readonly console: boolean
}

/** The options as they count, or the first mistake in one sentence. A node embedded in a client has its flags only. */
export const resolve = (given: Given): Result.Result<NodeOptions, string> =>
  Result.map(
    Options.resolve(table, given, { prefix: given.embedded ? "" : variablePrefix, paths: pathNames }),
    ({ origins, values }) => ({
      ...values,
      origins,
      saveTo: given.saveConfig,
      clean: given.clean,
      embedded: given.embedded,
      console: given.console
    })
  )

/** What options and machine come to. */
export interface Checked {
  readonly cpus: number
  readonly hours: ServiceHours.ServiceHours | undefined
  readonly schedulers: ReadonlyArray<Datagram.Place>
}

/** Where the credentials are that the options name, or else the environment. */
export const givenCredentials = (
  options: NodeOptions,
  environment: Given["environment"]
): CredentialsNode.GivenCredentials => {
  const told = (name: "secret-file" | "certfile" | "keyfile" | "cafile"): CredentialsNode.Given | undefined =>
    options[name] === "" ? undefined : { where: options.origins[name], text: options[name] }
  return CredentialsNode.given(
    {
      secretFile: told("secret-file"),
      certfile: told("certfile"),
      keyfile: told("keyfile"),
      cafile: told("cafile")
    },
    environment,
    [variablePrefix, "DISPY_"]
  )
}

/** Checks what depends on the machine, the time of the day or other options. */
export const check = (
  options: NodeOptions,
  credentials: Credentials,
  cores: number,
  minute: number
): Result.Result<Checked, string> =>
  Result.gen(function*() {
    const { origins } = options
    const open = openAddresses(options)[0]
    if (open !== undefined && !options.insecure && credentials._tag === "None") {
      return yield* Result.fail(
        `${origins["ip-addr"]} ${open} would let everyone who reaches it run any code here; make a secret for it` +
          " (dispy keys init) and name that with --secret-file; or if only people you trust can reach it, say so with" +
          " --insecure"
      )
    }
    if (options.insecure && credentials._tag !== "None") {
      return yield* Result.fail(
        `${origins.insecure} with ${describe(credentials)} makes no sense; leave one of them out`
      )
    }
    const schedulers = yield* Places.parse(options["scheduler-node"], Datagram.clientPort, origins["scheduler-node"])
    yield* Places.hosts(options["ext-ip-addr"], origins["ext-ip-addr"])
    const interval = options["ping-interval"]
    if (interval !== 0 && interval < 1) {
      return yield* Result.fail(
        `${origins["ping-interval"]} ${interval} is too short: at least 1 second, or 0 for never`
      )
    }
    const cpus = yield* Result.mapError(CpuCount.resolve(options.cpus, cores), (reason) => `${origins.cpus} ${reason}`)
    const hours = yield* ServiceHours.make({
      start: options["service-start"],
      stop: options["service-stop"],
      end: options["service-end"]
    }, minute)
    return { cpus, hours, schedulers }
  })

/** Writes the options to the file that was named. */
export const save = (options: NodeOptions): Result.Result<void, string> => Settings.save(table, options, options.saveTo)

/** The command with its handler. */
export const command = <E, R>(
  environment: Given["environment"],
  run: (options: NodeOptions) => Effect.Effect<void, E, R>
) =>
  Command.make(
    "dispynode",
    allFlags,
    (
      { clean, config, console, embedded, "save-config": saveConfig, ...settings }
    ): Effect.Effect<void, E | CliError.ValidationError, R> => {
      const resolved = resolve({ flags: settings, clean, config, saveConfig, embedded, console, environment })
      return Result.isSuccess(resolved)
        ? run(resolved.success)
        : Effect.fail(new CliError.ValidationError({ message: resolved.failure }))
    }
  ).pipe(
    Command.withDescription("Offers this machine's cores to dispy clients"),
    Command.withExamples([
      { command: "dispynode", description: "All cores, for programs on this machine" },
      { command: "dispynode --cpus -1 --port 0", description: "Leave one core free, take any port" },
      { command: "dispynode --service-start 18:00 --service-stop 7:30", description: "At night only" }
    ])
  )
