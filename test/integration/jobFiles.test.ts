/** Files and modules that single jobs take along: there for the job, shared where they are the same, and gone after it. */
import * as fs from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest"
import { createJobCluster, Depends, ValueNotTransferred } from "../../src/promise.ts"
import { type Daemon, startDaemon } from "../support/Daemons.ts"
import { eventually } from "../support/Eventually.ts"
import { untilIdle } from "../support/Leftovers.ts"

// Functions that jobs run are sent as source, so they must not use anything of this file.

let home = ""
let prefix = ""
let daemon: Daemon
const startedIn = process.cwd()

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "dispy-job-files-"))
  prefix = join(home, "node")
  fs.mkdirSync(prefix)
  fs.mkdirSync(join(home, "client"))
  process.chdir(join(home, "client"))
  daemon = await startDaemon(["--cpus", "2", "--dest-path-prefix", prefix])
})

afterEach(async () => {
  await daemon.stop()
  process.chdir(startedIn)
  await rm(home, { recursive: true, force: true })
})

afterAll(untilIdle)

/** Contents of the files in the job's directory, after a moment. */
const readAll = async (millis = 0): Promise<Record<string, string>> => {
  const { readdirSync, readFileSync, statSync } = await import("node:fs")
  await new Promise((done) => setTimeout(done, millis))
  const names = (readdirSync(".", { recursive: true }) as Array<string>).filter((name) => statSync(name).isFile())
  return Object.fromEntries(names.toSorted().map((name) => [name, readFileSync(name, "utf8")]))
}

const write = (name: string, text: string): string => {
  fs.mkdirSync(join(name, ".."), { recursive: true })
  fs.writeFileSync(name, text)
  return name
}

describe("files of a job", () => {
  it("lie in its directory with their places, beside those of the cluster, and are gone after it", async () => {
    const depends = [write("common.txt", "for all"), write("data/shared.txt", "also")]
    await using cluster = await createJobCluster(readAll, {
      nodes: daemon.address,
      depends,
      destPath: "kept",
      cleanup: false
    })
    const forAll = { "common.txt": "for all", "data/shared.txt": "also" }
    write("data/own.txt", "only one")
    write("tree/deep/leaf.txt", "leaf")
    const own = cluster.with({ depends: ["data/own.txt", "tree", "common.txt"] })
    expect(await own.run()).toEqual({ ...forAll, "data/own.txt": "only one", "tree/deep/leaf.txt": "leaf" })
    expect(await cluster.run()).toEqual(forAll)
    expect(fs.readdirSync(prefix, { recursive: true }).map(String).filter((name) => /leaf|own|tree/.test(name)))
      .toEqual([])
  })

  it("are those of the moment at which it is sent", async () => {
    await using cluster = await createJobCluster(readAll, { nodes: daemon.address })
    const own = cluster.with({ depends: [write("state.txt", "first")] })
    expect(await own.run()).toEqual({ "state.txt": "first" })
    write("state.txt", "second")
    expect(await own.run()).toEqual({ "state.txt": "second" })
  })

  it("are shared by jobs that take the same, until the last of them is done", async () => {
    await using cluster = await createJobCluster(readAll, { nodes: daemon.address })
    const own = cluster.with({ depends: [write("same.txt", "same")] })
    const jobs = [300, 10, 150, 10, 10].map((millis) => own.submit(millis))
    for (const job of jobs) expect(await job.result()).toEqual({ "same.txt": "same" })
    const seen = []
    for await (const files of own.map(Array.from({ length: 30 }, () => 0))) seen.push(files["same.txt"])
    expect(new Set(seen)).toEqual(new Set(["same"]))
    expect(await cluster.run()).toEqual({})
  })

  it("of the same name and different contents never meet: the jobs run one after the other", async () => {
    await using cluster = await createJobCluster(readAll, { nodes: daemon.address })
    const jobs = Array.from({ length: 6 }, (_, n) => {
      const file = write(join(home, String(n), "input.txt"), `number ${n}`)
      return cluster.with({ depends: [file] }).submit(30)
    })
    for (const [n, job] of jobs.entries()) expect(await job.result()).toEqual({ "input.txt": `number ${n}` })
    expect(await cluster.run()).toEqual({})
  })

  it("may not replace one of the cluster's: the job says so, and others go on", async () => {
    await using cluster = await createJobCluster(readAll, {
      nodes: daemon.address,
      depends: [write("common.txt", "for all")]
    })
    const file = write(join(home, "elsewhere", "common.txt"), "another")
    const error = await cluster.with({ depends: [file] }).run().catch((failed: unknown) => failed)
    expect(error).toBeInstanceOf(ValueNotTransferred)
    expect((error as Error).message).toMatch(/the cluster has another file common\.txt in its depends/)
    expect(await cluster.run()).toEqual({ "common.txt": "for all" })
  })

  it("that have gone until the job is sent are named by its error", async () => {
    await using cluster = await createJobCluster(readAll, { nodes: daemon.address })
    const own = cluster.with({ depends: [write("short-lived.txt", "")] })
    fs.unlinkSync("short-lived.txt")
    const job = own.submit()
    await expect(job.result()).rejects.toThrow(/short-lived\.txt cannot be sent to the nodes: there is no such file/)
    expect(() => cluster.with({ depends: ["short-lived.txt"] })).toThrow(/there is no such file/)
    expect(await cluster.run()).toEqual({})
  })

  it("go with a job that is cancelled, whether it ran, waited for its files or in the queue", async () => {
    await using cluster = await createJobCluster(readAll, { nodes: daemon.address })
    const first = cluster.with({ depends: [write(join(home, "a", "in.txt"), "a")] }).submit(60_000)
    const second = cluster.with({ depends: [write(join(home, "b", "in.txt"), "b")] }).submit(0)
    await eventually(() => expect([first.status, second.status]).toEqual(["Running", "Running"]))
    const third = cluster.with({ depends: [write(join(home, "c", "in.txt"), "c")] }).submit(0)
    cluster.cancel(second)
    cluster.cancel(first)
    await expect(second.result()).rejects.toThrow(/cancelled/)
    await expect(first.result()).rejects.toThrow(/cancelled/)
    expect(await third.result()).toEqual({ "in.txt": "c" })
    expect(await cluster.run()).toEqual({})
  })

  it("are there for programs, with modules", async () => {
    write("stats.ts", "export const mean = (all: Array<number>) => all.reduce((a, b) => a + b) / all.length\n")
    write(
      "main.mjs",
      "import { mean } from './stats.mjs'\nimport { readFileSync } from 'node:fs'\n" +
        "console.log(mean(JSON.parse(readFileSync(process.argv[2], 'utf8'))))\n"
    )
    await using cluster = await createJobCluster("node", { nodes: daemon.address })
    const stats = Depends.module(pathToFileURL("stats.ts"), "stats")
    const own = cluster.with({ depends: ["main.mjs", write("sample.json", "[1, 2, 6]"), stats] })
    const job = own.submit("main.mjs", "sample.json")
    expect([await job.result(), job.stdout, job.stderr]).toEqual([0, "3\n", ""])
    expect(await cluster.submit("main.mjs", "sample.json").result()).not.toBe(0)
  })
})

describe("modules of a job", () => {
  it("are globals and importable while it runs, in the version that it brought, and not after it", async () => {
    const ask = async () => {
      const name = "version"
      const imported = await import(name).then((module) => module.number, () => "none")
      return [typeof Reflect.get(globalThis, name), imported]
    }
    await using cluster = await createJobCluster(ask, { nodes: daemon.address, cpus: 1 })
    for (const n of [1, 2]) {
      const file = write(join(home, String(n), "version.ts"), `export const number: number = ${n}\n`)
      const own = cluster.with({ depends: [Depends.module(pathToFileURL(file), "version")] })
      expect(await own.run()).toEqual(["object", n])
      expect(await own.run()).toEqual(["object", n])
      expect(await cluster.run()).toEqual(["undefined", "none"])
    }
  })

  it("can be used by the functions that come with it", async () => {
    const call = (n: number): number => (Reflect.get(globalThis, "twice") as (n: number) => number)(n)
    const twice = (n: number): number => math.double(n)
    await using cluster = await createJobCluster(call, { nodes: daemon.address })
    const file = write("math.ts", "export const double = (n: number) => n * 2\n")
    const own = cluster.with({ depends: [twice, Depends.module(pathToFileURL(file), "math")] })
    expect(await own.run(21)).toBe(42)
  })
})

declare const math: { readonly double: (n: number) => number }
