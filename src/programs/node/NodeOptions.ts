/** The command line of `dispynode`: its flags, and the checks that need no I/O. */
import { type Effect, Result } from "effect"
import { Command, Flag } from "effect/cli"
import * as CpuCount from "../../domain/node/CpuCount.ts"
import * as NodeConfig from "../../services/NodeConfig.ts"

/** What the flags say. */
export interface NodeOptions {
  readonly cpus: number
  readonly addresses: ReadonlyArray<string>
  readonly port: number
  readonly name: string
  readonly prefix: string
  readonly drainGrace: number
  readonly daemon: boolean
  readonly debug: boolean
  readonly insecure: boolean
  readonly embedded: boolean
}

const loopback = /^(localhost|127(\.\d{1,3}){3}|::1)$/i

/** The flags, in the order of the help. */
export const flags = {
  cpus: Flag.Int("cpus").pipe(
    Flag.withAlias("c"),
    Flag.withDefault(0),
    Flag.withMetavar("N"),
    Flag.withDescription("Jobs that run at the same time: 0 for one per core, negative to leave that many cores free")
  ),
  addresses: Flag.String("ip-addr").pipe(
    Flag.withAlias("i"),
    Flag.atLeast(0),
    Flag.withMetavar("ADDRESS"),
    Flag.withDescription(
      "Address to listen on, may be given more than once (default 127.0.0.1 and ::1, this machine" +
        " only)"
    )
  ),
  port: Flag.Int("port").pipe(
    Flag.withAlias("p"),
    Flag.withDefault(NodeConfig.defaults.port),
    Flag.withMetavar("PORT"),
    Flag.withDescription("TCP port to listen on; 0 for any that is free")
  ),
  name: Flag.String("name").pipe(
    Flag.withDefault(""),
    Flag.withMetavar("NAME"),
    Flag.withDescription("Name that clients see (default the host's name)")
  ),
  prefix: Flag.String("dest-path-prefix").pipe(
    Flag.withDefault(""),
    Flag.withMetavar("DIR"),
    Flag.withDescription(
      "Directory for the files of computations (below it, in dispy-USER/node;" +
        " default the temporary directory)"
    )
  ),
  drainGrace: Flag.Finite("drain-grace").pipe(
    Flag.withDefault(5),
    Flag.withMetavar("SECONDS"),
    Flag.withDescription(
      "How long running jobs may go on after SIGTERM or SIGINT before they are killed; a second" +
        " signal kills them at once"
    )
  ),
  daemon: Flag.Boolean("daemon").pipe(
    Flag.withDefault(false),
    Flag.withoutNegation,
    Flag.withDescription(
      "Run without a console: never read standard input, outlive the terminal. Stays in the" +
        " foreground: start it with systemd, nohup or &"
    )
  ),
  insecure: Flag.Boolean("insecure").pipe(
    Flag.withDefault(false),
    Flag.withoutNegation,
    Flag.withDescription(
      "Listen on other than loopback addresses without a secret: everyone who reaches the port can" +
        " run any code here"
    )
  ),
  debug: Flag.Boolean("debug").pipe(
    Flag.withAlias("d"),
    Flag.withDefault(false),
    Flag.withoutNegation,
    Flag.withDescription("Log in detail")
  ),
  embedded: Flag.Boolean("embedded").pipe(
    Flag.withDefault(false),
    Flag.withoutNegation,
    Flag.withHidden,
    Flag.withDescription(
      "Internal: serve one client over a unix socket, whose path the ready line tells, until standard" +
        " input ends"
    )
  )
}

/** What is wrong with the options, as one sentence; else the number of slots. */
export const check = (options: NodeOptions, cores: number): Result.Result<number, string> => {
  if (options.port < 0 || options.port > 65535) {
    return Result.fail(`--port ${options.port} is not a port; ports are 1 to 65535, or 0 for any that is free`)
  }
  if (!(options.drainGrace >= 0)) return Result.fail(`--drain-grace ${options.drainGrace} is less than no time`)
  const open = options.addresses.find((address) => !loopback.test(address))
  if (open !== undefined && !options.insecure) {
    return Result.fail(
      `--ip-addr ${open} would let everyone who reaches it run any code here; if only people you trust can, say so` +
        " with --insecure, else leave --ip-addr out and forward the port with ssh"
    )
  }
  return Result.mapError(CpuCount.resolve(options.cpus, cores), (reason) => `--cpus ${reason}`)
}

/** The addresses to listen on that are open to other machines. */
export const openAddresses = (options: NodeOptions): ReadonlyArray<string> =>
  options.addresses.filter((address) => !loopback.test(address))

/** The command with its handler. */
export const command = <E, R>(run: (options: NodeOptions) => Effect.Effect<void, E, R>) =>
  Command.make("dispynode", flags, run).pipe(
    Command.withDescription("Offers this machine's cores to dispy clients"),
    Command.withExamples([
      { command: "dispynode", description: "All cores, for programs on this machine" },
      { command: "dispynode --cpus -1 --port 0", description: "Leave one core free, take any port" }
    ])
  )
