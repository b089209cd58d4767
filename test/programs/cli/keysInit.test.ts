/** `dispy keys init`: the files it makes, and that TLS takes them. */
import { execFileSync } from "node:child_process"
import { X509Certificate } from "node:crypto"
import { once } from "node:events"
import * as fs from "node:fs"
import { type AddressInfo, isIP } from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import * as tls from "node:tls"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { run as runIn } from "../../support/CliProcess.ts"

let directory = ""

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "dispy-keys-test-"))
})

afterEach(() => {
  fs.rmSync(directory, { recursive: true })
})

const run = (...args: ReadonlyArray<string>) => runIn(["keys", "init", ...args], { cwd: directory })

const at = (name: string): string => path.join(directory, name)

const read = (name: string): string => fs.readFileSync(at(name), "utf8")

const modeOf = (name: string): number => fs.statSync(at(name)).mode & 0o777

const isRoot = process.getuid?.() === 0

describe("a secret", () => {
  it("is one line of 256 random bits in a file of its owner's alone, with what to do with it on stderr", async () => {
    const { status, stderr, stdout } = await run()
    expect([status, stdout]).toEqual([0, "dispy.secret\n"])
    expect(modeOf("dispy.secret")).toBe(0o600)
    expect(read("dispy.secret")).toMatch(/^[\w-]{43}\n$/)
    expect(Buffer.from(read("dispy.secret"), "base64url")).toHaveLength(32)
    expect(stderr).toContain("dispynode --secret-file dispy.secret")
    expect(stderr).toContain(`DISPY_SECRET_FILE=${at("dispy.secret")}`)
    expect(stderr).not.toContain(read("dispy.secret").trim())
  })

  it("is another one each time, goes to the file that is named, and is told as JSON", async () => {
    const { stderr, stdout } = await run("--secret", "one", "--json")
    expect(JSON.parse(stdout)).toEqual({ secret: at("one") })
    expect(stderr).toBe("")
    await run("two")
    expect(read("one")).not.toBe(read("two"))
  })

  it("never replaces a file, except with --force", async () => {
    fs.writeFileSync(at("dispy.secret"), "mine", { mode: 0o644 })
    const refused = await run()
    expect(refused).toMatchObject({ status: 1, stdout: "" })
    expect(refused.stderr).toBe(
      "dispy: dispy.secret exists already, and is left as it is; write another name, or --force to replace it\n"
    )
    expect(read("dispy.secret")).toBe("mine")
    expect(await run("--force")).toMatchObject({ status: 0 })
    expect(read("dispy.secret")).toMatch(/^[\w-]{43}\n$/)
    expect(modeOf("dispy.secret")).toBe(0o600)
    expect(fs.readdirSync(directory)).toEqual(["dispy.secret"])
  })

  it("names the file that it cannot write", async () => {
    const { status, stderr } = await run("not/there")
    expect(status).toBe(1)
    expect(stderr).toMatch(/^dispy: not\/there cannot be written: ENOENT.*\n$/)
  })

  it.skipIf(isRoot)("names the directory that it may not write to (skipped as root, who may)", async () => {
    fs.mkdirSync(at("closed"), { mode: 0o500 })
    const { status, stderr } = await run("closed/dispy.secret")
    expect(status).toBe(1)
    expect(stderr).toMatch(/^dispy: closed\/dispy\.secret cannot be written: EACCES.*\n$/)
  })
})

describe("wrong options", () => {
  it("are one sentence and exit status 2, and make nothing", async () => {
    for (
      const [args, message] of [
        [["--node", "alpha"], "--ca names the directory"],
        [["--ca", "keys", "--secret"], "different things"],
        [["--ca", "keys", "my.secret"], "leave it out"],
        [["--ca", "keys", "--node", "../alpha"], "neither a host name nor an IP address"],
        [["--ca", "keys", "--node", "alpha", "--node", "ALPHA"], "given twice"],
        [["--ca", "keys", "--client", "a b"], "not a client's name"],
        [["--ca", "keys", "--days", "0"], "not from 1 to 36500"],
        [["--ca", "keys", "--nod", "alpha"], "--nod"]
      ] as const
    ) {
      const { status, stderr, stdout } = await run(...args)
      expect([status, stdout]).toEqual([2, ""])
      expect(stderr).toContain(message)
      expect(stderr).toMatch(/^dispy: .*\n$/)
    }
    expect(fs.readdirSync(directory)).toEqual([])
  })
})

/** A connection of a client that wants `host`, with what both sides present; the peer's names, or the error. */
const shakeHands = async (
  server: tls.TlsOptions,
  client: tls.ConnectionOptions,
  host: string
): Promise<{ readonly client: string; readonly node: string } | string> => {
  const listener = tls.createServer({ minVersion: "TLSv1.3", requestCert: true, rejectUnauthorized: true, ...server })
  listener.listen(0, "127.0.0.1")
  await once(listener, "listening")
  try {
    return await new Promise((resolve) => {
      let ofClient = ""
      listener.on("tlsClientError", (error) => resolve(`the node refuses: ${error.message}`))
      listener.on("secureConnection", (socket) => {
        ofClient = String(socket.getPeerCertificate().subject.CN)
        socket.on("error", () => {}).end("ready")
      })
      const socket = tls.connect({
        port: (listener.address() as AddressInfo).port,
        host: "127.0.0.1",
        servername: isIP(host) === 0 ? host : "",
        checkServerIdentity: (_, certificate) => tls.checkServerIdentity(host, certificate),
        ...client
      })
      socket.on("error", (error) => resolve(error.message)).on("close", () => resolve("closed"))
      // A client that is refused hears of it after the handshake; the first byte says that it is not.
      socket.on("data", () => {
        resolve({ client: ofClient, node: String(socket.getPeerCertificate().subject.CN) })
        socket.destroy()
      })
    })
  } finally {
    listener.close()
  }
}

/** One file with key and certificate, and the authority's. */
const pairOf = (file: string, ca: string) => ({ cert: read(file), key: read(file), ca: read(ca) })

describe("certificates", () => {
  it("are made with an authority, for names and addresses of nodes, and for clients, in files with the right modes", async () => {
    const made = await run(
      "--ca",
      "keys",
      "--node",
      "alpha.example,10.0.0.7,fd00::7",
      "--client",
      "ada",
      "--days",
      "30"
    )
    expect(made).toMatchObject({
      status: 0,
      stdout: "keys/ca.pem\nkeys/node-alpha.example.pem\nkeys/client-ada.pem\n"
    })
    expect(made.stderr).toContain("dispynode --certfile node-alpha.example.pem --cafile ca.pem")
    expect(fs.readdirSync(at("keys")).toSorted()).toEqual(
      ["ca-key.pem", "ca.pem", "client-ada.pem", "node-alpha.example.pem"]
    )
    expect(["keys", "keys/ca-key.pem", "keys/ca.pem", "keys/client-ada.pem", "keys/node-alpha.example.pem"].map(modeOf))
      .toEqual([0o700, 0o600, 0o644, 0o600, 0o600])
    const authority = new X509Certificate(read("keys/ca.pem"))
    const node = new X509Certificate(read("keys/node-alpha.example.pem"))
    const client = new X509Certificate(read("keys/client-ada.pem"))
    expect(authority.ca).toBe(true)
    expect(authority.verify(authority.publicKey)).toBe(true)
    for (const peer of [node, client]) {
      expect(peer.ca).toBe(false)
      expect(peer.checkIssued(authority)).toBe(true)
      expect(peer.verify(authority.publicKey)).toBe(true)
      expect(peer.validToDate.getTime() - Date.now()).toBeLessThanOrEqual(30 * 86_400_000)
      expect(peer.validToDate.getTime() - Date.now()).toBeGreaterThan(29.9 * 86_400_000)
      expect(peer.validFromDate.getTime()).toBeLessThan(Date.now() - 3_000_000)
    }
    expect(node.checkHost("alpha.example")).toBe("alpha.example")
    expect(node.checkHost("beta.example")).toBeUndefined()
    expect([node.checkIP("10.0.0.7"), node.checkIP("fd00::7"), node.checkIP("10.0.0.8")]).toEqual(
      ["10.0.0.7", "fd00::7", undefined]
    )
    expect([node.keyUsage, client.keyUsage]).toEqual([["1.3.6.1.5.5.7.3.1"], ["1.3.6.1.5.5.7.3.2"]])
    expect(node.serialNumber).not.toBe(client.serialNumber)
  })

  it("are accepted by TLS on both sides, and only for what they are", async () => {
    await run("--ca", "keys", "--node", "alpha,127.0.0.1", "--client", "ada")
    await run("--ca", "others", "--node", "alpha,127.0.0.1", "--client", "eve")
    const node = pairOf("keys/node-alpha.pem", "keys/ca.pem")
    const client = pairOf("keys/client-ada.pem", "keys/ca.pem")
    expect(await shakeHands(node, client, "alpha")).toEqual({ client: "ada", node: "alpha" })
    expect(await shakeHands(node, client, "127.0.0.1")).toEqual({ client: "ada", node: "alpha" })
    expect(await shakeHands(node, client, "beta")).toMatch(/beta.*not in the cert's altnames/)
    // A node's certificate is no client's, and the other way round.
    expect(await shakeHands(node, node, "alpha")).toMatch(/^the node refuses: /)
    expect(await shakeHands(client, client, "alpha")).toMatch(/purpose/)
    const stranger = { ...pairOf("others/client-eve.pem", "others/ca.pem"), ca: client.ca }
    expect(await shakeHands(node, stranger, "alpha")).toMatch(/^the node refuses: /)
    const imposter = { ...pairOf("others/node-alpha.pem", "others/ca.pem"), ca: node.ca }
    expect(await shakeHands(imposter, client, "alpha")).not.toHaveProperty("node")
  })

  it("can be added to an authority later, which stays the same", async () => {
    await run("--ca", "keys", "--node", "alpha")
    const [authority, key] = [read("keys/ca.pem"), read("keys/ca-key.pem")]
    const added = await run("--ca", "keys", "--node", "beta", "--client", "ada", "--json")
    expect(added.status).toBe(0)
    expect(JSON.parse(added.stdout)).toMatchObject({
      ca: at("keys/ca.pem"),
      issued: [
        { role: "node", name: "beta", file: at("keys/node-beta.pem") },
        { role: "client", name: "ada", file: at("keys/client-ada.pem") }
      ]
    })
    expect([read("keys/ca.pem"), read("keys/ca-key.pem")]).toEqual([authority, key])
    expect(new X509Certificate(read("keys/node-beta.pem")).verify(new X509Certificate(authority).publicKey)).toBe(true)
    expect(await run("--ca", "keys")).toMatchObject({ status: 2, stdout: "" })
  })

  it("are no longer valid than their authority", async () => {
    await run("--ca", "keys", "--node", "alpha", "--ca-days", "10")
    const authority = new X509Certificate(read("keys/ca.pem"))
    expect(new X509Certificate(read("keys/node-alpha.pem")).validToDate).toEqual(authority.validToDate)
  })

  it("never replace others, except with --force; of several none is made", async () => {
    await run("--ca", "keys", "--node", "alpha")
    const before = read("keys/node-alpha.pem")
    const refused = await run("--ca", "keys", "--node", "beta", "--node", "alpha")
    expect(refused.status).toBe(1)
    expect(refused.stderr).toMatch(/^dispy: keys\/node-alpha\.pem exists already.*\n$/)
    expect(fs.existsSync(at("keys/node-beta.pem"))).toBe(false)
    expect(await run("--ca", "keys", "--node", "alpha", "--force")).toMatchObject({ status: 0 })
    expect(read("keys/node-alpha.pem")).not.toBe(before)
  })

  it("are not made by an authority that is damaged, expired or not whole, which is left as it is", async () => {
    await run("--ca", "keys")
    await run("--ca", "others")
    const key = read("keys/ca-key.pem")
    for (
      const [file, content, message] of [
        ["keys/ca-key.pem", read("others/ca-key.pem"), "not the key of ca.pem"],
        ["keys/ca-key.pem", "nonsense", "damaged"],
        ["keys/ca-key.pem", undefined, "keys/ca-key.pem is missing"]
      ] as const
    ) {
      if (content === undefined) fs.rmSync(at(file))
      else fs.writeFileSync(at(file), content)
      const { status, stderr, stdout } = await run("--ca", "keys", "--node", "alpha")
      expect([status, stdout]).toEqual([1, ""])
      expect(stderr).toMatch(/^dispy: the certificate authority in keys cannot be used: .*\n$/)
      expect(stderr).toContain(message)
    }
    expect(fs.readdirSync(at("keys"))).toEqual(["ca.pem"])
    fs.writeFileSync(at("keys/ca-key.pem"), key)
    expect(await run("--ca", "keys", "--node", "alpha")).toMatchObject({ status: 0 })
    fs.writeFileSync(at("file"), "")
    const noDirectory = await run("--ca", "file", "--node", "alpha")
    expect(noDirectory.status).toBe(1)
    expect(noDirectory.stderr).toMatch(/^dispy: file.*\n$/)
  })
})

const hasOpenssl = ((): boolean => {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()

describe.skipIf(!hasOpenssl)("openssl (skipped where it is not installed)", () => {
  it("makes, by the command of dispy's documentation, one file that TLS takes on both sides when it is pinned", async () => {
    execFileSync(
      "openssl",
      "req -x509 -newkey rsa:2048 -keyout sskeycert.pem -nodes -out sskeycert.pem -sha256 -days 1000 -subj /CN=dispy"
        .split(" "),
      { cwd: directory, stdio: "ignore" }
    )
    const pair = pairOf("sskeycert.pem", "sskeycert.pem")
    expect(await shakeHands(pair, pair, "dispy")).toEqual({ client: "dispy", node: "dispy" })
  })

  it("finds the chains good", async () => {
    await run("--ca", "keys", "--node", "alpha", "--client", "ada")
    for (const [file, purpose] of [["node-alpha.pem", "sslserver"], ["client-ada.pem", "sslclient"]] as const) {
      const args = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", file]
      expect(execFileSync("openssl", args, { cwd: at("keys"), encoding: "utf8" })).toBe(`${file}: OK\n`)
    }
  })
})
