/** Secrets, on real nodes: who is let in, what both sides say, and what else goes on meanwhile. */
import * as fs from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest"
import { createJobCluster } from "../../src/promise.ts"
import { type Daemon, startDaemon } from "../support/Daemons.ts"
import { untilIdle } from "../support/Leftovers.ts"

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
    await vi.waitFor(() => {
      expect(other.status().nodes[0]).toMatchObject({
        state: "missing",
        reason: expect.stringMatching(/secrets differ/)
      })
    })
    const none = await cluster({ nodes: [secured.address, plain.address] })
    expect(await none.run(2)).toBe(4)
    await vi.waitFor(() => {
      expect(none.status().nodes[0]!.reason).toMatch(/this node wants its secret: give the client the same one/)
    })
    const own = await cluster({ nodes: [plain.address, "local"], cpus: 1, secretFile })
    expect(await own.run(3)).toBe(6)
    await vi.waitFor(() => {
      expect(own.status().nodes[0]!.reason).toMatch(/it has neither a secret nor a certificate: start it with --secret/)
    })
    const right = await cluster({ nodes: secured.address, secretFile })
    expect(await right.run(4)).toBe(8)
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

describe("strangers", () => {
  it("of any number that connect and say little keep nobody waiting", async () => {
    const node = await daemon("--secret-file", secretFile, "--msg-timeout", "100")
    const strangers = Array.from({ length: 2000 }, () => net.connect(node.port, "127.0.0.1"))
    for (const stranger of strangers) stranger.on("error", () => {}).write(Uint8Array.of(0x16))
    try {
      await vi.waitFor(() => expect(strangers.filter(({ closed }) => closed).length).toBeGreaterThan(1800), 20_000)
      const made = await cluster({ nodes: node.address, secretFile })
      for (let n = 0; n < 20; n++) expect(await made.run(n)).toBe(n * 2)
      expect(strangers.filter(({ closed }) => !closed).length).toBeGreaterThan(100)
    } finally {
      for (const stranger of strangers) stranger.destroy()
    }
  })
})
