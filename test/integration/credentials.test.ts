/** Secrets, on real nodes: who is let in, what both sides say, and what else goes on meanwhile. */
import { Effect, Result } from "effect"
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest"
import * as PeerName from "../../src/domain/keys/PeerName.ts"
import * as CertificateAuthority from "../../src/layers/keys/CertificateAuthority.ts"
import { createJobCluster } from "../../src/promise.ts"
import { type Daemon, startDaemon } from "../support/Daemons.ts"
import { eventually } from "../support/Eventually.ts"
import { untilIdle } from "../support/Leftovers.ts"

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0

let folder = ""
let secretFile = ""
let otherFile = ""
const open: Array<AsyncDisposable> = []

const write = (name: string, text: string): string => {
  const path = join(folder, name)
  fs.writeFileSync(path, text, { mode: 0o600 })
  return path
}

beforeAll(() => {
  folder = fs.mkdtempSync(join(tmpdir(), "dispy-credentials-"))
  secretFile = write("secret", "correct horse battery staple\n")
  otherFile = write("other", "another secret, as long as that\n")
})

afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]()
})

afterAll(async () => {
  fs.rmSync(folder, { recursive: true })
  await untilIdle()
})

const daemon = async (...args: ReadonlyArray<string>): Promise<Daemon> => {
  const started = await startDaemon(args)
  open.push({ [Symbol.asyncDispose]: started.stop })
  return started
}

const double = (n: number): number => n * 2

const cluster = async (options: {
  readonly nodes: string | ReadonlyArray<string>
  readonly cpus?: number
  readonly secretFile?: string
  readonly certfile?: string
  readonly cafile?: string
}) => {
  const made = await createJobCluster(double, { logLevel: "none", ...options })
  open.push({ [Symbol.asyncDispose]: async () => void await made.close({ timeout: 1, terminate: true }) })
  return made
}

describe("with a secret", () => {
  it("jobs, large values and files go both ways", async () => {
    const node = await daemon("--secret-file", secretFile)
    const sent = join(folder, "sent.txt")
    fs.writeFileSync(sent, "a file")
    await using made = await createJobCluster(async (bytes: Uint8Array) => {
      const { copyFileSync } = await import("node:fs")
      copyFileSync("sent.txt", "back.txt")
      await (globalThis as unknown as { dispy: { sendFile: (name: string) => Promise<number> } }).dispy.sendFile(
        "back.txt"
      )
      return bytes
    }, { nodes: node.address, secretFile, depends: [sent], filesDirectory: folder })
    const bytes = new Uint8Array(5_000_000).fill(7)
    expect(await made.run(bytes)).toEqual(bytes)
    expect(fs.readFileSync(join(folder, "back.txt"), "utf8")).toBe("a file")
  })

  it("a client with another, or with none, hears why, is not let in, and other nodes go on", async () => {
    const [secured, plain] = [await daemon("--secret-file", secretFile), await daemon()]
    const other = await cluster({ nodes: [secured.address, "local"], cpus: 1, secretFile: otherFile })
    expect(await other.run(1)).toBe(2)
    await eventually(() => {
      expect(other.status().nodes[0]).toMatchObject({
        state: "missing",
        reason: expect.stringMatching(/secrets differ/)
      })
    })
    const none = await cluster({ nodes: [secured.address, plain.address] })
    expect(await none.run(2)).toBe(4)
    await eventually(() => {
      expect(none.status().nodes[0]!.reason).toMatch(/this node wants its secret: give the client the same one/)
    })
    const own = await cluster({ nodes: [plain.address, "local"], cpus: 1, secretFile })
    expect(await own.run(3)).toBe(6)
    await eventually(() => {
      expect(own.status().nodes[0]!.reason).toMatch(/it has neither a secret nor a certificate: start it with --secret/)
    })
    const right = await cluster({ nodes: secured.address, secretFile })
    expect(await right.run(4)).toBe(8)
    // And so do the nodes, of each what it is.
    await eventually(() => {
      expect(secured.log()).toMatch(
        /was not let in peer=127\.0\.0\.1:\d+ reason="it has another secret: give both sides/
      )
      expect(secured.log()).toContain("it has neither a secret nor a certificate: give it this node's secret")
      expect(plain.log()).toContain(
        "it has a secret or a certificate, and this node has neither: give this node the same"
      )
    })
  })

  it("the secret may be in the environment, and jobs do not see it there", async () => {
    vi.stubEnv("DISPY_SECRET_FILE", secretFile)
    try {
      const node = await daemon()
      await using made = await createJobCluster(() => Object.keys(process.env).filter((name) => /SECRET/.test(name)), {
        nodes: node.address
      })
      expect(await made.run()).toEqual([])
      await expect(createJobCluster(double, { nodes: node.address, secret: "short" })).rejects.toThrow(
        /secret.*at least 16 characters/
      )
    } finally {
      vi.unstubAllEnvs()
    }
  })
})

/** An authority with a node and a client, in a directory of its own. */
const authority = async (name: string, days: number, ...names: ReadonlyArray<string>) => {
  const directory = join(folder, name)
  const peers = [
    ...names.map((one) => Result.getOrThrow(PeerName.parse("node", one))),
    Result.getOrThrow(PeerName.parse("client", "me"))
  ]
  await Effect.runPromise(CertificateAuthority.run({ directory, peers, days, authorityDays: 3650, force: false }))
  const cafile = join(directory, "ca.pem")
  return {
    cafile,
    client: { certfile: join(directory, "client-me.pem"), cafile },
    node: (
      one: string
    ) => ["--certfile", join(directory, `node-${one}.pem`), "--cafile", cafile, "--ip-addr", "127.0.0.1"]
  }
}

describe("with certificates", () => {
  it("of an authority nodes and clients are let in by theirs; all others are told what is wrong", async () => {
    const [ours, theirs] = [
      await authority("ours", 30, "alpha,127.0.0.1", "beta"),
      await authority("theirs", 30, "alpha,127.0.0.1")
    ]
    const right = await daemon(...ours.node("alpha"))
    const reasonFor = async (options: object, node = right) => {
      const made = await cluster({ nodes: node.address, ...options })
      await eventually(() => expect(made.status().nodes[0]!.state).toBe("missing"))
      const { reason } = made.status().nodes[0]!
      await made.close({ timeout: 0, terminate: true })
      return reason
    }
    const made = await cluster({ nodes: right.address, ...ours.client })
    expect(await made.run(2)).toBe(4)
    await made.close()
    // Others do not matter to the rest of a cluster.
    const others = await cluster({ nodes: [right.address, "local"], cpus: 1, ...theirs.client })
    expect(await others.run(1)).toBe(2)
    expect(await reasonFor(theirs.client)).toMatch(/its certificate is not one of this cluster's: check cafile/)
    expect(await reasonFor({ ...ours.client, certfile: theirs.client.certfile })).toMatch(
      /the node does not accept this client's certificate: check the node's --cafile/
    )
    expect(await reasonFor({ ...ours.client, certfile: join(folder, "ours", "node-beta.pem") })).toMatch(
      /this client's certificate is not one of a client/
    )
    expect(await reasonFor({})).toMatch(/this node wants a certificate/)
    expect(await reasonFor({ secretFile })).toMatch(/one side has a secret, the other a certificate/)
    for (
      const said of [
        "its certificate is not from this cluster's authority: check --cafile here",
        "its certificate is not one of a client: give it one that",
        "it has neither a secret nor a certificate: give it a certificate",
        "it has a secret where this node has a certificate"
      ]
    ) await eventually(() => expect(right.log()).toContain(said))
    const beta = await daemon(...ours.node("beta"))
    expect(await reasonFor(ours.client, beta)).toMatch(/its certificate is for another host/)
    await eventually(() => expect(beta.log()).toContain("it does not accept this node's certificate, and says why"))
    const asNode = await daemon("--certfile", ours.client.certfile, "--cafile", ours.cafile, "--ip-addr", "127.0.0.1")
    expect(await reasonFor(ours.client, asNode)).toMatch(/its certificate is not one of a node/)
  })

  it.skipIf(!hasOpenssl)(
    "the same file on all machines is enough, as openssl makes it (left out without openssl)",
    async () => {
      const make = (name: string): string => {
        const file = join(folder, name)
        const command =
          `req -x509 -newkey rsa:2048 -keyout ${file} -nodes -out ${file} -sha256 -days 1000 -subj /CN=mine`
        execFileSync("openssl", command.split(" "), { stdio: "ignore" })
        return file
      }
      const [certfile, other] = [make("sskeycert.pem"), make("other.pem")]
      const node = await daemon("--certfile", certfile, "--ip-addr", "127.0.0.1")
      const made = await cluster({ nodes: node.address, certfile })
      expect(await made.run(3)).toBe(6)
      const stranger = await cluster({ nodes: [node.address, "local"], cpus: 1, certfile: other })
      await eventually(() =>
        expect(stranger.status().nodes[0]!.reason).toMatch(/not one of this cluster's: check cafile/)
      )
    }
  )
})

/** Passes connections on, and keeps what clients send. */
const recorder = async (port: number) => {
  const recorded: Array<Array<Buffer>> = []
  const server = net.createServer((client) => {
    const bytes: Array<Buffer> = []
    recorded.push(bytes)
    const node = net.connect(port, "127.0.0.1")
    client.on("data", (chunk) => bytes.push(chunk)).pipe(node).pipe(client)
    for (const one of [client, node]) {
      one.on("error", () => {}).on("close", () => [client, node].forEach((each) => each.destroy()))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  open.push({ [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) })
  return { address: `127.0.0.1:${(server.address() as net.AddressInfo).port}`, recorded }
}

/** Everything that comes back for these bytes until the connection is closed. */
const replay = (port: number, bytes: Uint8Array): Promise<Buffer> =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1")
    const back: Array<Buffer> = []
    socket.on("error", () => {}).on("data", (chunk) => back.push(chunk)).on("close", () => resolve(Buffer.concat(back)))
    socket.write(bytes)
  })

describe("strangers", () => {
  it("get nothing by sending again what a client with the secret sent, of which they can read nothing", async () => {
    const marker = join(folder, "ran")
    const node = await daemon("--secret-file", secretFile)
    const { address, recorded } = await recorder(node.port)
    const made = await createJobCluster(async (file: string) => {
      ;(await import("node:fs")).appendFileSync(file, "x")
      return "the result that nobody else may see"
    }, { nodes: address, secretFile })
    expect(await made.run(marker)).toContain("nobody else")
    await made.close()
    const sessions = recorded.map((chunks) => Buffer.concat(chunks))
    expect(sessions.length).toBeGreaterThan(0)
    for (const session of sessions) {
      for (const word of ["appendFileSync", "AcquireLease", "nobody", marker]) {
        expect(session.includes(word)).toBe(false)
      }
      const answer = await replay(node.port, session)
      expect(answer.includes("nobody")).toBe(false)
    }
    expect(fs.readFileSync(marker, "utf8")).toBe("x")
    const still = await cluster({ nodes: node.address, secretFile })
    expect(await still.run(1)).toBe(2)
  })

  it("of any number that connect and say little keep nobody waiting", async () => {
    const node = await daemon("--secret-file", secretFile, "--msg-timeout", "100")
    const strangers = Array.from({ length: 2000 }, () => net.connect(node.port, "127.0.0.1"))
    for (const stranger of strangers) stranger.on("error", () => {}).write(Uint8Array.of(0x16))
    try {
      await eventually(() => expect(strangers.filter(({ closed }) => closed).length).toBeGreaterThan(1800))
      const made = await cluster({ nodes: node.address, secretFile })
      for (let n = 0; n < 20; n++) expect(await made.run(n)).toBe(n * 2)
      expect(strangers.filter(({ closed }) => !closed).length).toBeGreaterThan(100)
    } finally {
      for (const stranger of strangers) stranger.destroy()
    }
  })
})
