/**
 * `dispy doctor`: looks at everything that keeps jobs from running, from this
 * machine as a client and as a node, and says what to do. Exit status 0 only if a
 * job would run: it runs one.
 */
import { Clock, Console, Effect, References, Result } from "effect"
import { Command, Flag } from "effect/cli"
import * as os from "node:os"
import * as path from "node:path"
import * as Diagnosis from "../../../domain/doctor/Diagnosis.ts"
import * as Finding from "../../../domain/doctor/Finding.ts"
import * as NodeAddress from "../../../domain/NodeAddress.ts"
import type { Given, GivenCredentials } from "../../../layers/doctor/CredentialCheck.ts"
import * as DatagramPing from "../../../layers/doctor/DatagramPing.ts"
import * as NodeLinkSocket from "../../../layers/link/NodeLinkSocket.ts"
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

/** A flag if it was given, else a variable if that is set. */
const given = (flag: string, value: string, variable: string, environment: Environment): Given | undefined => {
  if (value !== "") return { where: flag, text: value }
  const said = environment[variable]
  return said === undefined || said === "" ? undefined : { where: variable, text: said }
}

const credentialsOf = (options: Options, environment: Environment): GivenCredentials => {
  const secretFile = given("--secret-file", options["secret-file"], "DISPY_SECRET_FILE", environment)
  return {
    // What is on the command line counts more than any variable.
    secret: secretFile?.where === "--secret-file" ? undefined : given("", "", "DISPY_SECRET", environment),
    secretFile,
    certfile: given("--certfile", options.certfile, "DISPY_CERTFILE", environment),
    keyfile: given("--keyfile", options.keyfile, "DISPY_KEYFILE", environment),
    cafile: given("--cafile", options.cafile, "DISPY_CAFILE", environment)
  }
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
    const prefix = given(
      "--dest-path-prefix",
      options["dest-path-prefix"],
      "DISPYNODE_DEST_PATH_PREFIX",
      environment
    )
    const facts = yield* Gather.facts({
      nodes: nodes.success,
      hasSecurity: options.security,
      credentials: credentialsOf(options, environment),
      destination: prefix === undefined ? os.tmpdir() : path.resolve(prefix.text),
      ping: DatagramPing.make(undefined)
    }).pipe(
      Effect.provide(NodeLinkSocket.layer),
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
