/** `dispy doctor` with real daemons, and with what can be in their place. */
import { Effect } from "effect"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import type { Facts } from "../../src/domain/doctor/Facts.ts"
import type { Finding } from "../../src/domain/doctor/Finding.ts"
import { run as runCli } from "../support/CliProcess.ts"
import * as DaemonProcess from "../support/DaemonProcess.ts"
import * as FakeNode from "../support/FakeNode.ts"
import * as Nodes from "../support/Nodes.ts"

const { cluster, daemon, directory, ofDaemons } = Nodes.forTests()

interface Report {
  readonly healthy: boolean
  readonly findings: ReadonlyArray<Finding>
  readonly facts: Facts
}

/** Runs it with `--json`; files of a dispynode on this machine would be in the tests' directory. */
const examine = async (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): Promise<Report & { readonly status: number }> => {
  const { status, stderr, stdout } = await runCli(["doctor", "--json", ...args], {
    env: { DISPYNODE_DEST_PATH_PREFIX: join(directory(), "doctor"), ...env }
  })
  expect(stderr).toBe("")
  return { status, ...(JSON.parse(stdout) as Report) }
}

const problems = ({ findings }: Report): ReadonlyArray<string> =>
  findings.filter(({ severity }) => severity === "problem").map(({ message }) => message)

const servers: Array<Server> = []

/** A program that is no dispynode; yields its address. */
const another = async (behaviour: (socket: Socket) => void): Promise<string> => {
  const server = createServer((socket) => {
    socket.on("error", () => {})
    behaviour(socket)
  })
  servers.push(server)
  await once(server.listen(0, "127.0.0.1"), "listening")
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

describe("dispy doctor", () => {
  it("runs a job on this machine when no node is named, and ends with 0", async () => {
    const { stderr, stdout, status } = await runCli(["doctor", "--dest-path-prefix", directory()])
    expect([status, stderr]).toEqual([0, ""])
    expect(stdout).toMatch(/^ok +local ran a job in \d+ ms$/m)
    expect(stdout).toMatch(/^ok +the clock of local agrees/m)
    expect(stdout).toMatch(/^ok +port 51348 TCP|^warning +port 51348 TCP/m)
    expect(stdout).toMatch(new RegExp(`^ok +${directory()} can be written to`, "m"))
    expect(stdout).toMatch(/: a job would run\n$/)
    expect(stdout).not.toContain("\u001b")
  })

  it("runs a job on each node that is named, tells of it, and gives it back", async () => {
    const [alpha, beta] = await Promise.all([daemon("--name", "alpha"), daemon("--name", "beta", "--cpus", "1")])
    const report = await examine(["--node", alpha.address, "--node", beta.address])
    expect([report.status, report.healthy, problems(report)]).toEqual([0, true, []])
    expect(report.facts.nodes).toMatchObject([
      {
        address: alpha.address,
        tcp: { _tag: "Connected", ipAddr: "127.0.0.1" },
        udp: { _tag: "Answered" },
        hello: { _tag: "Greeted", name: "alpha", version: "0.1.0", cpus: 2 },
        job: { _tag: "Ran" }
      },
      { address: beta.address, hello: { name: "beta", cpus: 1 }, job: { _tag: "Ran" } }
    ])
    for (const { job } of report.facts.nodes) {
      if (job?._tag !== "Ran") throw new Error("no job ran")
      expect(Math.abs(job.clockAhead)).toBeLessThanOrEqual(job.clockDoubt)
    }
    const after = await cluster(() => 1, { nodes: alpha.address })
    expect(await after.run()).toBe(1)
  })

  it("names a node behind whose port there is nothing, and one whose name is unknown, and ends with 1", async () => {
    const gone = await daemon()
    await gone.stop()
    const report = await examine(["--node", gone.address, "--node", "no-such-host.invalid"])
    expect([report.status, report.healthy]).toEqual([1, false])
    const [nothing, unknown] = problems(report)
    expect(nothing).toContain(`${gone.address} cannot be reached by TCP: the machine is there and nothing listens`)
    expect(unknown).toMatch(/^no-such-host\.invalid:51348 cannot be reached by TCP/)
  })

  it("tells another program from a node: one that talks, one that hangs up", async () => {
    const talking = await another((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
    const closing = await another((socket) => socket.destroy())
    const report = await examine(["--node", talking, "--node", closing])
    expect(report.status).toBe(1)
    expect(problems(report)).toHaveLength(2)
    for (const [i, address] of [talking, closing].entries()) {
      expect(problems(report)[i]).toContain(
        `${address} can be reached, and what listens there does not greet this client`
      )
    }
  })

  it("does not wait for ever for a program that is silent", async () => {
    const sockets: Array<Socket> = []
    const silent = await another((socket) => sockets.push(socket))
    const report = await examine(["--node", silent])
    sockets.forEach((socket) => socket.destroy())
    expect(report.status).toBe(1)
    expect(problems(report)[0]).toContain("no answer in time")
  })

  it("names the version of a node that speaks another protocol", async () => {
    await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const address = `127.0.0.1:${yield* FakeNode.ofVersion("9.9.9")}`
      const report = yield* Effect.promise(() => examine(["--node", address]))
      expect(report.status).toBe(1)
      expect(problems(report)).toEqual([`${address} runs dispy 9.9.9, which speaks another protocol than this client`])
    })))
  })

  it("says who has a node that works for somebody else", async () => {
    const shared = await daemon()
    const made = await cluster(() => 1, { nodes: shared.address })
    expect(await made.run()).toBe(1)
    const report = await examine(["--node", shared.address])
    expect(report.status).toBe(1)
    expect(problems(report)[0]).toMatch(
      new RegExp(`${shared.address} works for somebody else now: .*process ${process.pid}`)
    )
  })

  it("says that a node outside of its service hours runs nothing, and what would change that", async () => {
    const later = (hours: number): string => `${(new Date().getHours() + hours) % 24}:00`
    const closed = await daemon("--service-start", later(2), "--service-stop", later(3))
    const report = await examine(["--node", closed.address])
    expect(report.status).toBe(1)
    expect(problems(report)[0]).toContain("which offers no cpus now")
    expect(report.findings.find(({ severity }) => severity === "problem")!.fix).toContain("service hours")
  })

  it("finds that a node on this machine could not keep files", async () => {
    const file = join(directory(), "file")
    writeFileSync(file, "")
    const report = await examine(["--dest-path-prefix", file])
    expect(report.status).toBe(1)
    expect(problems(report)[0]).toContain(`a dispynode on this machine cannot keep its files in ${file}`)
  })

  it("looks at credentials, whose flags count more than variables", async () => {
    const open = join(directory(), "open.secret")
    writeFileSync(open, "0123456789abcdef\n", { mode: 0o644 })
    const readable = await examine([], { DISPY_SECRET_FILE: open })
    expect(readable.status).toBe(1)
    expect(problems(readable)).toEqual([
      `DISPY_SECRET_FILE ${open} can be read by other users (mode 644), who then can run code on the nodes`
    ])
    const short = await examine([], { DISPY_SECRET: "short" })
    expect(problems(short)).toEqual(["the secret from DISPY_SECRET has 5 characters, of 16 that it must have"])
    const missing = await examine(["--secret-file", "/not/there"], { DISPY_SECRET: "0123456789abcdef" })
    expect(problems(missing)).toEqual(["--secret-file /not/there cannot be read: there is no such file"])
    expect(JSON.stringify(readable)).not.toContain("0123456789abcdef")
  })

  it("uses the secret, and says what is wrong at the other end when it is another", async () => {
    const [ours, theirs] = [join(directory(), "ours"), join(directory(), "theirs")]
    for (const file of [ours, theirs]) expect((await runCli(["keys", "init", file])).status).toBe(0)
    const guarded = await daemon("--name", "guarded", "--secret-file", ours)
    const good = await examine(["--node", guarded.address, "--security"], { DISPY_SECRET_FILE: ours })
    expect([good.status, problems(good)]).toEqual([0, []])
    expect(good.facts.nodes[0]).toMatchObject({
      udp: { _tag: "Answered" },
      hello: { name: "guarded" },
      job: { _tag: "Ran" }
    })
    expect(good.facts.sockets).toContainEqual(
      expect.objectContaining({ pid: guarded.pid, port: guarded.port, authentication: { _tag: "Secret" } })
    )
    const other = await examine(["--node", guarded.address, "--secret-file", theirs], { DISPY_SECRET_FILE: ours })
    expect(other.status).toBe(1)
    expect(problems(other)[0]).toContain(`${guarded.address} can be reached`)
    expect(problems(other)[0]).toContain("the secrets differ")
    const none = await examine(["--node", guarded.address])
    expect(problems(none)[0]).toContain("this node wants its secret")
  })

  it("uses certificates of dispy keys init, and tells until when a node's is valid", async () => {
    const keys = join(directory(), "keys")
    await runCli(["keys", "init", "--ca", keys, "--node", "127.0.0.1,localhost", "--client", "ada", "--days", "20"])
    const guarded = await daemon("--certfile", join(keys, "node-127.0.0.1.pem"), "--cafile", join(keys, "ca.pem"))
    const client = ["--certfile", join(keys, "client-ada.pem"), "--cafile", join(keys, "ca.pem")]
    const good = await examine(["--node", guarded.address, "--security", ...client])
    expect([good.status, problems(good)]).toEqual([0, []])
    expect(good.facts.nodes[0]).toMatchObject({ job: { _tag: "Ran" } })
    expect(good.facts.sockets).toContainEqual(expect.objectContaining({
      port: guarded.port,
      authentication: { _tag: "Certificate", subject: "CN=127.0.0.1", notAfter: expect.any(Number) as number }
    }))
    const soon = good.findings.find(({ message }) => message.includes(`dispynode (pid ${guarded.pid})`))
    expect(soon).toMatchObject({ severity: "warning", message: expect.stringContaining("expires on") as string })
    const stranger = await examine(["--node", guarded.address])
    expect(problems(stranger)[0]).toContain("this node wants a certificate")
  })

  it("lists with --security the listening sockets of dispy's processes, and warns of those that are open to all", async () => {
    const loopback = await daemon()
    await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const open = yield* DaemonProcess.start(["--ip-addr", "0.0.0.0", "--insecure", "--port", "0", "--cpus", "1"])
      const ready = yield* open.ready
      const port = typeof ready === "string" ? Number(/0\.0\.0\.0:(\d+)/.exec(ready)?.[1]) : 0
      const { facts, findings } = yield* Effect.promise(() => examine(["--security"]))
      for (
        const [pid, address, its] of [[loopback.pid, "127.0.0.1", loopback.port], [open.child.pid, "0.0.0.0", port]]
      ) {
        expect(facts.sockets).toContainEqual({
          pid,
          program: "dispynode",
          transport: "tcp",
          address,
          port: its,
          authentication: { _tag: "None" }
        })
      }
      const of = (pid: number | undefined) =>
        findings.filter(({ message }) => message.includes(`dispynode (pid ${pid}) `))
      expect(of(open.child.pid).map(({ severity }) => severity)).toContain("warning")
      expect(of(loopback.pid).map(({ severity }) => severity)).not.toContain("warning")
    })))
    expect((await examine([])).facts.sockets).toBeUndefined()
  })

  it("ends at Ctrl-C with 130, whatever it waits for, and leaves nothing", async () => {
    const sockets: Array<Socket> = []
    let child: ChildProcess | undefined
    // Its first connection looks whether there is anybody, its second waits for a greeting.
    const silent = await another((socket) => {
      if (sockets.push(socket) === 2) child?.kill("SIGINT")
    })
    const { status, stderr, stdout } = await runCli(["doctor", "--node", silent, "--dest-path-prefix", directory()], {
      onStart: (started) => (child = started)
    })
    sockets.forEach((socket) => socket.destroy())
    expect({ status, stderr, stdout }).toEqual({ status: 130, stderr: "", stdout: "" })
    expect(ofDaemons()).toEqual([])
  })

  it("refuses wrong options in one sentence, with exit status 2", async () => {
    for (
      const [args, message] of [
        [["--node", "10.0.0.*"], "wildcard"],
        [["--node", "alpha:99999"], "ports are 1 to 65535"],
        [["--nodes", "alpha"], "--nodes"],
        [["alpha"], "alpha"]
      ] as const
    ) {
      const { status, stderr, stdout } = await runCli(["doctor", ...args])
      expect([status, stdout]).toEqual([2, ""])
      expect(stderr).toContain(message)
      expect(stderr).toMatch(/^dispy: .*\n$/)
    }
  })
})
