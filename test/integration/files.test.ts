/** Files and large values through the whole system: both ways, kept or gone, refused with a reason. */
import { createHash, randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest"
import { createJobCluster, type ReceivedFile } from "../../src/promise.ts"
import { type Daemon, startDaemon } from "../support/Daemons.ts"
import { eventually } from "../support/Eventually.ts"
import { untilIdle } from "../support/Leftovers.ts"

// Functions that jobs run are sent as source, so they must not use anything of this file.

let home = ""
let prefix = ""
let daemon: Daemon
const startedIn = process.cwd()

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "dispy-files-"))
  prefix = join(home, "node")
  fs.mkdirSync(prefix)
  fs.mkdirSync(join(home, "client"))
  process.chdir(join(home, "client"))
  daemon = await startDaemon(["--cpus", "2", "--dest-path-prefix", prefix, "--max-file-size", "20M"])
})

afterEach(async () => {
  await daemon.stop()
  process.chdir(startedIn)
  await rm(home, { recursive: true, force: true })
})

afterAll(untilIdle)

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Files below a directory. */
const filesIn = (directory: string): ReadonlyArray<string> =>
  fs.existsSync(directory)
    ? fs.readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
      .toSorted()
    : []

const readAll = async (): Promise<Record<string, string>> => {
  const { createHash: hash } = await import("node:crypto")
  const { readdirSync, readFileSync, statSync } = await import("node:fs")
  const all: Record<string, string> = {}
  for (const name of (readdirSync(".", { recursive: true }) as Array<string>).sort()) {
    if (statSync(name).isFile()) all[name] = hash("sha256").update(readFileSync(name)).digest("hex")
  }
  return all
}

describe("depends", () => {
  it("has files and directories in the jobs' directory, with their places, on every start", async () => {
    const outside = join(home, "model 😀.bin")
    const contents: Record<string, Buffer> = {
      "data/table.csv": Buffer.from("a,b\n"),
      "assets/a/deep file.txt": randomBytes(100_000),
      "assets/empty": Buffer.alloc(0)
    }
    for (const [name, bytes] of Object.entries(contents)) {
      fs.mkdirSync(join(name, ".."), { recursive: true })
      fs.writeFileSync(name, bytes)
    }
    const model = randomBytes(2_000_000)
    fs.writeFileSync(outside, model)
    fs.symlinkSync("deep file.txt", "assets/a/link")
    const expected = {
      ...Object.fromEntries(Object.entries(contents).map(([name, bytes]) => [name, sha256(bytes)])),
      "assets/a/link": sha256(contents["assets/a/deep file.txt"]!),
      "model 😀.bin": sha256(model)
    }
    const depends = ["data/table.csv", "./assets", new URL(`file://${encodeURI(outside)}`)]
    const cluster = await createJobCluster(readAll, { nodes: daemon.address, depends })
    expect(await cluster.run()).toEqual(expected)
    expect(cluster.status().nodes[0]!.transferred.files).toBe(4)
    await cluster.close()
    expect(filesIn(prefix).filter((name) => /\/(work|files|values|incoming)\//.test(name))).toEqual([])
  })

  it("are there for programs too", async () => {
    fs.writeFileSync("words", "some words")
    await using cluster = await createJobCluster("cat", { nodes: daemon.address, depends: ["words"] })
    const job = cluster.submit("words")
    expect([await job.result(), job.stdout]).toEqual([0, "some words"])
  })

  it("are kept with destPath and cleanup: false, and not sent again, also after the node was restarted", async () => {
    fs.writeFileSync("big", randomBytes(3_000_000))
    const options = { depends: ["big"], destPath: "my/place", cleanup: false }
    const transferred = async (more = {}) => {
      await using cluster = await createJobCluster(readAll, { nodes: daemon.address, ...options, ...more })
      expect(await cluster.run()).toEqual({ big: sha256(fs.readFileSync("big")) })
      const { files, skippedFiles } = cluster.status().nodes[0]!.transferred
      return [files, skippedFiles]
    }
    expect(await transferred()).toEqual([1, 0])
    expect(await transferred()).toEqual([0, 1])
    await daemon.stop()
    daemon = await startDaemon(["--cpus", "2", "--dest-path-prefix", prefix])
    expect(await transferred()).toEqual([0, 1])
    fs.writeFileSync("big", randomBytes(3_000_000))
    expect(await transferred({ cleanup: true })).toEqual([1, 0])
    expect(filesIn(prefix).filter((name) => /\/(work|files|values|incoming)\//.test(name))).toEqual([])
  })

  it("with destPath are removed by the next daemon when theirs was killed", async () => {
    fs.writeFileSync("x", "x")
    const cluster = await createJobCluster(readAll, { nodes: daemon.address, depends: ["x"], destPath: "p" })
    await cluster.run()
    expect(filesIn(join(prefix)).some((name) => name.endsWith("/p/x"))).toBe(true)
    await daemon.kill()
    await cluster.close({ timeout: 0, terminate: true })
    daemon = await startDaemon(["--cpus", "1", "--dest-path-prefix", prefix])
    await using other = await createJobCluster(readAll, { nodes: daemon.address })
    await other.run()
    expect(filesIn(prefix).filter((name) => name.includes("/files/"))).toEqual([])
  })

  it("are refused before anything is sent: what is missing, collides, leads out, or is too large", async () => {
    fs.writeFileSync("here", "1")
    fs.mkdirSync("d")
    fs.symlinkSync("/etc/hostname", "d/out")
    fs.mkdirSync(join(home, "other"))
    fs.writeFileSync(join(home, "other", "HERE"), "2")
    fs.writeFileSync("con", "")
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string, RegExp]> = [
      [["nope"], "FileNotUsable", /client\/nope cannot be sent to the nodes: there is no such file or directory/],
      [["here", join(home, "other/HERE")], "FilesCollide", /here and .*HERE cannot be sent together/],
      [["d"], "FileNotUsable", /d\/out .*a link out of the directory that is sent, to \/etc\/hostname/],
      [["/dev/zero"], "FileNotUsable", /\/dev\/zero .*neither a file nor a directory/],
      [["con"], "FileNotUsable", /con .*a device on some systems/]
    ]
    for (const [depends, tag, message] of cases) {
      const error = await createJobCluster(readAll, { nodes: daemon.address, depends }).catch((cause: Error) => cause)
      expect(error).toMatchObject({ _tag: tag, message: expect.stringMatching(message) })
    }
    fs.writeFileSync("large", Buffer.alloc(2000))
    const large = { nodes: daemon.address, depends: ["large"], maxFileSize: 1000 }
    expect(await createJobCluster(readAll, large).catch((cause: Error) => cause)).toMatchObject({
      _tag: "FileTooLarge",
      sizeBytes: 2000,
      limitBytes: 1000
    })
  })

  it("larger than the node's limit have it refused with both sizes, and other clusters go on", async () => {
    await using other = await createJobCluster(readAll, { nodes: daemon.address })
    fs.writeFileSync("large", "")
    fs.truncateSync("large", 21 * 1024 * 1024)
    const error = await createJobCluster(readAll, { nodes: daemon.address, depends: ["large"] }).catch((cause: Error) =>
      cause
    )
    expect(error).toMatchObject({
      _tag: "ComputationRefused",
      message: expect.stringContaining("file large has 22020096 bytes, more than the 20971520 that this node takes")
    })
    expect(await other.run()).toEqual({})
  })
})

describe("cluster.sendFile", () => {
  it("puts a file under its last name to the jobs of the node, and tells how far it is", async () => {
    fs.mkdirSync("sub")
    fs.writeFileSync("sub/late.bin", randomBytes(5_000_000), { mode: 0o755 })
    await using cluster = await createJobCluster(readAll, { nodes: daemon.address })
    const seen: Array<number> = []
    const sent = await cluster.sendFile("sub/late.bin", daemon.address, {
      onProgress: ({ sentBytes, sizeBytes }) => seen.push(sentBytes / sizeBytes)
    })
    expect(sent).toBe(0)
    expect(seen.at(-1)).toBe(1)
    expect(await cluster.run()).toEqual({ "late.bin": sha256(fs.readFileSync("sub/late.bin")) })
    const node = cluster.status().nodes[0]!
    expect(await cluster.sendFile("sub/late.bin", node)).toBe(0)
  })

  it("fails when the node refuses the file, and for unknown nodes and files", async () => {
    fs.writeFileSync("large", "")
    fs.truncateSync("large", 21 * 1024 * 1024)
    await using cluster = await createJobCluster(readAll, { nodes: daemon.address })
    const failing = (path: string, node: string) => cluster.sendFile(path, node).catch((cause: Error) => cause)
    expect(await failing("large", daemon.address)).toMatchObject({
      _tag: "FileTooLarge",
      message: expect.stringMatching(/^file large has 22020096 bytes, more than the 20971520 that node 127/)
    })
    expect(await failing("nope", daemon.address)).toMatchObject({
      _tag: "TransferFailed",
      reason: "there is no such file"
    })
    expect(await failing("large", "other")).toMatchObject({ _tag: "UnknownNode", known: [daemon.address] })
    expect(await cluster.run()).toEqual({})
  })

  it("ends with the signal's reason, and leaves nothing there", async () => {
    fs.writeFileSync("some", randomBytes(20_000_000))
    await using cluster = await createJobCluster(readAll, { nodes: daemon.address })
    const controller = new AbortController()
    const sending = cluster.sendFile("some", daemon.address, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error("enough"))
    })
    await expect(sending).rejects.toThrow("enough")
    expect(await cluster.run()).toEqual({})
  })
})

describe("dispy.sendFile", () => {
  const produce = async (name: string, size: number, isAwaited: boolean) => {
    const { chmodSync, mkdirSync, utimesSync, writeFileSync } = await import("node:fs")
    mkdirSync(name.slice(0, Math.max(0, name.lastIndexOf("/"))) || ".", { recursive: true })
    writeFileSync(name, Buffer.alloc(size, name))
    chmodSync(name, 0o640)
    utimesSync(name, 1_000_000_000, 1_000_000_000)
    const sent = dispy.sendFile(name)
    return isAwaited ? await sent : 7
  }

  it("brings a file to the client with its place, mode and time, awaited or not", async () => {
    const seen: Array<ReceivedFile> = []
    await using cluster = await createJobCluster(produce, {
      nodes: daemon.address,
      filesDirectory: "results",
      onFile: (file) => seen.push(file)
    })
    expect(await cluster.with({ id: "first" }).run("out/one.bin", 3_000_000, true)).toBe(0)
    expect(await cluster.run("two", 10, false)).toBe(7)
    expect(await cluster.run(join(home, "elsewhere"), 10, true)).toBe(0)
    expect(filesIn("results")).toEqual(["elsewhere", "out/one.bin", "two"])
    const { mode, mtimeMs, size } = fs.statSync("results/out/one.bin")
    expect([mode & 0o777, mtimeMs, size]).toEqual([0o640 & ~process.umask(), 1_000_000_000_000, 3_000_000])
    expect(seen[0]).toEqual({ job: "first", path: join(process.cwd(), "results/out/one.bin"), sizeBytes: 3_000_000 })
    expect(seen).toHaveLength(3)
  })

  it("is refused by what the client or the node takes, and by what is there; the job hears why", async () => {
    fs.mkdirSync("results/taken", { recursive: true })
    fs.mkdirSync(join(home, "mine"))
    fs.symlinkSync(join(home, "mine"), "results/link")
    await using cluster = await createJobCluster(produce, {
      nodes: daemon.address,
      filesDirectory: "results",
      maxFileSize: 1000
    })
    const reason = (...args: Parameters<typeof cluster.run>) =>
      cluster.run(...args).catch((cause: Error) => cause.message)
    expect(await reason("x", 2000, true)).toMatch(/has 2000 bytes, more than the 1000 that the client takes/)
    expect(await reason("y", 21 * 1024 * 1024, true)).toMatch(/more than the 20971520 that node .* sends/)
    expect(await reason("taken", 10, true)).toMatch(/taken is a directory/)
    expect(await reason("link/x", 10, true)).toMatch(/link is not a directory, or a link/)
    expect(await reason("con", 10, true)).toMatch(/con.*device on some systems/)
    expect(filesIn("results")).toEqual([])
    expect(filesIn(join(home, "mine"))).toEqual([])
    expect(await cluster.run("fine", 10, true)).toBe(0)
  })

  it("leaves one of two files whole when two jobs send the same name at once", async () => {
    await using cluster = await createJobCluster(async (letter: string) => {
      const { writeFileSync } = await import("node:fs")
      const { mkdtempSync } = await import("node:fs")
      const name = `${mkdtempSync("/tmp/dispy-files-same-")}/same`
      writeFileSync(name, Buffer.alloc(4_000_000, letter))
      const sent = await dispy.sendFile(name)
      const { rmSync } = await import("node:fs")
      rmSync(name.slice(0, -5), { recursive: true })
      return sent
    }, { nodes: daemon.address, filesDirectory: "results" })
    await Promise.all(["a", "b", "a", "b"].map((letter) => cluster.run(letter)))
    const bytes = fs.readFileSync("results/same")
    expect(bytes.equals(Buffer.alloc(4_000_000, bytes[0]))).toBe(true)
    expect(filesIn("results")).toEqual(["same"])
  })

  it("leaves nothing of a file whose job is cancelled or dies on the way", async () => {
    const cluster = await createJobCluster(async (how: string) => {
      const { truncateSync, writeFileSync } = await import("node:fs")
      writeFileSync("large", "")
      truncateSync("large", 20_000_000)
      const sent = dispy.sendFile("large")
      if (how === "exit") process.exit(1)
      await sent
      for (;;);
    }, { nodes: daemon.address, filesDirectory: "results", grace: 100 })
    await expect(cluster.run("exit")).rejects.toMatchObject({ _tag: "JobCrashed" })
    const job = cluster.submit("cancel")
    job.result().catch(() => {})
    await cluster.close({ timeout: "100 millis", terminate: true })
    expect(filesIn("results").filter((name) => name !== "large")).toEqual([])
    if (fs.existsSync("results/large")) expect(fs.statSync("results/large").size).toBe(20_000_000)
  })
})

describe("large values", () => {
  it("go both ways, as arguments, results, and items of a map, and leave no files", async () => {
    const twice = (bytes: Uint8Array): Uint8Array => {
      const both = new Uint8Array(bytes.length * 2)
      both.set(bytes)
      both.set(bytes, bytes.length)
      return both
    }
    await using cluster = await createJobCluster(twice, { nodes: daemon.address })
    for (const size of [1024 * 1024 - 100, 1024 * 1024 + 100, 20_000_000]) {
      const bytes = randomBytes(size)
      const result = await cluster.run(bytes)
      expect(Buffer.compare(Buffer.from(result), Buffer.concat([bytes, bytes]))).toBe(0)
    }
    let total = 0
    for await (const result of cluster.map([1, 2, 3, 4, 5].map((n) => randomBytes(n * 1_000_000)))) {
      total += result.length
    }
    expect(total).toBe(30_000_000)
    await eventually(() => expect(filesIn(prefix).filter((name) => /args-|result-|incoming/.test(name))).toEqual([]))
  })

  it("have one outcome when they are cancelled on their way", async () => {
    await using cluster = await createJobCluster((bytes: Uint8Array) => bytes, { nodes: daemon.address })
    const bytes = new Uint8Array(30_000_000)
    const outcomes = Array.from({ length: 6 }, (_, i) => {
      const job = cluster.submit(bytes)
      const outcome = job.result().then((result) => result.length, (error) => (error as { _tag: string })._tag)
      setTimeout(() => job.cancel(), i * 30)
      return outcome
    })
    for (const outcome of await Promise.all(outcomes)) expect(["JobCancelled", 30_000_000]).toContain(outcome)
    expect(cluster.pending).toBe(0)
    expect((await cluster.run(bytes.subarray(0, 2_000_000))).length).toBe(2_000_000)
  })

  it("of a node that is lost while it gets them run elsewhere", async () => {
    const other = await startDaemon(["--cpus", "1", "--dest-path-prefix", prefix])
    await using cluster = await createJobCluster((bytes: Uint8Array) => bytes.length, {
      nodes: [daemon.address, other.address],
      logLevel: "none"
    })
    const bytes = new Uint8Array(100_000_000)
    const jobs = Array.from({ length: 3 }, () => cluster.submit(bytes))
    await other.kill()
    for (const job of jobs) {
      const outcome = await job.result().catch((error: { _tag: string }) => error._tag)
      // What had started there may not run twice.
      expect([100_000_000, "NodeLost"]).toContain(outcome)
    }
  })
})

const residentMiB = (pid: number, field: "VmRSS" | "VmHWM"): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024

/** How much a process grows at most from now on. A daemon that runs from its sources is larger than a built one. */
const growthOf = (pid: number): () => number => {
  fs.writeFileSync(`/proc/${pid}/clear_refs`, "5")
  const before = residentMiB(pid, "VmRSS")
  return () => residentMiB(pid, "VmHWM") - before
}

describe("memory", () => {
  it(
    "of a node grows by less than 90 MiB, to below 150, while a job prints 1 GiB, of which the limit is kept",
    { timeout: 120_000 },
    async () => {
      await using cluster = await createJobCluster(async (mebibytes: number) => {
        const chunk = "x".repeat(2 ** 20)
        for (let i = 0; i < mebibytes; i++) process.stdout.write(chunk)
      }, { nodes: daemon.address, outputLimit: 100_000 })
      await cluster.run(1)
      const growth = growthOf(daemon.pid)
      const job = cluster.submit(1024)
      await job.result()
      expect(job.stdout!.length).toBeLessThan(101_000)
      expect(job.stdout).toMatch(/bytes/)
      expect(growth()).toBeLessThan(90)
    }
  )

  it("of a node stays flat while a value of 200 MB goes there and another comes back", async () => {
    await using cluster = await createJobCluster((bytes: Uint8Array) => bytes, { nodes: daemon.address })
    await cluster.run(new Uint8Array(2_000_000))
    const growth = growthOf(daemon.pid)
    const bytes = new Uint8Array(200_000_000)
    expect((await cluster.run(bytes)).length).toBe(200_000_000)
    expect(growth()).toBeLessThan(100)
  })

  it("of a client has room for a queue of many large arguments: beyond 256 MiB they wait on the disk", async () => {
    // 400 jobs of 1 MiB here; 10,000 take the same way.
    await using cluster = await createJobCluster((bytes: Uint8Array) => bytes, { nodes: daemon.address })
    await cluster.run(new Uint8Array(1))
    const bytes = randomBytes(2 ** 20)
    const spilled = (): number =>
      fs.readdirSync(tmpdir()).filter((name) => name.startsWith(`dispy-arguments-${process.pid}-`))
        .reduce((sum, name) => sum + fs.readdirSync(join(tmpdir(), name)).length, 0)
    const jobs = Array.from({ length: 400 }, () => cluster.submit(bytes))
    expect(spilled()).toBeGreaterThan(100)
    let sum = 0
    for (const job of jobs) sum += (await job.result()).length
    expect(sum).toBe(400 * 2 ** 20)
    await eventually(() => expect(spilled()).toBe(0))
  })
})
