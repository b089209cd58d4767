/** Nodes that nobody can dial: they are behind NAT, where nothing is forwarded, and dial their clients. */
import { Effect, Result } from "effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, expect, it } from "vitest"
import * as PeerName from "../../src/domain/keys/PeerName.ts"
import * as CertificateAuthority from "../../src/layers/keys/CertificateAuthority.ts"
import type { Outcome, Request } from "../fixtures/networks/client.ts"
import { eventually } from "../support/Eventually.ts"
import { untilIdle } from "../support/Leftovers.ts"
import * as Networks from "../support/Networks.ts"
import type { Host } from "../support/networks/Host.ts"
import type * as Topology from "../support/networks/Topology.ts"

const finder = fileURLToPath(new URL("../fixtures/integration/finder.ts", import.meta.url))

afterAll(untilIdle)

/** A client outside, and hosts behind a gateway that lets nobody in. */
const office = async ({ host, network, router }: Topology.Networks, ...names: ReadonlyArray<string>) => {
  const [world, inside] = [await network("world"), await network("office")]
  const client = await host("client", world)
  const hosts: Array<Host> = []
  for (const name of names) hosts.push(await host(name, inside))
  const gateway = await router("gateway", [world, inside], { masquerade: world })
  return { client, hosts, gateway: gateway.ipv4("world") }
}

/** What every job of the client program has when nothing is missing. */
const everything = {
  status: "Finished",
  text: "hello from job 1",
  provisional: [1, 2],
  arrived: ["argument", "result", "file there", "file back"]
}

const expectAll = (outcome: Outcome, machine: string): void => {
  expect(outcome.log).toBe("")
  expect(outcome.jobs).toEqual([{ ...everything, machine, stdout: `job 1 on ${machine}\n` }])
}

const write = (host: Host, name: string, text: string): string => {
  const file = join(host.directory, name)
  writeFileSync(file, text, { mode: 0o600 })
  return file
}

/** Hosts share their file system, so that one file is everybody's. */
const secretOf = (host: Host): string => write(host, "secret", "correct horse battery staple")

const lineOf = (stream: NodeJS.ReadableStream): Promise<string> =>
  new Promise((resolve) => {
    let text = ""
    stream.on("data", (piece: Buffer) => {
      text += piece.toString()
      if (text.includes("\n")) resolve(text.split("\n")[0]!)
    })
  })

/** A client that looks for nodes from now on; `nodes` are those it had when there were so many. */
const looking = async (client: Host, options: Request["options"], count: number) => {
  const program = client.spawn(process.execPath, [finder, JSON.stringify(options), String(count)])
  let [output, log] = ["", ""]
  program.stderr.on("data", (piece: Buffer) => {
    log += piece.toString()
  })
  program.stdout.on("data", (piece: Buffer) => {
    output += piece.toString()
  })
  await lineOf(program.stdout)
  return {
    ended: program.ended,
    kill: () => program.kill("SIGTERM"),
    log: () => log,
    nodes: async (): Promise<ReadonlyArray<string>> => {
      await program.ended
      return JSON.parse(output.split("\n")[1] ?? "{}").nodes
    }
  }
}

const insecure = ["--insecure"]

Networks.suite("a node behind NAT", ["iptables"], (networks) => {
  it("is used by a client that it dials: values and files go both ways, over several connections", async () => {
    const { client, gateway, hosts: [alpha] } = await office(networks(), "alpha")
    const node = await alpha!.node([...insecure, "--scheduler-node", client.ipv4()])
    const outcome = await client.client({
      options: { nodes: "*", insecure: true },
      sendFileTo: ["alpha"],
      sizeBytes: 6_000_000
    })
    expectAll(outcome, "alpha")
    expect(outcome.sentFiles).toEqual(["alpha"])
    expect(outcome.nodes).toEqual([{ ipAddr: gateway, state: "ready" }])
    expect(await node.stop()).toBe(0)
  })

  it("and its client need a secret, or to be told that they need none", async () => {
    const { client, hosts: [alpha, beta] } = await office(networks(), "alpha", "beta")
    const secretFile = secretOf(client)
    // Neither dials out without one nor is heard by those who have none.
    const closed = await alpha!.node(["--scheduler-node", client.ipv4()])
    const open = await beta!.node(["--secret-file", secretFile, "--scheduler-node", client.ipv4()])
    await eventually(() => expect(closed.log()).toContain("without a secret, a certificate or --insecure"))
    const outcome = await client.client({ options: { nodes: "*", secretFile } })
    expectAll(outcome, "beta")
    expect(await Promise.all([closed.stop(), open.stop()])).toEqual([0, 0])
    expect(open.log()).not.toContain("WARN")
  })

  it("hears why a client does not take it, and the client says it once", async () => {
    const { client, hosts: [alpha] } = await office(networks(), "alpha")
    const other = write(client, "other", "another secret, as long as that")
    const node = await alpha!.node(["--secret-file", other, "--scheduler-node", client.ipv4()])
    const search = await looking(client, { nodes: "*", secretFile: secretOf(client) }, 1)
    await eventually(() => expect(node.log()).toContain("signed with another secret"))
    await eventually(() => expect(search.log()).toContain("closed a connection that a node wanted to park"))
    expect(search.log().split("wanted to park")).toHaveLength(2)
  })

  it("is known by its certificate", async () => {
    const { client, hosts: [alpha, beta] } = await office(networks(), "alpha", "beta")
    const directory = join(client.directory, "keys")
    const peers = [PeerName.parse("node", "alpha"), PeerName.parse("client", "me")].map(Result.getOrThrow)
    await Effect.runPromise(CertificateAuthority.run({ directory, peers, days: 10, authorityDays: 10, force: false }))
    const file = (name: string): string => join(directory, `${name}.pem`)
    const args = ["--certfile", file("node-alpha"), "--cafile", file("ca"), "--scheduler-node", client.ipv4()]
    await alpha!.node(args)
    const options = { nodes: "*", certfile: file("client-me"), cafile: file("ca") }
    expectAll(await client.client({ options }), "alpha")

    // Another machine's certificate is not enough.
    await beta!.node(args)
    const search = await looking(client, { ...options, nodes: "beta*" }, 1)
    await eventually(() => expect(search.log()).toContain("its certificate is for another host"))
  })

  it("is one of several behind the same gateway, in whatever order all start, and again when they do", async () => {
    const { client, gateway, hosts } = await office(networks(), "alpha", "beta")
    const secretFile = secretOf(client)
    const args = ["--secret-file", secretFile, "--scheduler-node", client.ipv4()]
    const [alpha, beta] = hosts as [Host, Host]
    const first = await alpha.node(args)
    const search = await looking(client, { nodes: "*", secretFile }, 2)
    await beta.node(args)
    const all = [`alpha alpha@${gateway}:51348`, `beta beta@${gateway}:51348`]
    expect(await search.nodes()).toEqual(all)

    // Another client, with the same nodes; then one of them starts again.
    const again = await looking(client, { nodes: ["*"], secretFile }, 2)
    expect(await again.nodes()).toEqual(all)
    expect(await first.stop()).toBe(0)
    const third = await looking(client, { nodes: "*", secretFile }, 2)
    await alpha.node(args)
    expect(await third.nodes()).toEqual(all)
  })
})

Networks.suite("a client listens for nodes that dial it", [], (networks) => {
  const [everywhere, loopback] = [["0.0.0.0", "::"], ["127.0.0.1", "::1"]]

  it.each<[string, (client: Host) => Request["options"], (client: Host) => ReadonlyArray<string>]>([
    ["on loopback only, without a secret", () => ({ nodes: "*" }), () => loopback],
    ["everywhere, with a secret", (client) => ({ nodes: "*", secretFile: secretOf(client) }), () => everywhere],
    ["everywhere, when it is to be insecure", () => ({ nodes: "*", insecure: true }), () => everywhere],
    [
      "on the address that is said",
      (client) => ({ nodes: "*", secretFile: secretOf(client), ipAddr: client.ipv6() }),
      (client) => [client.ipv6()]
    ],
    ["nowhere, when that is open to others", (client) => ({ nodes: "*", ipAddr: client.ipv4() }), () => []],
    ["nowhere, when it looks for none", (client) => ({ nodes: "127.0.0.1", secretFile: secretOf(client) }), () => []]
  ])("%s", async (_, optionsOf, expectedOf) => {
    const { host, network } = networks()
    const client = await host("client", await network("lan", "both"))
    await client.untilUp()
    const options = optionsOf(client)
    const search = await looking(client, options, 1)
    const at = (protocol: "tcp" | "udp") =>
      client.listening().filter((one) => one.protocol === protocol && one.port === 51347).map(({ address }) => address)
    // It hears announcements from the same time on.
    if (options.nodes === "*") await eventually(() => expect(at("udp")).not.toEqual([]))
    await eventually(() => expect(at("tcp")).toEqual(expectedOf(client)))
    search.kill()
    await search.ended
    expect(client.listening()).toEqual([])
  })
})
