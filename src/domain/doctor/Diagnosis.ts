/** What the facts mean: findings, each with a fix. No I/O, no clock. */
import type { CredentialFacts, DestinationFacts, Facts, InterfaceFact, PortFact, VersionFacts } from "./Facts.ts"
import { type Finding, isHealthy, ok, problem, warning } from "./Finding.ts"
import * as NodeDiagnosis from "./NodeDiagnosis.ts"
import * as SocketDiagnosis from "./SocketDiagnosis.ts"

const versions = ({ dispy, node, protocol }: VersionFacts): Finding =>
  ok("versions", `dispy ${dispy} (protocol ${protocol}) on Node ${node}`)

const interfaces = (all: ReadonlyArray<InterfaceFact>): ReadonlyArray<Finding> => {
  const outside = all.filter(({ addresses, isInternal }) => !isInternal && addresses.length > 0)
  if (outside.length === 0) {
    return [
      warning(
        "network",
        "no interface has an address that other machines reach, so only this machine can be used",
        "connect the machine to a network, or look at `ip address` for what keeps an interface down"
      )
    ]
  }
  return outside.map(({ addresses, name }) => ok("network", `interface ${name} has ${addresses.join(", ")}`))
}

const portName = ({ port, transport }: PortFact): string => `port ${port} ${transport.toUpperCase()}`

const port = (fact: PortFact): Finding => {
  const { holder, isTaken, side } = fact
  const name = portName(fact)
  const use = side === "node" ? "a dispynode on this machine" : "a client on this machine"
  if (!isTaken) return ok("ports", `${name} is free for ${use}`)
  if (holder?.isDispy === true) {
    return ok("ports", `${name} is ${holder.program}'s (pid ${holder.pid}), as it should be`)
  }
  const who = holder === undefined ? "a process of another user" : `${holder.program} (pid ${holder.pid})`
  if (side === "client" && fact.transport === "tcp") {
    return warning(
      "ports",
      `${name} is taken by ${who}, so that nodes that dial out do not reach ${use}`,
      "end that program; all other nodes are found without this port"
    )
  }
  return side === "node"
    ? warning(
      "ports",
      `${name} is taken by ${who}, so that ${use} cannot use it`,
      "end that program, or start dispynode with --port and list the node with that port"
    )
    : warning(
      "ports",
      `${name} is taken by ${who}: unless that is a client of dispy, which shares it, ${use} does not hear nodes that` +
        " announce themselves",
      "end that program, or list the nodes by address"
    )
}

const unseen = warning(
  "ports",
  "this system does not tell which ports are taken and which sockets are open; only Linux does",
  "look with `lsof -i :51348`"
)

/** Characters that a secret must have. */
const leastSecret = 16

const credentials = (facts: CredentialFacts, now: number): ReadonlyArray<Finding> => {
  const findings: Array<Finding> = []
  for (const { file, isPrivate, mode, unreadable, where } of facts.files) {
    if (unreadable !== "") {
      findings.push(problem(
        "credentials",
        `${where} ${file} cannot be read: ${unreadable}`,
        "correct the path, or make the file with `dispy keys init`"
      ))
    } else if (isPrivate && (mode & 0o077) !== 0) {
      findings.push(problem(
        "credentials",
        `${where} ${file} can be read by other users (mode ${mode.toString(8)}), who then can run code on the nodes`,
        `chmod 600 ${file}, and make a new one if others may have seen it`
      ))
    } else findings.push(ok("credentials", `${where} ${file} is readable${isPrivate ? ", by its owner only" : ""}`))
  }
  if (facts.secret !== undefined) {
    const { characters, where } = facts.secret
    findings.push(
      characters < leastSecret
        ? problem(
          "credentials",
          `the secret from ${where} has ${characters} characters, of ${leastSecret} that it must have`,
          "make a good one with `dispy keys init`"
        )
        : ok("credentials", `the secret from ${where} has ${characters} characters`)
    )
  }
  for (const { file, notAfter, notBefore, subject, where } of facts.certificates) {
    findings.push(
      SocketDiagnosis.validity(
        "credentials",
        `the certificate ${subject} in ${where} ${file}`,
        notBefore,
        notAfter,
        now
      )
    )
  }
  findings.push(...facts.mismatches.map(({ fix, message }) => problem("credentials", message, fix)))
  if (facts.kind === "both") {
    findings.push(problem(
      "credentials",
      "both a secret and a certificate are given, and only one of them can be used",
      "leave one out: options of the command line and variables of the environment (DISPY_SECRET…) both count"
    ))
  }
  if (facts.refusal !== "" && isHealthy(findings)) {
    findings.push(problem("credentials", facts.refusal, "make new ones with `dispy keys init`"))
  }
  if (facts.kind === "none") {
    findings.push(ok(
      "credentials",
      "neither a secret nor a certificate: good for nodes on this machine and tunnels of ssh; `dispy keys init` makes them"
    ))
  }
  return findings
}

const destination = ({ directory, freeBytes, unusable }: DestinationFacts): Finding => {
  if (unusable !== "") {
    return problem(
      "disk",
      `a dispynode on this machine cannot keep its files in ${directory}: ${unusable}`,
      "make room or give this user the right to write there, or choose another directory with --dest-path-prefix"
    )
  }
  return NodeDiagnosis.isNearlyFull(freeBytes)
    ? warning(
      "disk",
      `${directory} has ${NodeDiagnosis.size(freeBytes)} left, which large files of jobs soon fill`,
      "make room, or choose another directory with --dest-path-prefix"
    )
    : ok("disk", `${directory} can be written to and has ${NodeDiagnosis.size(freeBytes)} left`)
}

/** The findings, in the order in which people read them. `now` is in milliseconds since 1970. */
export const diagnose = (facts: Facts, now: number): ReadonlyArray<Finding> => [
  versions(facts.versions),
  ...interfaces(facts.interfaces),
  ...(facts.ports === undefined ? [unseen] : facts.ports.map(port)),
  ...credentials(facts.credentials, now),
  destination(facts.destination),
  ...facts.nodes.flatMap(NodeDiagnosis.diagnose),
  ...(facts.sockets === undefined ? [] : SocketDiagnosis.diagnose(facts.sockets, now))
]
