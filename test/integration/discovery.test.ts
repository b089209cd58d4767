/** Nodes that are found on networks of their own: real daemons, a real client, and a router between two networks. */
import * as fs from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Built from "../support/Built.ts"
import { eventually } from "../support/Eventually.ts"
import { untilIdle } from "../support/Leftovers.ts"
import * as TwoNetworks from "../support/TwoNetworks.ts"

const missing = TwoNetworks.missing()

describe.skipIf(missing !== undefined)(`networks${missing === undefined ? "" : ` (left out: ${missing})`}`, () => {
  let networks: TwoNetworks.TwoNetworks
  let home = ""

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), "dispy-discovery-"))
    networks = TwoNetworks.make()
  })

  afterEach(async () => {
    await networks.close()
    await rm(home, { recursive: true, force: true })
    await untilIdle()
  })

  const node = (host: string, name: string, ...args: ReadonlyArray<string>) => {
    const directory = join(home, name)
    fs.mkdirSync(directory, { recursive: true })
    return networks.run(host, Built.program("dispynode"), [
      "--daemon",
      "--insecure",
      "--cpus",
      "1",
      "--name",
      name,
      "--dest-path-prefix",
      directory,
      ...args
    ])
  }

  const relay = (host: string, ...args: ReadonlyArray<string>) =>
    networks.run(host, Built.program("dispynetrelay"), ["--insecure", ...args])

  const look = (host: string, options: object, count: number) =>
    networks.run(host, "test/fixtures/integration/finder.ts", [JSON.stringify(options), String(count)])

  const nodesOf = async (client: TwoNetworks.Running): Promise<ReadonlyArray<string>> =>
    JSON.parse((await client.output).split("\n")[1] ?? "{}").nodes

  it("nodes of the client's network are found, by broadcast and by multicast, once each, those that start later too", async () => {
    const client = networks.host(1, 2)
    await Promise.all([
      node(networks.host(1, 11), "a", "--ip-addr", "10.77.1.11"),
      node(networks.host(1, 12), "b", "--ip-addr", "0.0.0.0", "--ip-addr", "::"),
      node(networks.host(1, 13), "c", "--ip-addr", "fd77:1::13"),
      // Not this client's: its network is another.
      node(networks.host(2, 14), "far", "--ip-addr", "10.77.2.14")
    ])
    const late = networks.host(1, 15)
    const looking = await look(client, { nodes: "*" }, 4)
    await node(late, "late", "--ip-addr", "10.77.1.15")
    const found = await nodesOf(looking)
    expect(found.map((one) => one.split(" ")[0])).toEqual(["a", "b", "c", "late"])
    expect(found).toContain("a 10.77.1.11:51348")
    expect(found).toContain("c [fd77:1::13]:51348")
    const one = await look(client, { nodes: "10.77.1.1*" }, 3)
    expect((await nodesOf(one)).map((text) => text.split(" ")[1])).toEqual([
      "10.77.1.11:51348",
      "10.77.1.12:51348",
      "10.77.1.15:51348"
    ])
    const six = await look(client, { nodes: "fd77:*" }, 2)
    expect(await nodesOf(six)).toEqual(["b [fd77:1::12]:51348", "c [fd77:1::13]:51348"])
  })

  it("nodes are found by IPv4 multicast where both sides want it", async () => {
    const client = networks.host(1, 2)
    await node(networks.host(1, 11), "a", "--ip-addr", "10.77.1.11", "--ipv4-udp-multicast")
    await node(networks.host(1, 12), "b", "--ip-addr", "0.0.0.0", "--ipv4-udp-multicast")
    const looking = await look(client, { nodes: "10.77.*", ipv4UdpMulticast: true }, 2)
    expect(await nodesOf(looking)).toEqual(["a 10.77.1.11:51348", "b 10.77.1.12:51348"])
  })

  it("nodes are found on an interface that comes later, and by a node that was without its own for a while", async () => {
    const client = networks.host(1, 2)
    const there = networks.host(1, 11)
    await node(there, "a", "--ip-addr", "0.0.0.0")
    networks.plug(client, false)
    const looking = await look(client, { nodes: "*", pingInterval: "1 second" }, 1)
    networks.plug(there, false)
    networks.plug(client, true)
    networks.plug(there, true)
    expect(await nodesOf(looking)).toEqual(["a 10.77.1.11:51348"])
  })

  it("nodes of another network are found through a relay there, also when it starts again", async () => {
    const client = networks.host(1, 2)
    const there = networks.host(2, 5)
    await node(networks.host(2, 11), "a", "--ip-addr", "10.77.2.11")
    await node(networks.host(2, 12), "b", "--ip-addr", "0.0.0.0")
    await node(there, "same machine", "--ip-addr", "10.77.2.5", "--port", "51348")
    // Another one does no harm.
    await relay(networks.host(2, 6), "--ip-addr", "10.77.2.6")
    for (let i = 0; i < 2; i++) {
      const running = await relay(there, "--ip-addr", "10.77.2.5", "--relay-port", "51350")
      const looking = await look(client, { nodes: ["10.77.2.5:51350", "10.77.2.6", "10.77.2.*"] }, 3)
      expect(await nodesOf(looking)).toEqual([
        "a 10.77.2.11:51348",
        "b 10.77.2.12:51348",
        "same machine 10.77.2.5:51348"
      ])
      await running.stop()
    }
  })

  it("a relay that is listed is missed by nobody, a host where nothing runs is", async () => {
    const client = networks.host(1, 2)
    const there = networks.host(2, 5)
    networks.host(2, 6)
    await node(networks.host(2, 11), "a", "--ip-addr", "10.77.2.11")
    await relay(there, "--ip-addr", "10.77.2.5")
    networks.name(client, "gateway.example", ["10.77.2.5"])
    const looking = await look(client, { nodes: ["10.77.2.5", "gateway.example", "10.77.2.6", "10.77.9.*"] }, 1)
    // Dialled after the relay, and refused as fast.
    await eventually(() => expect(looking.log()).toContain("going on without node 10.77.2.6:51348"))
    expect(looking.log().match(/going on without/g)).toHaveLength(1)
  })

  it("a node tells a client on another network of itself, and a relay of those that it has", async () => {
    const client = networks.host(1, 2)
    const looking = await look(client, { nodes: "10.77.2.*" }, 2)
    await node(networks.host(2, 11), "a", "--ip-addr", "10.77.2.11", "--scheduler-node", "10.77.1.2")
    await node(networks.host(2, 12), "b", "--ip-addr", "10.77.2.12")
    await relay(networks.host(2, 5), "--ip-addr", "10.77.2.5", "--scheduler-node", "10.77.1.2")
    expect(await nodesOf(looking)).toEqual(["a 10.77.2.11:51348", "b 10.77.2.12:51348"])
  })

  it("a name with several addresses is a node for each, with what its entry says, and that makes no noise", async () => {
    const client = networks.host(1, 2)
    await node(networks.host(1, 11), "a", "--ip-addr", "10.77.1.11")
    await node(networks.host(1, 12), "b", "--ip-addr", "10.77.1.12")
    networks.name(client, "workers.example", ["10.77.1.11", "10.77.1.12"])
    const looking = await look(client, { nodes: [["workers.example", 51348, 1]] }, 2)
    const found = await nodesOf(looking)
    expect(found.map((one) => one.split(" ")[0])).toEqual(["a", "b"])
    expect(looking.log()).toBe("")
  })

  it("a client that finds nothing says where it looked and how to check", async () => {
    const client = await look(networks.host(1, 2), { nodes: "192.168.3.*" }, 1)
    await eventually(() => expect(client.log()).toContain("no node found for 192.168.3.*"))
    expect(client.log()).toContain("by UDP at port 51348 of the networks of 10.77.1.2, fd77:1::2")
    expect(client.log()).toContain("--scheduler-node")
  })
})
