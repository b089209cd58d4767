/**
 * `dispy doctor`: looks at everything that keeps jobs from running, from this
 * machine as a client and as a node, and says what to do. Exit status 0 only if a
 * job would run: it runs one.
 */
import { Clock, Console, Effect, Layer, References, Result } from "effect"
import { Command, Flag } from "effect/cli"
import * as os from "node:os"
import * as path from "node:path"
import * as Diagnosis from "../../../domain/doctor/Diagnosis.ts"
import * as Finding from "../../../domain/doctor/Finding.ts"
import * as NodeAddress from "../../../domain/NodeAddress.ts"
import { datagramKeyOf, none } from "../../../domain/security/Credentials.ts"
import * as DatagramPing from "../../../layers/doctor/DatagramPing.ts"
import * as NodeLinkSocket from "../../../layers/link/NodeLinkSocket.ts"
import * as CredentialsNode from "../../../layers/security/CredentialsNode.ts"
import * as Credentials from "../../../services/Credentials.ts"
import * as CliExit from "../CliExit.ts"
import * as DoctorText from "./DoctorText.ts"
import * as Gather from "./Gather.ts"

const optionalText = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withDefault(""), Flag.withMetavar(metavar), Flag.withDescription(description))

const oneSwitch = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDefault(false), Flag.withoutNegation, Flag.withDescription(description))

const flags = {
  node: Flag.String("node").pipe(
    Flag.withMetavar("HOST[:PORT]"),
    Flag.withDescription("A node to reach and to run a job on; may be given more than once (default \"local\")"),
    Flag.atLeast(0)
  ),
  security: oneSwitch("security", "Also list every listening socket of your dispy processes, and who it lets in"),
  "secret-file": optionalText("secret-file", "FILE", "The secret, as programs get it (or DISPY_SECRET_FILE)"),
  certfile: optionalText("certfile", "FILE", "The client's certificate (or DISPY_CERTFILE)"),
  keyfile: optionalText("keyfile", "FILE", "Its key, if it is in another file (or DISPY_KEYFILE)"),
  cafile: optionalText("cafile", "FILE", "The authority's certificate (or DISPY_CAFILE)"),
  "dest-path-prefix": optionalText(
    "dest-path-prefix",
    "DIR",
    "Where a dispynode on this machine keeps files (or DISPYNODE_DEST_PATH_PREFIX; default the temporary directory)"
  ),
  json: oneSwitch("json", "Print findings and facts as JSON")
}

type Options = Command.Command.Config.Infer<typeof flags>

/** The variables of the environment, by name. */
type Environment = Readonly<Record<string, string | undefined>>

/** What the flags name, else the environment, as clusters read it. */
const credentialsOf = (options: Options, environment: Environment): CredentialsNode.GivenCredentials => {
  const told: { -readonly [K in keyof CredentialsNode.GivenCredentials]?: CredentialsNode.Given } = {}
  for (
    const [name, flag] of [
      ["secretFile", "secret-file"],
      ["certfile", "certfile"],
      ["keyfile", "keyfile"],
      ["cafile", "cafile"]
    ] as const
  ) if (options[flag] !== "") told[name] = { where: `--${flag}`, text: options[flag] }
  return CredentialsNode.given(told, environment, ["DISPY_"])
}

const nodesOf = (texts: ReadonlyArray<string>): Result.Result<ReadonlyArray<NodeAddress.NodeEntry>, string> =>
  Result.all(
    texts.map((text) =>
      Result.mapError(NodeAddress.parse(text, NodeAddress.defaultNodePort), ({ reason }) => `--node ${reason}`)
    )
  )

const hasColours = (environment: Environment): boolean => process.stdout.isTTY && (environment["NO_COLOR"] ?? "") === ""

const run = (environment: Environment) =>
  Effect.fnUntraced(function*(options: Options) {
    const nodes = nodesOf(options.node)
    if (Result.isFailure(nodes)) return yield* CliExit.wrongUsage(nodes.failure)
    const prefix = options["dest-path-prefix"] || (environment["DISPYNODE_DEST_PATH_PREFIX"] ?? "")
    const given = credentialsOf(options, environment)
    // What cannot be used is among the findings, and no node is dialled then.
    const credentials = Result.getOrElse(CredentialsNode.read(given), () => none)
    const link = Layer.provide(NodeLinkSocket.layer, Credentials.layer(credentials))
    const facts = yield* Gather.facts({
      nodes: nodes.success,
      hasSecurity: options.security,
      credentials: given,
      destination: prefix === "" ? os.tmpdir() : path.resolve(prefix),
      ping: DatagramPing.make(datagramKeyOf(credentials))
    }).pipe(
      Effect.provide(link),
      // What goes wrong is in the findings, said once.
      Effect.provideService(References.MinimumLogLevel, "None")
    )
    const findings = Diagnosis.diagnose(facts, yield* Clock.currentTimeMillis)
    const healthy = Finding.isHealthy(findings)
    yield* Console.log(
      options.json
        ? JSON.stringify({ healthy, findings, facts }, undefined, 2)
        : DoctorText.format(findings, hasColours(environment))
    )
    if (!healthy) return yield* new CliExit.ExitWith({ status: 1 })
  })

/** The command. */
export const make = (environment: Environment) =>
  Command.make("doctor", flags, run(environment)).pipe(
    Command.withDescription("Finds what keeps jobs from running, on this machine and on nodes, and says what to do"),
    Command.withExamples([
      { command: "dispy doctor", description: "This machine, as client and as node" },
      { command: "dispy doctor --node alpha --node 10.0.0.7:51400", description: "Two nodes, with a job on each" },
      { command: "dispy doctor --security", description: "Also who could come in by the sockets of your daemons" }
    ])
  )
