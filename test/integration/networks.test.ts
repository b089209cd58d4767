/** Clusters in networks of several machines: nodes are listed by address, whatever lies between them and the client. */
import { spawn } from "node:child_process"
import { existsSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { afterAll, expect, it, onTestFinished } from "vitest"
import type { Outcome } from "../fixtures/networks/client.ts"
import { eventually } from "../support/Eventually.ts"
import { untilIdle } from "../support/Leftovers.ts"
import * as Networks from "../support/Networks.ts"
import type { Host, Node } from "../support/networks/Host.ts"
import { carrying } from "../support/Processes.ts"

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/networks/${name}`, import.meta.url))
const example = fileURLToPath(new URL("../../examples/sshForwarding.ts", import.meta.url))

const holder = fileURLToPath(new URL("../fixtures/integration/holder.ts", import.meta.url))

/** What every job of the client program has when nothing is missing. */
const everything = {
  status: "Finished",
  provisional: [1, 2],
  arrived: ["argument", "result", "file there", "file back"]
}

/** Asserts that so many jobs ran, each with all that it sends and gets; returns the machines that ran them. */
const machinesOf = (outcome: Outcome, count: number): ReadonlyArray<string> => {
  expect(outcome.log).toBe("")
  expect(outcome.jobs).toHaveLength(count)
  for (const [index, job] of outcome.jobs.entries()) {
    const stdout = `job ${index + 1} on ${job.machine}\n`
    expect(job).toEqual({ ...everything, text: `hello from job ${index + 1}`, machine: job.machine, stdout })
  }
  return [...new Set(outcome.jobs.map((job) => job.machine))].toSorted()
}

const sendDatagrams = (from: Host, address: string, count: number | "last") =>
  from.run(process.execPath, [fixture("datagrams.ts"), "send", address, "9000", String(count)])

/** Starts a program that takes datagrams down; `numbers` are those that came when there are `count`, or at the end. */
const receiver = async (host: Host, address: string, count: number) => {
  const program = host.spawn(process.execPath, [fixture("datagrams.ts"), "receive", address, "9000", String(count)])
  await new Promise((resolve) => program.stdout.once("data", resolve))
  const numbers = text(program.stdout).then((json) => JSON.parse(json) as ReadonlyArray<number>)
  return {
    numbers: () => numbers,
    /** Those that have come; what has its way over loopback is neither lost nor late. */
    numbersNow: async () => {
      await sendDatagrams(host, address, "last")
      return await numbers
    }
  }
}

afterAll(untilIdle)

Networks.suite("in one network", [], (networks) => {
  it("two nodes share the jobs of a client", async () => {
    const { host, network } = networks()
    const lan = await network("lan")
    const [client, alpha, beta] = [await host("client", lan), await host("alpha", lan), await host("beta", lan)]
    const nodes = await Promise.all([alpha.node(), beta.node()])
    expect(nodes.map((node) => node.address)).toEqual(["10.213.1.2:51348", "10.213.1.3:51348"])
    const sendFileTo = [alpha.ipv4(), beta.ipv4()]
    const outcome = await client.client({ options: { nodes: sendFileTo }, nodeCount: 2, jobs: 2, sendFileTo })
    expect(machinesOf(outcome, 2)).toEqual(["alpha", "beta"])
    expect(outcome.sentFiles).toEqual(sendFileTo)
    expect(await Promise.all(nodes.map((node) => node.stop()))).toEqual([0, 0])
    for (const node of nodes) expect(node.log()).toContain("insecure")
  })
})

Networks.suite("a client with several addresses", [], (networks) => {
  it("connects from those that it is to use, and from no other", async () => {
    const { host, network } = networks()
    const [front, back] = [await network("front", "both"), await network("back")]
    const [client, alpha, beta] = [
      await host("client", front, back),
      await host("alpha", front),
      await host("beta", back)
    ]
    const [second, third] = ["10.213.1.77", "fd00:213:1::77"]
    await client.must("ip", ["address", "add", `${second}/24`, "dev", "eth0"])
    await client.must("ip", ["address", "add", `${third}/64`, "dev", "eth0", "nodad"])
    await client.untilUp()
    const own = client.ipv4("back")
    const args = ["--insecure", "--debug"]
    const nodes = await Promise.all([alpha, beta].map((one) => one.node([...one.addressArgs, ...args])))
    /** Where the connections of clients came from, all of them. */
    const peersOf = (node: Node): ReadonlyArray<string> =>
      [...new Set([...node.log().matchAll(/ peer=(\S+):\d+/g)].map(([, address = ""]) => address))].toSorted()

    const options = { nodes: [alpha.ipv4(), beta.ipv4()], ipAddr: [own, second, third] }
    const sendFileTo = [alpha.ipv4(), beta.ipv4()]
    const outcome = await client.client({ options, nodeCount: 2, jobs: 2, sendFileTo })
    expect(machinesOf(outcome, 2)).toEqual(["alpha", "beta"])
    expect(outcome.sentFiles).toEqual(sendFileTo)
    expect(nodes.map(peersOf)).toEqual([[second], [own]])

    // A name has addresses of both kinds; each is reached from one of the same kind.
    await client.know({ "alpha.example": [alpha.ipv6()] })
    const named = { nodes: "alpha.example", ipAddr: [second, third] }
    expect(machinesOf(await client.client({ options: named }), 1)).toEqual(["alpha"])
    expect(peersOf(nodes[0]!)).toEqual([second, third])

    // With a secret as well.
    const secretFile = join(client.directory, "secret")
    writeFileSync(secretFile, "correct horse battery staple", { mode: 0o600 })
    expect(await nodes[0]!.stop()).toBe(0)
    const secret = await alpha.node(["--debug", "--secret-file", secretFile])
    const secured = { nodes: alpha.ipv4(), ipAddr: second, secretFile }
    expect(machinesOf(await client.client({ options: secured }), 1)).toEqual(["alpha"])
    expect(peersOf(secret).map((peer) => peer.replace("::ffff:", ""))).toEqual([second])
  })

  it("is told which of them is none of this machine's", async () => {
    const { host, network } = networks()
    const client = await host("client", await network("lan"))
    await expect(client.client({ options: { nodes: "*", ipAddr: "10.213.1.99" } })).rejects.toThrow(
      "\"10.213.1.99\" is not an address of this machine; those of interfaces that are up are 127.0.0.1, ::1"
    )
  })
})

Networks.suite("a capture of packets", ["tcpdump"], (networks) => {
  it("has the jobs of an insecure node in clear", async () => {
    const { host, network } = networks()
    const lan = await network("lan")
    const [client, alpha] = [await host("client", lan), await host("alpha", lan)]
    const node = await alpha.node()
    const capture = await alpha.capture()
    const [sizeBytes, marker] = [50_000, "nobody shall read this "]
    const outcome = await client.client({ options: { nodes: [node.address] }, text: marker.repeat(3000), sizeBytes })
    expect(outcome.jobs[0]?.text).toBe(`${marker.repeat(3000)} from job 1`)
    const packets = await capture.stop()
    // The whole of a text that takes many packets: the connection was put together again.
    expect(packets.contains(marker.repeat(3000))).toBe(true)
    expect(packets.contains(" from job 1")).toBe(true)
    expect(packets.contains(`${marker.repeat(3000)}nobody`)).toBe(false)
    const atLeast = 2 * marker.length * 3000 + 4 * sizeBytes
    expect(packets.payloadBytes).toBeGreaterThan(atLeast)
    expect(packets.payloadBytes).toBeLessThan(atLeast + 200_000)
  })

  it("has nothing of the jobs of a node with a secret, small or large, in messages or files", async () => {
    const { host, network } = networks()
    const lan = await network("lan")
    const [client, alpha] = [await host("client", lan), await host("alpha", lan)]
    const secretFile = join(alpha.directory, "secret")
    writeFileSync(secretFile, "correct horse battery staple", { mode: 0o600 })
    await alpha.node(["--secret-file", secretFile])
    const capture = await alpha.capture()
    const marker = "nobody shall read this "
    const options = { nodes: [alpha.ipv4()], secretFile }
    const outcome = await client.client({ options, text: marker.repeat(3000), sizeBytes: 2_000_000 })
    expect(outcome.jobs[0]).toMatchObject({ ...everything, text: `${marker.repeat(3000)} from job 1` })
    const packets = await capture.stop()
    expect(packets.payloadBytes).toBeGreaterThan(2 * marker.length * 3000 + 4 * 2_000_000)
    for (const word of [marker, "from job 1", "AcquireLease", "OpenComputation", "readFileSync"]) {
      expect([word, packets.contains(word)]).toEqual([word, false])
    }
  })
})

Networks.suite("with NAT", ["iptables"], (networks) => {
  it("a client behind it needs no forwarded port: values and files go both ways", async () => {
    const { host, network, router } = networks()
    const [home, world] = [await network("home"), await network("world")]
    const [client, alpha] = [await host("client", home), await host("alpha", world)]
    const gateway = await router("gateway", [home, world], { masquerade: world })
    const node = await alpha.node()
    const outcome = await client.client({ options: { nodes: [node.address] }, jobs: 2, sendFileTo: [alpha.ipv4()] })
    expect(machinesOf(outcome, 2)).toEqual(["alpha"])
    expect(outcome.sentFiles).toEqual([alpha.ipv4()])
    // The node has no way to the client, and nobody gets in by the gateway.
    expect((await sendDatagrams(alpha, client.ipv4(), 1)).stderr).toContain("ENETUNREACH")
    await alpha.must("ip", ["route", "add", "default", "via", gateway.ipv4("world")])
    const inside = await receiver(client, client.ipv4(), 1)
    await sendDatagrams(alpha, client.ipv4(), 1)
    expect(await inside.numbersNow()).toEqual([])
  })

  it("a node behind it is used at the outer address, from where its port is forwarded", async () => {
    const { host, network, router } = networks()
    const [world, office] = [await network("world"), await network("office")]
    const [client, alpha] = [await host("client", world), await host("alpha", office)]
    const gateway = await router("gateway", [world, office], { masquerade: world })
    await gateway.forward(51348, alpha)
    await alpha.node()
    const outcome = await client.client({ options: { nodes: [gateway.ipv4()] } })
    expect(machinesOf(outcome, 1)).toEqual(["alpha"])
    expect(outcome.nodes).toEqual([{ ipAddr: gateway.ipv4(), state: "ready" }])
  })
})

Networks.suite("with IPv6", [], (networks) => {
  it("a cluster needs nothing else, and has everything", async () => {
    const { host, network } = networks()
    const lan = await network("lan", "ipv6")
    const [client, alpha, beta] = [await host("client", lan), await host("alpha", lan), await host("beta", lan)]
    const nodes = await Promise.all([alpha.node(), beta.node()])
    expect(nodes.map((node) => node.address)).toEqual(["[fd00:213:1::2]:51348", "[fd00:213:1::3]:51348"])
    const sendFileTo = [alpha.ipv6(), beta.ipv6()]
    const outcome = await client.client({
      options: { nodes: [alpha.ipv6(), nodes[1].address] },
      nodeCount: 2,
      jobs: 2,
      sendFileTo
    })
    expect(machinesOf(outcome, 2)).toEqual(["alpha", "beta"])
    expect(outcome.sentFiles).toEqual(sendFileTo)
  })

  it("nodes of both kinds of IP are one cluster, each used as it is listed", async () => {
    const { host, network } = networks()
    const lan = await network("lan", "both")
    const [client, alpha, beta] = [await host("client", lan), await host("alpha", lan), await host("beta", lan)]
    await Promise.all([alpha.node(), beta.node()])
    const sendFileTo = [alpha.ipv4(), beta.ipv6()]
    const outcome = await client.client({ options: { nodes: sendFileTo }, nodeCount: 2, jobs: 2, sendFileTo })
    expect(machinesOf(outcome, 2)).toEqual(["alpha", "beta"])
    expect(outcome.sentFiles).toEqual(sendFileTo)
    expect(outcome.nodes.map(({ ipAddr }) => ipAddr).toSorted()).toEqual(sendFileTo.toSorted())
  })
})

Networks.suite("over ssh", ["ssh", "sshd"], (networks) => {
  it("the example reaches nodes that listen on loopback only", async () => {
    const { host, network, sshd } = networks()
    const lan = await network("lan")
    const [client, alpha, beta] = [await host("client", lan), await host("alpha", lan), await host("beta", lan)]
    const servers = await Promise.all([sshd(alpha), sshd(beta)])
    await Promise.all([alpha.node([]), beta.node([])])
    const environments = [await servers[0].admit(client), await servers[1].admit(client)]
    const { status, stderr, stdout } = await client.run(process.execPath, [example, "alpha", "beta"], environments[0])
    expect([status, stderr]).toEqual([0, ""])
    const lines = stdout.trim().split("\n")
    expect(lines.map((line) => line.replace(/alpha|beta/, "HOST"))).toEqual(
      [1, 2, 3, 4].map((job) => `job ${job} ran on HOST`)
    )
    await eventually(async () => {
      expect((await client.must("ps", ["-eo", "comm"])).split("\n")).not.toContain("ssh")
    })
  })

  it("the example says which host lets nobody in", async () => {
    const { host, network } = networks()
    const client = await host("client", await network("lan"))
    const { status, stderr } = await client.run(process.execPath, [example, client.ipv4()])
    expect([status, stderr.split("\n").at(-2)]).toEqual([
      2,
      "examples/sshForwarding.ts: ssh to 10.213.1.1 did not get through; does `ssh 10.213.1.1 true` work?"
    ])
  })
})

Networks.suite("a node listens", [], (networks) => {
  const port = 51348
  const [firstOf, secondOf] = [(host: Host) => host.ipv4("front"), (host: Host) => host.ipv6("back")]

  /** Datagrams to everybody on a network come to these. */
  const [broadcast, group] = ["10.213.1.255", "ff02::b409:3171:9705:5134:6159"]

  it.each<[string, (host: Host) => [args: Array<string>, addresses: Array<string>, toEverybody: Array<string>]]>([
    ["on loopback only, when nothing is said", () => [[], ["127.0.0.1", "::1"], ["127.255.255.255"]]],
    ["on the one address that is said", (host) => [["--ip-addr", firstOf(host)], [firstOf(host)], [broadcast]]],
    ["on an IPv6 address only", (host) => [["--ip-addr", secondOf(host)], [secondOf(host)], [group]]],
    [
      "on two addresses that are said",
      (host) => [
        ["--ip-addr", firstOf(host), "--ip-addr", secondOf(host)],
        [firstOf(host), secondOf(host)],
        [broadcast, group]
      ]
    ],
    ["on all addresses when that is said", () => [["--ip-addr", "::"], ["::"], ["0.0.0.0"]]]
  ])("%s", async (_, expectedOf) => {
    const { host, network } = networks()
    const alpha = await host("alpha", await network("front", "both"), await network("back", "both"))
    const [args, addresses, toEverybody] = expectedOf(alpha)
    const node = await alpha.node(args.length === 0 ? [] : ["--insecure", ...args])
    const at = (protocol: "tcp" | "udp") =>
      alpha.listening().filter((one) => one.protocol === protocol && one.port === port).map(({ address }) => address)
    expect(at("tcp")).toEqual(addresses)
    // An interface may take a moment to join a group.
    await eventually(() => {
      expect([...new Set(at("udp"))].toSorted()).toEqual([...addresses, ...toEverybody].toSorted())
    })
    // From the others it sends, where nothing but answers to that comes in.
    for (const { address, protocol } of alpha.listening().filter((one) => one.port !== port)) {
      expect(protocol).toBe("udp")
      if (addresses[0] !== "::") expect([...addresses, ...toEverybody]).toContain(address)
    }
    expect(await node.stop()).toBe(0)
    expect(alpha.listening()).toEqual([])
  })

  it("on nothing more while it has a client", async () => {
    const { host, network } = networks()
    const alpha = await host("alpha", await network("lan"))
    const node = await alpha.node()
    const alone = alpha.listening()
    const client = alpha.spawn(process.execPath, [holder, node.address])
    await new Promise((resolve) => client.stdout.once("data", resolve))
    expect(alpha.listening()).toEqual(alone)
  })
})

Networks.suite("the harness", ["iptables", "tc"], (networks) => {
  it("leaves nothing when its test is killed", async () => {
    const test = spawn(process.execPath, [fixture("builder.ts")], { stdio: ["ignore", "pipe", "inherit"] })
    onTestFinished(() => void test.kill("SIGKILL"))
    const place = await new Promise<string>((resolve) => {
      test.stdout.setEncoding("utf8").once("data", (line: string) => resolve(line.trim()))
    })
    expect(carrying(place).length).toBeGreaterThan(1)
    test.kill("SIGKILL")
    await eventually(() => expect(carrying(place)).toEqual([]))
    // Files stay until there are networks again.
    expect(existsSync(place)).toBe(true)
    networks()
    expect(existsSync(dirname(place))).toBe(false)
  })

  it("passes packets on through routers only", async () => {
    const { host, network, router } = networks()
    const [left, right] = [await network("left", "both"), await network("right", "both")]
    const [alpha, beta] = [await host("alpha", left), await host("beta", right)]
    const relay = await host("relay", left, right)
    for (const one of [alpha, beta]) {
      const inbox = await receiver(one, one.ipv4(), 1)
      await sendDatagrams(relay, one.ipv4(), 1)
      expect(await inbox.numbers()).toEqual([0])
    }
    expect((await sendDatagrams(alpha, beta.ipv4(), 1)).stderr).toContain("ENETUNREACH")
    await router("between", [left, right])
    for (const address of [beta.ipv4(), beta.ipv6()]) {
      const inbox = await receiver(beta, address, 3)
      await sendDatagrams(alpha, address, 3)
      expect(await inbox.numbers()).toEqual([0, 1, 2])
    }
  })

  it("tells each host the names that it is to know", async () => {
    const { host, network } = networks()
    const alpha = await host("alpha", await network("lan"))
    await alpha.know({ "nodes.example": ["10.213.1.7", "10.213.1.8"] })
    const found = await alpha.must("getent", ["ahostsv4", "nodes.example"])
    expect([...new Set(found.match(/^[\d.]+/gm))]).toEqual(["10.213.1.7", "10.213.1.8"])
  })

  it("loses datagrams, keeps them back, repeats and blocks them", async () => {
    const { host, network } = networks()
    const lan = await network("lan", "both")
    const [alpha, beta, gamma] = [await host("alpha", lan), await host("beta", lan), await host("gamma", lan)]

    await beta.impair({ lossPercent: 50 })
    const lossy = await receiver(beta, beta.ipv4(), 300)
    await sendDatagrams(alpha, beta.ipv4(), 300)
    const lost = 300 - (await lossy.numbersNow()).length
    // Six standard deviations around the half.
    expect(lost).toBeGreaterThan(150 - 52)
    expect(lost).toBeLessThan(150 + 52)

    await gamma.impair({ latePercent: 40 })
    const late = await receiver(alpha, alpha.ipv6(), 60)
    await sendDatagrams(gamma, alpha.ipv6(), 60)
    const sent = Array.from({ length: 60 }, (_, number) => number)
    const numbers = await late.numbers()
    expect(numbers).not.toEqual(sent)
    expect(numbers.toSorted((a, b) => a - b)).toEqual(sent)

    await gamma.impair({ copies: 2 })
    for (const address of [gamma.ipv4(), gamma.ipv6()]) {
      const repeated = await receiver(gamma, address, 6)
      await sendDatagrams(alpha, address, 2)
      expect((await repeated.numbers()).toSorted((a, b) => a - b)).toEqual([0, 0, 0, 1, 1, 1])
    }

    await lan.blockUdp()
    for (const address of [alpha.ipv4(), alpha.ipv6()]) {
      const blocked = await receiver(alpha, address, 1)
      expect(await sendDatagrams(beta, address, 1)).toEqual({ status: 0, stdout: "", stderr: "" })
      expect(await blocked.numbersNow()).toEqual([])
    }
  })
})
