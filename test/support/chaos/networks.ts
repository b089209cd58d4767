/**
 * Rows C1, C2, C3, C5 and C9: what networks do between a client and a node, each on a machine of its own in a test
 * network. Rules of `iptables` drop packets in one direction or both; a proxy beside the client delays them.
 */
import { expect } from "vitest"
import type { Request } from "../../fixtures/chaos/client.ts"
import type { Host, Node } from "../networks/Host.ts"
import type { Networks } from "../networks/Topology.ts"
import { pause } from "./ChaosNode.ts"
import * as CountedClient from "./CountedClient.ts"
import * as Faults from "./Faults.ts"
import * as Invariants from "./Invariants.ts"

/** A client and its nodes on a network. */
interface Lan {
  readonly here: Host
  readonly hosts: ReadonlyArray<Host>
  readonly nodes: ReadonlyArray<Node>
  readonly client: CountedClient.CountedClient
  readonly faults: Faults.Faults
}

/** On a host of a test network. */
const on = (host: Host): CountedClient.Starter => (command, args, env) => host.spawn(command, args, env)

type Work = Omit<Request, "ledger" | "report" | "options"> & { readonly options?: Request["options"] }

const aLan = async (networks: Networks, count: number, { options = {}, ...work }: Work): Promise<Lan> => {
  const lan = await networks.network("lan")
  const here = await networks.host("client", lan)
  const hosts: Array<Host> = []
  for (let n = 0; n < count; n++) hosts.push(await networks.host(`node${n}`, lan))
  const nodes = await Promise.all(
    hosts.map((host) => host.node([...host.addressArgs, "--insecure", "--name", host.name, "--cpus", "2"]))
  )
  const client = await CountedClient.start(on(here), here.directory, {
    nodeCount: count,
    ...work,
    options: { nodes: nodes.map(({ address }) => address), logLevel: "warning", ...options }
  })
  return { here, hosts, nodes, client, faults: [] }
}

/** Ends everything, and holds the run against the invariants. */
const finish = async (lan: Lan, mayRunAgain: boolean, errors: ReadonlyArray<string> = []) => {
  const { client, faults, nodes } = lan
  await client.allDone
  const report = await client.close()
  await Promise.all(nodes.map((node) => node.stop()))
  return Invariants.check({ report, client, faults, mayRunAgain, errors })
}

/** Directions in which packets of a node get lost. */
export type Direction = "both" | "in" | "out"

/** How long a partition is, and how often there is one. */
export interface Partitions {
  readonly jobs: number
  readonly millis: number
  readonly seconds: number
  readonly cycles: number
  readonly pulseMillis: number
  readonly direction: Direction
}

/**
 * C1 and C2: a node is cut off again and again. Shorter than five pulses nobody notices more than a pause, and nothing
 * runs twice; longer the node is lost, its jobs run elsewhere, and what it says of them later is not heard.
 */
export const partitions = async (networks: Networks, scale: Partitions): Promise<string> => {
  const { cycles, direction, jobs, millis, pulseMillis, seconds } = scale
  const lan = await aLan(networks, 2, {
    jobs,
    millis,
    window: 20,
    options: { reentrant: true, pulseInterval: pulseMillis }
  })
  const { client, faults, hosts, nodes } = lan
  const isLong = seconds * 1000 > 6 * pulseMillis
  const lostAfter: Array<number> = []
  for (let cycle = 0; cycle < cycles; cycle++) {
    await client.until(client.done() + jobs / cycles / 2)
    const fault = Faults.begin(faults, hosts[0]!.name)
    await hosts[0]!.cut(direction)
    if (isLong) lostAfter.push(await client.nodeIs(nodes[0]!.address, "Closed", fault.from) - fault.from)
    await pause(Math.max(0, seconds * 1000 - (Faults.now() - fault.from)))
    await hosts[0]!.mend()
    if (isLong) await client.nodeIs(nodes[0]!.address, "Initialized", fault.from)
    Faults.end(fault)
    // A node that was not lost has run nothing twice, however late its word came.
    if (!isLong) fault.until = fault.from
  }
  const figures = await finish(lan, isLong)
  expect(figures.finished).toBe(jobs)
  if (!isLong) {
    expect(client.nodes.filter(({ at, status }) => status === "Closed" && at < faults.at(-1)!.from)).toEqual([])
  }
  const pulses = lostAfter.map((after) => after / pulseMillis)
  if (isLong) expect(Math.min(...pulses)).toBeGreaterThan(4)
  const more = isLong ? `lost after ${Math.max(...pulses).toFixed(2)} pulses at most` : "never lost"
  return Invariants.describe(`${direction === "both" ? "C1" : "C2"} (${seconds} s, ${direction})`, figures, more)
}

/**
 * C3: the node is killed behind a partition, so that no packet tells it, while the client has nothing to send. Resolves
 * to how long it took until the client gave up the node, in pulses.
 */
export const halfOpen = async (
  networks: Networks,
  { cycles, pulseMillis }: { readonly cycles: number; readonly pulseMillis: number }
): Promise<string> => {
  const lan = await aLan(networks, 1, { jobs: 4, millis: 0, window: 4, options: { pulseInterval: pulseMillis } })
  const { client, hosts: [host] } = lan
  await client.allDone
  const pulses: Array<number> = []
  let node = lan.nodes[0]!
  for (let cycle = 0; cycle < cycles; cycle++) {
    const from = Faults.now()
    await host!.cut("both")
    await node.stop("SIGKILL")
    pulses.push((await client.nodeIs(node.address, "Closed", from) - from) / pulseMillis)
    await host!.mend()
    const back = Faults.now()
    node = await host!.node([...host!.addressArgs, "--insecure", "--name", host!.name, "--cpus", "2"])
    await client.nodeIs(node.address, "Initialized", back)
  }
  const figures = await finish({ ...lan, nodes: [node] }, false)
  expect(Math.min(...pulses)).toBeGreaterThan(4)
  return Invariants.describe(
    "C3",
    figures,
    `${cycles} times, lost after ${Math.max(...pulses).toFixed(2)} pulses at most`
  )
}

/** C9: the client's machine gets another address under way, and the one before is gone. Nothing is lost, none runs twice. */
export const movedClient = async (
  networks: Networks,
  { cycles, jobs, millis, pulseMillis }: {
    readonly cycles: number
    readonly jobs: number
    readonly millis: number
    readonly pulseMillis: number
  }
): Promise<string> => {
  const lan = await aLan(networks, 1, { jobs, millis, window: 10, options: { pulseInterval: pulseMillis } })
  const { client, here } = lan
  let address = here.ipv4()
  const moved: Array<number> = []
  for (let cycle = 0; cycle < cycles; cycle++) {
    await client.until(client.done() + jobs / cycles / 2)
    const next = `10.213.1.${100 + cycle % 100}`
    // In this order: with the first address of a device, all others of its network go.
    await here.must("ip", ["address", "del", `${address}/24`, "dev", "eth0"])
    await here.must("ip", ["address", "add", `${next}/24`, "dev", "eth0"])
    address = next
    const [from, done] = [Faults.now(), client.done()]
    await client.until(done + 20)
    moved.push((Faults.now() - from) / 1000)
  }
  const figures = await finish(lan, false)
  expect(figures.finished).toBe(jobs)
  expect(client.nodes.filter(({ status }) => status === "Closed")).toHaveLength(1)
  return Invariants.describe(
    "C9",
    figures,
    `${cycles} moves, jobs again after ${Math.max(...moved).toFixed(1)} s at most`
  )
}

/** C5: so many percent of packets get lost, both ways, and all of them take so long. */
export const badLine = async (
  networks: Networks,
  { delayMillis, jitterMillis, jobs, lossPercent, pulseMillis }: {
    readonly jobs: number
    readonly lossPercent: number
    readonly delayMillis: number
    readonly jitterMillis: number
    readonly pulseMillis: number
  }
): Promise<string> => {
  const lan = await aLan(networks, 1, {
    jobs,
    millis: 0,
    window: 200,
    line: { delayMillis, jitterMillis },
    // Where a fifth of all packets is lost, a connection may well be silent for a while.
    options: { reentrant: true, pulseInterval: pulseMillis }
  })
  const { client, faults, here, hosts: [host] } = lan
  await host!.impair({ lossPercent })
  await here.impair({ lossPercent })
  const fault = Faults.begin(faults, host!.name)
  const from = Faults.now()
  await client.allDone
  const seconds = (Faults.now() - from) / 1000
  Faults.end(fault)
  const deaths = client.nodes.filter(({ status }) => status === "Closed").length
  const figures = await finish(lan, true)
  expect(figures.finished).toBe(jobs)
  // No false death at 5 %.
  if (lossPercent <= 5) expect([deaths, figures.executions]).toEqual([0, jobs])
  return Invariants.describe(
    `C5 (${lossPercent} % lost, ${delayMillis} ± ${jitterMillis} ms)`,
    figures,
    `${(jobs / seconds).toFixed(0)} jobs/s, ${deaths} times lost`
  )
}
