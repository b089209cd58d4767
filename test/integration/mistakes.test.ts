/** What a user gets told who asks for something that cannot be: a typed error that names the thing, at once. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { freemem, tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Computation, createJobCluster, type PromiseJobCluster } from "../../src/promise.ts"
import { untilIdle } from "../support/Leftovers.ts"

const shapes = new URL("../fixtures/integration/shapes.ts", import.meta.url)

let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dispy-mistakes-test-"))
})

afterAll(async () => {
  await rm(directory, { recursive: true })
  await untilIdle()
})

const containing = (text: string): string => expect.stringContaining(text) as string

describe("a computation that cannot be sent", () => {
  const outside = 3

  it.each([
    ["a number", 7, { _tag: "NotAFunction", message: containing("number") }],
    ["nothing", undefined, { _tag: "NotAFunction" }],
    ["a native function", Math.max, { _tag: "UnsupportedFunction", message: containing("native") }],
    [
      "a class",
      class Shape {
        sides = 3
      },
      { _tag: "UnsupportedFunction", message: containing("class") }
    ],
    ["a function with variables from outside", () => outside, {
      _tag: "FreeVariables",
      message: containing("outside")
    }],
    ["a program that is not there", "./no/such/program.sh", {
      _tag: "ProgramNotFound",
      message: containing("no/such/program.sh")
    }]
  ])("is refused by name: %s", async (_, computation, expected) => {
    await expect(createJobCluster(computation as never)).rejects.toMatchObject(expected)
  })

  it("names a capture that cannot be cloned, and where in it", async () => {
    const lookup = { by: { name: () => 1 } }
    const computation = Computation.fromFunction(() => lookup, { captures: { lookup } })
    await expect(createJobCluster(computation)).rejects.toMatchObject({
      _tag: "NotCloneable",
      message: containing("lookup.by.name")
    })
  })

  it("names the exports that a module has when it lacks the one asked for", async () => {
    await expect(createJobCluster(Computation.fromModule(shapes, "describeArena"))).rejects.toMatchObject({
      _tag: "ExportNotFound",
      message: containing("describeArea")
    })
  })

  it("names file and line of what a module gets wrong", async () => {
    const broken = join(directory, "broken.ts")
    await writeFile(broken, "export const ok = 1\nexport const compute = (n: number) => n +\n")
    await expect(createJobCluster(Computation.fromModule(broken, "compute"))).rejects.toMatchObject({
      _tag: "BundleFailed",
      message: containing("broken.ts")
    })
    const missing = join(directory, "missing.ts")
    await expect(createJobCluster(Computation.fromModule(missing, "compute"))).rejects.toMatchObject({
      _tag: "ModuleNotFound",
      message: containing("missing.ts")
    })
  })

  it("says that a module cannot be loaded on the node", async () => {
    const throwing = join(directory, "throwing.ts")
    await writeFile(throwing, "export const compute = () => 1\nthrow new Error(\"no licence found\")\n")
    await expect(createJobCluster(Computation.fromModule(throwing, "compute"), { cpus: 1, logLevel: "none" })).rejects
      .toMatchObject({ _tag: "ComputationRefused", message: containing("no licence found") })
  })

  it("refuses captures that no node would take, by their size", async () => {
    const data = new Uint8Array(60_000_000)
    const computation = Computation.fromFunction(() => data.length, { captures: { data } })
    await expect(createJobCluster(computation)).rejects.toMatchObject({
      _tag: "ComputationTooLarge",
      message: containing("50331648")
    })
  })

  it("refuses the program that makes the cluster, which a node would run again", async () => {
    const main = Computation.fromModule(process.argv[1]!, "compute")
    await expect(createJobCluster(main)).rejects.toMatchObject({
      _tag: "ModuleIsProgram",
      message: containing("a module of its own")
    })
  })

  it("names options that are none, and shows where the cluster was to be made", async () => {
    await expect(createJobCluster(() => 1, { logLevel: "loud" } as never)).rejects.toMatchObject({
      _tag: "InvalidOption",
      message: containing("debug, info, warning, error, none")
    })
    const error = await createJobCluster(7 as never).catch((cause: unknown) => cause)
    expect((error as Error).stack).toContain("mistakes.test.ts")
    expect((error as Error).stack).toMatch(/^NotAFunction: /)
  })

  it("says that the node of this machine does not start", async () => {
    await expect(createJobCluster(() => 1, { cpus: 1000, logLevel: "none" })).rejects.toMatchObject({
      _tag: "CannotStart",
      message: containing("--cpus 1000")
    })
  })
})

describe("arguments that cannot be sent", () => {
  let cluster: PromiseJobCluster<[unknown], number>

  beforeAll(async () => {
    cluster = await createJobCluster((value: unknown) => JSON.stringify(value).length, { cpus: 1 })
  })

  afterAll(() => cluster.close())

  it("throw before anything is queued, with the path of the culprit", () => {
    expect(() => cluster.submit({ user: { onClick: () => 1 } })).toThrow(
      expect.objectContaining({ _tag: "InvalidArgument", message: containing("user.onClick") }) as Error
    )
    expect(() => cluster.submit(Symbol("s"))).toThrow(
      expect.objectContaining({ message: containing("symbol") }) as Error
    )
    expect(cluster.pending).toBe(0)
  })

  it.skipIf(freemem() < 6e9)("throw when they are larger than a job may carry (needs 6 GB of free memory)", () => {
    expect(() => cluster.submit(new Uint8Array(2 ** 31))).toThrow(
      expect.objectContaining({ _tag: "ArgumentTooLarge", message: containing("2147483647") }) as Error
    )
  })

  it("carry 40 MB each way", async () => {
    const echo = await createJobCluster((bytes: Uint8Array) => bytes, { cpus: 1 })
    const bytes = new Uint8Array(40_000_000).map((_, i) => i * 31)
    const back = await echo.run(bytes)
    expect(Buffer.compare(bytes, back)).toBe(0)
    await echo.close()
  })

  it("end a map, and the inputs are told that no more is wanted", async () => {
    let isClosed = false
    const inputs = function*() {
      try {
        yield 1
        yield () => 1
        yield 3
      } finally {
        isClosed = true
      }
    }
    const results: Array<number> = []
    const all = async () => {
      for await (const length of cluster.map(inputs(), { chunkSize: 1 })) results.push(length)
    }
    await expect(all()).rejects.toMatchObject({ _tag: "InvalidArgument" })
    expect(isClosed).toBe(true)
  })

  it("that a program cannot take throw as well", async () => {
    const program = await createJobCluster("true", { cpus: 1 })
    expect(() => program.submit(7 as never)).toThrow(
      expect.objectContaining({ _tag: "InvalidArgument", message: containing("argument 1 is number") }) as Error
    )
    await program.close()
  })
})

describe("stacks", () => {
  it("name the user's own file and line for a module", async () => {
    const cluster = await createJobCluster(Computation.fromModule<() => never>(shapes, "fail"), { cpus: 1 })
    const job = cluster.submit()
    await expect(job.result()).rejects.toMatchObject({ userStack: containing("shapes.ts:8") })
    expect(job.exception?.stack).toContain("shapes.ts:8")
    expect(job.exception?.stack).not.toContain("slot/")
    await cluster.close()
  })
})
