/** A network on which datagrams of UDP get lost, and clients there that look for nodes. */
import * as fs from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Host, Impairment, Node } from "./networks/Host.ts"
import type { Family, Networks } from "./networks/Topology.ts"

const finder = fileURLToPath(new URL("../fixtures/integration/finder.ts", import.meta.url))

/** Status of `timeout` when it has ended its program. */
const outOfTime = 124

/** The network. */
export interface LossyNetwork {
  readonly nodes: ReadonlyArray<Node>
  /** A host where no program runs and which nothing befalls. */
  readonly stranger: Host
  /**
   * Runs a client until it has found and connected to all nodes, or for 20 seconds; how long that took, infinitely long
   * when it did not, and what it logged.
   */
  readonly find: () => Promise<{ readonly millis: number; readonly log: string }>
}

/** A network with a client, nodes with a secret, and a stranger; the impairment befalls all but the latter. */
export const make = async (
  { host, network }: Networks,
  family: Family,
  count: number,
  impairment: Impairment
): Promise<LossyNetwork> => {
  const lan = await network("lan", family)
  const [stranger, client] = [await host("stranger", lan), await host("client", lan)]
  const secretFile = join(client.directory, "secret")
  fs.writeFileSync(secretFile, "correct horse battery staple", { mode: 0o600 })
  const hosts = await Promise.all(Array.from({ length: count }, (_, number) => host(`node${number}`, lan)))
  const nodes = await Promise.all(hosts.map((one) => one.node([...one.addressArgs, "--secret-file", secretFile])))
  await Promise.all([client, ...hosts].map((one) => one.impair(impairment)))
  return {
    nodes,
    stranger,
    find: async () => {
      const options = JSON.stringify({ nodes: "*", secretFile })
      const args = ["60", process.execPath, finder, options, String(count)]
      const { status, stderr, stdout } = await client.run("timeout", args)
      if (status === outOfTime) return { millis: Infinity, log: stderr }
      if (status !== 0) throw new Error(`the client ended with ${status}: ${stderr}${stdout}`)
      return { millis: (JSON.parse(stdout.split("\n")[1]!) as { readonly millis: number }).millis, log: stderr }
    }
  }
}
