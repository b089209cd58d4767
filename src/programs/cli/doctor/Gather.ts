/** Gathers what `dispy doctor` judges, on this machine and from the nodes that are listed. */
import { Effect } from "effect"
import * as Datagram from "../../../domain/discovery/Datagram.ts"
import type { Facts, NodeFacts, UdpFact } from "../../../domain/doctor/Facts.ts"
import * as NodeAddress from "../../../domain/NodeAddress.ts"
import { protocolVersion } from "../../../domain/NodeInfo.ts"
import { packageVersion } from "../../../domain/Version.ts"
import * as CredentialCheck from "../../../layers/doctor/CredentialCheck.ts"
import * as Destination from "../../../layers/doctor/Destination.ts"
import * as Interfaces from "../../../layers/doctor/Interfaces.ts"
import * as NodeProbe from "../../../layers/doctor/NodeProbe.ts"
import * as OpenSockets from "../../../layers/doctor/OpenSockets.ts"
import * as SocketSecurity from "../../../layers/doctor/SocketSecurity.ts"
import type * as CredentialsNode from "../../../layers/security/CredentialsNode.ts"
import type { NodeLink } from "../../../services/NodeLink.ts"
import * as NodeTrial from "./NodeTrial.ts"

/** The ports that are looked at on this machine. */
const dispyPorts: ReadonlyArray<OpenSockets.DispyPort> = [
  { transport: "tcp", port: NodeAddress.defaultNodePort, side: "node" },
  { transport: "udp", port: NodeAddress.defaultNodePort, side: "node" },
  { transport: "udp", port: Datagram.clientPort, side: "client" },
  { transport: "tcp", port: Datagram.clientPort, side: "client" }
]

/** Nodes that are looked at at the same time. */
const concurrency = 8

type TcpAddress = Extract<NodeAddress.NodeAddress, { readonly _tag: "Tcp" }>

/** Sends a datagram to a node, and tells what comes back. */
export type Ping = (address: TcpAddress) => Effect.Effect<UdpFact>

/** What to look at. */
export interface Wanted {
  /** Nodes of the user; empty for this machine's own, started for the purpose. */
  readonly nodes: ReadonlyArray<NodeAddress.NodeEntry>
  readonly hasSecurity: boolean
  readonly credentials: CredentialsNode.GivenCredentials
  /** Directory under which dispynode keeps files. */
  readonly destination: string
  readonly ping: Ping
}

const local = Effect.fnUntraced(function*({ credentials }: Wanted, isArmed: boolean): Effect.fn.Return<NodeFacts> {
  const job = isArmed ? yield* NodeTrial.run("local", credentials) : undefined
  return { address: "local", tcp: undefined, hello: undefined, udp: undefined, job }
})

/** Each step only where the one before went well: what is behind a closed door is not known. */
const remote = Effect.fnUntraced(function*(
  entry: TcpAddress,
  { credentials, ping }: Wanted,
  isArmed: boolean
): Effect.fn.Return<NodeFacts, never, NodeLink> {
  const address = NodeAddress.format(entry)
  const [udp, tcp] = yield* Effect.all([ping(entry), NodeProbe.tcp(entry)], { concurrency: 2 })
  if (tcp._tag === "NotConnected" || !isArmed) return { address, tcp, hello: undefined, udp, job: undefined }
  const hello = yield* NodeProbe.hello(entry)
  const canRun = hello._tag === "Greeted" && hello.cpus > 0
  return { address, tcp, hello, udp, job: canRun ? yield* NodeTrial.run(address, credentials) : undefined }
})

/** Gathers everything that is wanted. */
export const facts = Effect.fn("Doctor.facts")(function*(wanted: Wanted): Effect.fn.Return<Facts, never, NodeLink> {
  const { destination, hasSecurity, nodes } = wanted
  // Before any socket of its own is open.
  const sockets = yield* OpenSockets.all
  const security = hasSecurity && sockets !== undefined ? yield* SocketSecurity.inspect(sockets) : undefined
  const credentials = yield* CredentialCheck.check(wanted.credentials)
  // With credentials that cannot be used nothing is said to nodes: they would refuse it for the wrong reason.
  const isArmed = credentials.refusal === ""
  return {
    versions: { node: process.versions.node, dispy: packageVersion, protocol: protocolVersion },
    interfaces: yield* Interfaces.all,
    ports: sockets === undefined ? undefined : OpenSockets.portFacts(sockets, dispyPorts),
    credentials,
    destination: yield* Destination.check(destination),
    nodes: nodes.length === 0
      ? [yield* local(wanted, isArmed)]
      : yield* Effect.forEach(
        nodes,
        (node) => node._tag === "Local" ? local(wanted, isArmed) : remote(node, wanted, isArmed),
        {
          concurrency
        }
      ),
    sockets: security
  }
})
