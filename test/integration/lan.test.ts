/** Clusters that find their nodes on networks of every kind, and several of them on one network. */
import { Effect, Result } from "effect"
import * as fs from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, expect, it } from "vitest"
import * as PeerName from "../../src/domain/keys/PeerName.ts"
import * as CertificateAuthority from "../../src/layers/keys/CertificateAuthority.ts"
import type { Outcome } from "../fixtures/networks/client.ts"
import type * as Many from "../fixtures/networks/many.ts"
import * as Built from "../support/Built.ts"
import { eventually } from "../support/Eventually.ts"
import { untilIdle } from "../support/Leftovers.ts"
import * as ManyNodes from "../support/ManyNodes.ts"
import * as Networks from "../support/Networks.ts"
import type { Host, Node } from "../support/networks/Host.ts"

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const many = path("test/fixtures/networks/many.ts")
const [finder, holder] = [path("test/fixtures/integration/finder.ts"), path("test/fixtures/integration/holder.ts")]

afterAll(untilIdle)

/** Asserts that all that goes between a client and these nodes has arrived, and that nobody complained. */
const expectEverything = ({ jobs, log, sentFiles }: Outcome, machines: ReadonlyArray<string>): void => {
  expect(log).toBe("")
  expect(sentFiles).toEqual(machines)
  expect([...new Set(jobs.map(({ machine }) => machine))].toSorted()).toEqual(machines)
  for (const { arrived, provisional, status } of jobs) {
    expect([status, provisional, arrived.length]).toEqual(["Finished", [1, 2], 4])
  }
}

const secretFor = (host: Host, text: string): string => {
  const file = join(host.directory, "secret")
  fs.writeFileSync(file, text, { mode: 0o600 })
  return file
}

/** Starts a program and waits for its first line. */
const started = async (host: Host, args: ReadonlyArray<string>, env?: Record<string, string>) => {
  const program = host.spawn(process.execPath, args, env)
  let log = ""
  program.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text
  })
  await new Promise<void>((resolve, reject) => {
    program.stdout.once("data", () => resolve())
    void program.ended.then((status) => reject(new Error(`it ended with ${status}: ${log}`)))
  })
  return program
}

Networks.suite("with a secret, in a network of", [], (networks) => {
  it.each(["ipv6", "both"] as const)(
    "%s, nodes are found by a pattern and a cluster has everything",
    async (family) => {
      const { host, network } = networks()
      const lan = await network("lan", family)
      const [client, alpha, beta] = [await host("client", lan), await host("alpha", lan), await host("beta", lan)]
      const secretFile = secretFor(client, "correct horse battery staple")
      await Promise.all(
        [alpha, beta].map((one) => one.node([...one.addressArgs, "--secret-file", secretFile]))
      )
      const outcome = await client.client({
        options: { nodes: "*", secretFile },
        nodeCount: 2,
        jobs: 2,
        sendFileTo: ["alpha", "beta"]
      })
      expectEverything(outcome, ["alpha", "beta"])
      // By whichever address each was found, it is one node.
      expect(outcome.nodes.filter(({ state }) => state === "ready")).toHaveLength(2)
    }
  )
})

Networks.suite("with certificates, in networks of IPv6 only,", [], (networks) => {
  it("nodes beyond a router are found through a relay and a cluster has everything", async () => {
    const { host, network, router } = networks()
    const [near, far] = [await network("near", "ipv6"), await network("far", "ipv6")]
    const [client, alpha, gate] = [await host("client", near), await host("alpha", far), await host("gate", far)]
    await router("between", [near, far])
    const peers = [
      Result.getOrThrow(PeerName.parse("node", `alpha,${alpha.ipv6()}`)),
      Result.getOrThrow(PeerName.parse("client", "me"))
    ]
    const directory = join(client.directory, "keys")
    await Effect.runPromise(CertificateAuthority.run({ directory, peers, days: 2, authorityDays: 2, force: false }))
    const cafile = join(directory, "ca.pem")
    const credentials = ["--certfile", join(directory, "node-alpha.pem"), "--cafile", cafile]
    await alpha.node([...alpha.addressArgs, ...credentials])
    await started(gate, [Built.program("dispynetrelay"), "--insecure", "--ip-addr", gate.ipv6()])
    const certfile = join(directory, "client-me.pem")
    const outcome = await client.client({
      options: { nodes: [gate.ipv6(), "fd00:213:2:*"], certfile, cafile },
      sendFileTo: ["alpha"]
    })
    expectEverything(outcome, ["alpha"])
  })
})

/** Starts a client of all nodes that it can find, which runs jobs on so many. */
const manyJobs = (host: Host, request: Pick<Many.Request, "jobs" | "nodeCount" | "options">) => {
  const directory = join(host.directory, "jobs")
  fs.mkdirSync(directory)
  const program = host.spawn(process.execPath, [many, JSON.stringify({ ...request, directory })])
  let [log, output] = ["", ""]
  program.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text
  })
  program.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text
  })
  return {
    log: () => log,
    /** What its jobs did so far. */
    traces: () => ManyNodes.tracesIn(directory, request.jobs),
    outcome: async () => {
      expect([await program.ended, log]).toEqual([0, log])
      return JSON.parse(output) as Many.Outcome
    }
  }
}

Networks.suite("two clusters on one network", [], (networks) => {
  it("with different secrets use their own four nodes each, on the same ports, and no log is flooded", async () => {
    const { host, network } = networks()
    const lan = await network("lan")
    const clusters = await Promise.all(["red", "blue"].map(async (color) => {
      const client = await host(`${color}client`, lan)
      const secretFile = secretFor(client, `the secret of all that is ${color}`)
      const names = [1, 2, 3, 4].map((number) => `${color}${number}`)
      const nodes: Array<Node> = []
      for (const name of names) {
        const one = await host(name, lan)
        nodes.push(await one.node([...one.addressArgs, "--secret-file", secretFile]))
      }
      return { client, names, nodes, options: { nodes: "*", secretFile } }
    }))
    const running = clusters.map(({ client, options }) => manyJobs(client, { options, nodeCount: 4, jobs: 400 }))
    for (const [index, one] of running.entries()) {
      const { nodes, wrong } = await one.outcome()
      const own = clusters[index]!
      expect([nodes.length, wrong, one.log()]).toEqual([4, 0, ""])
      const { machines, runs } = one.traces()
      expect(runs.filter((times) => times !== 1)).toEqual([])
      expect([...machines].toSorted()).toEqual(own.names)
      for (const node of own.nodes) {
        // That of the other client's pings, once; the computation; nothing else.
        expect(node.log().match(/signed with another secret/g)).toHaveLength(1)
        expect(node.log().trim().split("\n").length).toBeLessThanOrEqual(3)
      }
    }
  })

  it("with the same secret share nothing: the second has the nodes when the first is done", async () => {
    const { host, network } = networks()
    const lan = await network("lan")
    const [first, second] = [await host("first", lan), await host("second", lan)]
    const secretFile = secretFor(first, "correct horse battery staple")
    const hosts = [await host("alpha", lan), await host("beta", lan)]
    for (const one of hosts) await one.node([...one.addressArgs, "--secret-file", secretFile])
    const held = await Promise.all(
      hosts.map((one) => started(first, [holder, one.ipv4()], { DISPY_SECRET_FILE: secretFile }))
    )
    const waiting = manyJobs(second, { options: { nodes: "*", secretFile }, nodeCount: 2, jobs: 200 })
    for (const one of hosts) {
      await eventually(() => {
        expect(waiting.log()).toMatch(new RegExp(`going on without node ${one.ipv4()}:51348: .*first`))
      })
    }
    expect([...waiting.traces().machines]).toEqual([])
    for (const one of held) one.stdin.end()
    expect(await Promise.all(held.map((one) => one.ended))).toEqual([0, 0])
    const { nodes, wrong } = await waiting.outcome()
    expect([nodes.length, wrong]).toEqual([2, 0])
    expect([...waiting.traces().machines].toSorted()).toEqual(["alpha", "beta"])
  })
})

Networks.suite("the sockets", [], (networks) => {
  const [nodePort, clientPort] = [51348, 51347]

  /** Asserts that a host has sockets of UDP alone, with these addresses, at these ports and others to send from. */
  const expectUdp = (host: Host, ports: ReadonlyArray<number>, addresses: ReadonlyArray<string>): void => {
    const sockets = host.listening()
    for (const { address, protocol } of sockets) {
      expect([protocol, addresses]).toEqual(["udp", expect.arrayContaining([address])])
    }
    for (const port of ports) {
      const there = sockets.filter((one) => one.port === port).map(({ address }) => address)
      expect([...new Set(there)].toSorted()).toEqual(addresses.toSorted())
    }
  }

  const aHost = async (): Promise<Host> => {
    const { host, network } = networks()
    return await host("alpha", await network("front", "both"), await network("back", "both"))
  }

  it("of a relay are on loopback only when nothing is said, else on the address that is said and its network", async () => {
    const alpha = await aHost()
    const relay = Built.program("dispynetrelay")
    const first = await started(alpha, [relay])
    expectUdp(alpha, [nodePort, clientPort], ["127.0.0.1", "127.255.255.255", "::1"])
    first.kill("SIGTERM")
    await first.ended
    await started(alpha, [relay, "--insecure", "--ip-addr", alpha.ipv4("front")])
    expectUdp(alpha, [nodePort, clientPort], [alpha.ipv4("front"), "10.213.1.255"])
  })

  it("of a client are on the address that it looks from, and its network", async () => {
    const alpha = await aHost()
    await started(alpha, [finder, JSON.stringify({ nodes: "*", ipAddr: alpha.ipv4("front") }), "1"])
    expectUdp(alpha, [clientPort], [alpha.ipv4("front"), "10.213.1.255"])
  })

  it("of a client that names no address hear datagrams on all, and take connections on loopback only", async () => {
    const alpha = await aHost()
    await started(alpha, [finder, JSON.stringify({ nodes: "*" }), "1"])
    const at = (protocol: "tcp" | "udp") =>
      alpha.listening().filter((one) => one.protocol === protocol && one.port === clientPort).map(({ address }) =>
        address
      )
    await eventually(() => {
      expect([...new Set(at("udp"))].toSorted()).toEqual(["0.0.0.0", "::"])
      expect(at("tcp").toSorted()).toEqual(["127.0.0.1", "::1"])
    })
    for (const { port, protocol } of alpha.listening()) if (port !== clientPort) expect(protocol).toBe("udp")
  })

  it("of a node with a secret are for all addresses, and those of one with a certificate, too", async () => {
    const alpha = await aHost()
    const node = await alpha.node(["--secret-file", secretFor(alpha, "correct horse battery staple")])
    const tcp = alpha.listening().filter(({ protocol }) => protocol === "tcp")
    expect(tcp).toEqual([{ protocol: "tcp", address: "::", port: nodePort }])
    expect(await node.stop()).toBe(0)
    const [peer] = [Result.getOrThrow(PeerName.parse("node", "alpha"))]
    const directory = join(alpha.directory, "keys")
    await Effect.runPromise(
      CertificateAuthority.run({ directory, peers: [peer], days: 2, authorityDays: 2, force: false })
    )
    await alpha.node(["--certfile", join(directory, "node-alpha.pem"), "--cafile", join(directory, "ca.pem")])
    expect(alpha.listening().filter(({ protocol }) => protocol === "tcp")).toEqual(tcp)
  })

  it("of a node of a client's own are in a directory that only its user can enter", async () => {
    const alpha = await aHost()
    await started(alpha, [holder, "local"])
    expect(alpha.listening()).toEqual([])
    const found = fs.readdirSync(alpha.directory, { recursive: true, withFileTypes: true }).filter((one) =>
      one.isSocket()
    )
    expect(found.map(({ name }) => name)).toEqual(["node.sock"])
    for (let { parentPath } = found[0]!; parentPath !== alpha.directory; parentPath = dirname(parentPath)) {
      expect([parentPath, fs.statSync(parentPath).mode & 0o777]).toEqual([parentPath, 0o700])
    }
  })
})
