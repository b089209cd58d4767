/**
 * `dispy keys init`: makes a secret for clients and nodes to share, or a small
 * certificate authority with certificates of nodes and clients. The files that
 * were made are on stdout, what to do with them on stderr.
 */
import { Console, Effect, Result } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as path from "node:path"
import * as PeerName from "../../../domain/keys/PeerName.ts"
import * as CertificateAuthority from "../../../layers/keys/CertificateAuthority.ts"
import * as SecretFile from "../../../layers/keys/SecretFile.ts"
import * as CliExit from "../CliExit.ts"

/** Where a secret is put unless a file is named. */
const defaultSecretFile = "dispy.secret"

/** How long certificates of nodes and clients are valid unless told otherwise: dispy's documentation has 1000 days. */
const defaultDays = 1000

/** How long a new authority is valid unless told otherwise: ten years, longer than what it signs. */
const defaultAuthorityDays = 3650

/** A hundred years. */
const mostDays = 36_500

const flags = {
  secret: Flag.Boolean("secret").pipe(
    Flag.withDefault(false),
    Flag.withoutNegation,
    Flag.withDescription("Make a secret (also without this flag)")
  ),
  ca: Flag.String("ca").pipe(
    Flag.withDefault(""),
    Flag.withMetavar("DIR"),
    Flag.withDescription("Make certificates, signed by the authority in this directory, which is made if there is none")
  ),
  node: Flag.String("node").pipe(
    Flag.withMetavar("NAME[,ADDRESS…]"),
    Flag.withDescription(
      "With --ca: a node, with all host names and IP addresses that clients dial it by; may be given more than once"
    ),
    Flag.atLeast(0)
  ),
  client: Flag.String("client").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("With --ca: a client; may be given more than once"),
    Flag.atLeast(0)
  ),
  days: Flag.Int("days").pipe(
    Flag.withDefault(defaultDays),
    Flag.withMetavar("N"),
    Flag.withDescription("How long certificates of nodes and clients are valid, at most as long as the authority's")
  ),
  "ca-days": Flag.Int("ca-days").pipe(
    Flag.withDefault(defaultAuthorityDays),
    Flag.withMetavar("N"),
    Flag.withDescription("How long the certificate of a new authority is valid")
  ),
  force: Flag.Boolean("force").pipe(
    Flag.withDefault(false),
    Flag.withoutNegation,
    Flag.withDescription("Replace a secret or certificates that are there; the authority is never replaced")
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withoutNegation,
    Flag.withDescription("Print what was made as JSON, and no advice")
  ),
  file: Argument.String("file").pipe(
    Argument.withMetavar("FILE"),
    Argument.withDefault(""),
    Argument.withDescription(`File for the secret (default ${defaultSecretFile})`)
  )
}

type Given = Command.Command.Config.Infer<typeof flags>

const secretAdvice = (file: string): string =>
  `A secret of 256 random bits, for your eyes only. Copy it to every machine (with scp, say), then
  on nodes:    dispynode --secret-file ${file}
  on clients:  export DISPY_SECRET_FILE=${path.resolve(file)}
               or createJobCluster(f, { secretFile: "${file}" })`

const makeSecret = Effect.fnUntraced(function*({ file, force, json }: Given) {
  const target = file === "" ? defaultSecretFile : file
  yield* SecretFile.make(target, force)
  if (json) return yield* Console.log(JSON.stringify({ secret: path.resolve(target) }))
  yield* Console.log(target)
  yield* Console.error(secretAdvice(target))
})

const day = (millis: number): string => new Date(millis).toISOString().slice(0, 10)

const authorityAdvice = ({ certificateFile, issued, keyFile }: CertificateAuthority.AuthorityReport): string => {
  const fileOf = (role: PeerName.PeerRole): string =>
    path.basename(issued.find((one) => one.role === role)?.file ?? `${role}-NAME.pem`)
  const ca = path.basename(certificateFile)
  return [
    ...issued.map(({ file, notAfter, role }) =>
      `${path.basename(file)}: ${role === "authority" ? "the authority" : `a ${role}`}, valid until ${day(notAfter)}`
    ),
    `${path.basename(keyFile)} signs for all: it stays here, best on a machine that is neither client nor node.`,
    `Copy ${ca} and a file of its own to every machine (with scp, say), then`,
    `  on nodes:    dispynode --certfile ${fileOf("node")} --cafile ${ca}`,
    `  on clients:  createJobCluster(f, { certfile: "${fileOf("client")}", cafile: "${ca}" })`
  ].join("\n")
}

const json = ({ certificateFile, issued, keyFile }: CertificateAuthority.AuthorityReport): string =>
  JSON.stringify({
    ca: path.resolve(certificateFile),
    caKey: path.resolve(keyFile),
    issued: issued.map(({ file, name, notAfter, role }) => ({
      role,
      name,
      file: path.resolve(file),
      notAfter: new Date(notAfter).toISOString()
    }))
  })

const peersOf = ({ client, node }: Given): Result.Result<ReadonlyArray<PeerName.PeerName>, string> =>
  Result.gen(function*() {
    const peers: Array<PeerName.PeerName> = []
    for (const [role, texts] of [["node", node], ["client", client]] as const) {
      for (const text of texts) {
        const peer = yield* Result.mapError(PeerName.parse(role, text), (error) => error.message)
        const twin = peers.find((other) => PeerName.fileName(other) === PeerName.fileName(peer))
        if (twin !== undefined) return yield* Result.fail(`--${role} ${peer.name} is given twice; give each name once`)
        peers.push(peer)
      }
    }
    return peers
  })

const daysMistake = (given: Given): string | undefined => {
  for (const name of ["days", "ca-days"] as const) {
    if (given[name] < 1 || given[name] > mostDays) return `--${name} ${given[name]} is not from 1 to ${mostDays}`
  }
  return undefined
}

/** What is wrong with the options together. */
const mistake = (given: Given): string | undefined => {
  const hasPeers = given.node.length + given.client.length > 0
  if (given.ca === "") {
    return hasPeers ? "--node and --client make certificates, for which --ca names the directory" : undefined
  }
  if (given.secret) return "--secret and --ca make different things; give one of them"
  if (given.file !== "") {
    return `${given.file} would be the file of a secret, which --ca does not make; leave it out`
  }
  return daysMistake(given)
}

const makeCertificates = Effect.fnUntraced(function*(given: Given) {
  const peers = peersOf(given)
  if (Result.isFailure(peers)) return yield* CliExit.wrongUsage(peers.failure)
  const report = yield* CertificateAuthority.run({
    directory: given.ca,
    peers: peers.success,
    days: given.days,
    authorityDays: given["ca-days"],
    force: given.force
  })
  if (report.issued.length === 0) {
    return yield* CliExit.wrongUsage(
      `${given.ca} has an authority already; say with --node or --client for whom it is to sign`
    )
  }
  if (given.json) return yield* Console.log(json(report))
  for (const { file } of report.issued) yield* Console.log(file)
  yield* Console.error(authorityAdvice(report))
})

const run = Effect.fnUntraced(function*(given: Given) {
  const wrong = mistake(given)
  if (wrong !== undefined) return yield* CliExit.wrongUsage(wrong)
  yield* given.ca === "" ? makeSecret(given) : makeCertificates(given)
})

/** The command. */
export const command = Command.make("init", flags, run).pipe(
  Command.withDescription("Makes a secret, or certificates with an authority of your own"),
  Command.withExamples([
    { command: "dispy keys init", description: `A secret in ${defaultSecretFile}` },
    {
      command: "dispy keys init --ca keys --node alpha,10.0.0.7 --client ada",
      description: "An authority, a node and a client"
    },
    { command: "dispy keys init --ca keys --node beta,10.0.0.8", description: "One more node" }
  ])
)
