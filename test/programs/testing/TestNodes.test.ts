import { mkdtempSync, readdirSync, rmdirSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { createJobCluster, NodeLost } from "../../../src/promise.ts"
import { createTestCluster, createTestNodes } from "../../../src/testing.ts"
import { eventually } from "../../support/Eventually.ts"

const quiet = { logLevel: "none" } as const

const square = (n: number): number => n * n

/** Counts its calls where the test can see them, since jobs run in its process. */
const counted = (n: number): number => {
  const calls = (globalThis as unknown as { testCalls: Map<number, number> }).testCalls
  calls.set(n, (calls.get(n) ?? 0) + 1)
  return n * n
}

const startCounting = (): Map<number, number> => {
  const calls = new Map<number, number>()
  Object.assign(globalThis, { testCalls: calls })
  return calls
}

/** Where nodes have their files. */
let home = ""

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "dispy-nodes-in-memory-"))
  vi.stubEnv("TMPDIR", home)
})

afterEach(() => {
  Reflect.deleteProperty(globalThis, "testCalls")
  expect(readdirSync(home)).toEqual([])
  vi.unstubAllEnvs()
  rmdirSync(home)
})

describe("nodes in memory", () => {
  it("run jobs, all of them for a cluster without a node list", async () => {
    await using test = await createTestCluster(square, { nodes: 3 })
    const { cluster, faults } = test
    expect(cluster.status().nodes.map(({ address, cpus, name, state }) => [address, name, cpus, state])).toEqual([
      ["node-1:51348", "node-1", 2, "ready"],
      ["node-2:51348", "node-2", 2, "ready"],
      ["node-3:51348", "node-3", 2, "ready"]
    ])
    const results: Array<number> = []
    for await (const result of cluster.map([1, 2, 3, 4, 5])) results.push(result)
    expect(results).toEqual([1, 4, 9, 16, 25])
    expect(await faults.nodes()).toMatchObject([
      { name: "node-1", ipAddr: "10.0.0.1", cpus: 2, state: "running", partition: "none", running: 0 },
      { name: "node-2" },
      { name: "node-3" }
    ])
  })

  it("are what a list names: names, addresses, patterns, this machine", async () => {
    await using test = await createTestNodes({ nodes: ["alpha", { name: "beta", cpus: 5 }, "db-1", "db-2"] })
    const namesFor = async (nodes: ReadonlyArray<string>) => {
      await using cluster = await test.createJobCluster(square, { nodes, ...quiet })
      await eventually(() => expect(cluster.status().nodes.every(({ state }) => state === "ready")).toBe(true))
      expect(await cluster.run(3)).toBe(9)
      return cluster.status().nodes.map(({ availCpus, name }) => `${name} ${availCpus}`).toSorted()
    }
    expect(await namesFor(["beta"])).toEqual(["beta 5"])
    expect(await namesFor(["10.0.0.1"])).toEqual(["alpha 2"])
    expect(await namesFor(["db-*"])).toEqual(["db-1 2", "db-2 2"])
    expect(await namesFor(["local"])).toEqual(["local 2"])
    expect((await test.faults.nodes()).map(({ name, state }) => `${name} ${state}`)).toContain("local dead")
  })

  it("are joined by those that start later, which clusters without a list and with patterns take", async () => {
    await using test = await createTestCluster(square, { nodes: 0 })
    const job = test.cluster.submit(4)
    await test.faults.start({ name: "late", cpus: 1 })
    expect(await job.result()).toBe(16)
    expect(test.cluster.status().nodes.map(({ name }) => name)).toEqual(["late"])
  })

  it("tell a job where it is", async () => {
    await using test = await createTestCluster(() => `${dispy.nodeName} ${dispy.ipAddr}`, { nodes: ["alpha"] })
    expect(await test.cluster.run()).toBe("alpha 10.0.0.1")
  })

  it("carry values that travel as files, which wait where nothing gets through", async () => {
    await using test = await createTestCluster((bytes: Uint8Array) => bytes.map((byte) => byte + 1), { nodes: 1 })
    const { cluster, faults } = test
    expect((await cluster.run(new Uint8Array(2_000_000))).every((byte) => byte === 1)).toBe(true)
    await faults.partition("node-1")
    const job = cluster.submit(new Uint8Array(2_000_000))
    await faults.heal("node-1")
    expect((await job.result()).length).toBe(2_000_000)
  })
})

describe("programs under test", () => {
  it("make their clusters themselves, on the nodes of the test that runs them", async () => {
    const program = async (n: number): Promise<string> => {
      await using cluster = await createJobCluster((m: number) => `${dispy.nodeName}: ${m * m}`, { nodes: ["*"] })
      return await cluster.run(n)
    }
    await using one = await createTestNodes({ nodes: ["one"] })
    await using two = await createTestNodes({ nodes: ["two"] })
    expect(await Promise.all([one.run(() => program(2)), two.run(() => program(3))])).toEqual(["one: 4", "two: 9"])
  })

  it("may leave clusters open: they end with the nodes", async () => {
    const test = await createTestNodes({ nodes: 1 })
    const cluster = await test.run(() => createJobCluster(() => new Promise<never>(() => {}), quiet))
    const job = cluster.submit()
    await test.close()
    await expect(job.result()).rejects.toMatchObject({ _tag: "JobCancelled" })
    expect(() => cluster.submit()).toThrow(/is closed/)
  })
})

describe("a node that is killed", () => {
  it("takes its jobs with it, which end as NodeLost and name it", async () => {
    const calls = startCounting()
    await using test = await createTestCluster(counted, { nodes: 2, ...quiet })
    const { cluster, faults } = test
    await faults.hold("node-1")
    await faults.hold("node-2")
    const job = cluster.submit(7)
    const node = await faults.awaitRunning(job)
    await faults.kill(node)
    const error = await job.result().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NodeLost)
    expect((error as NodeLost).message).toContain(`${node}:51348`)
    expect([job.status, calls.get(7)]).toEqual(["Abandoned", 1])
  })

  it("has its jobs run elsewhere in a reentrant cluster: a second time, when the first was not told", async () => {
    const calls = startCounting()
    await using test = await createTestCluster(counted, { nodes: 2, reentrant: true, ...quiet })
    const { cluster, faults } = test
    await faults.hold("node-1")
    await faults.hold("node-2")
    const job = cluster.submit(7)
    await faults.kill(await faults.awaitRunning(job))
    const second = await faults.awaitRunning(job)
    await faults.release(second)
    expect(await job.result()).toBe(49)
    expect(calls.get(7)).toBe(2)
    expect(job.ipAddr).toBe(`${second}:51348`)
  })

  it("runs no cleanup, which one does that is given back", async () => {
    const calls = startCounting()
    const note = (n: number): void => {
      const seen = (globalThis as unknown as { testCalls: Map<number, number> }).testCalls
      seen.set(n, 1)
    }
    await using test = await createTestNodes({ nodes: 2 })
    const made = async (n: number) => {
      const cluster = await test.createJobCluster(square, {
        nodes: [`node-${n}`],
        cleanup: note,
        setupArgs: [n],
        ...quiet
      })
      expect(await cluster.run(n)).toBe(n * n)
      return cluster
    }
    const [killed, closed] = [await made(1), await made(2)]
    await test.faults.kill("node-1")
    await killed.close()
    await closed.close()
    expect([...calls.keys()]).toEqual([2])
  })

  it("is used again when it is restarted", async () => {
    await using test = await createTestCluster(square, { nodes: 1, ...quiet })
    const { cluster, faults } = test
    expect(await cluster.run(2)).toBe(4)
    await faults.kill("node-1")
    await test.advance("50 millis")
    expect(cluster.status().nodes).toMatchObject([{ state: "missing", reason: "connection refused" }])
    const job = cluster.submit(3)
    await faults.restart("node-1")
    await test.advance("1 second")
    expect(await job.result()).toBe(9)
  })

  it("can be one of many while a map goes on, which gives every result once", async () => {
    await using test = await createTestCluster(square, { nodes: 3, reentrant: true, ...quiet })
    const { cluster, faults } = test
    const results: Array<number> = []
    let next = 0
    for await (const result of cluster.map(Array.from({ length: 3000 }, (_, n) => n), { chunkSize: 10 })) {
      results.push(result)
      if (results.length % 500 !== 0) continue
      await faults.restart(`node-${next++ % 3 + 1}`)
    }
    expect(next).toBe(6)
    expect(results).toEqual(Array.from({ length: 3000 }, (_, n) => n * n))
  })
})

describe("a node that is frozen", () => {
  it("is given up after five pulses, and what it says later is not heard", async () => {
    const calls = startCounting()
    await using test = await createTestCluster(counted, { nodes: ["alpha"], reentrant: true, ...quiet })
    const { cluster, faults } = test
    await faults.hold("alpha")
    const job = cluster.submit(7)
    await faults.awaitRunning(job)
    await faults.freeze("alpha")
    await faults.release("alpha")
    await test.advance("20 seconds")
    expect(job.status).toBe("Running")
    await test.advance("40 seconds")
    expect(job.status).toBe("Created")
    await faults.start("beta")
    expect(await job.result()).toBe(49)
    expect(job.ipAddr).toBe("beta:51348")
    await faults.thaw("alpha")
    await test.advance("10 seconds")
    expect([calls.get(7), job.status, job.ipAddr]).toEqual([2, "Finished", "beta:51348"])
    expect(cluster.status().nodes.map(({ name, state }) => [name, state])).toEqual([
      ["alpha", "ready"],
      ["beta", "ready"]
    ])
  })

  it("starts nothing, and goes on where it was when it thaws in time", async () => {
    const calls = startCounting()
    await using test = await createTestCluster(counted, { nodes: 1, ...quiet })
    const { cluster, faults } = test
    await faults.freeze("node-1")
    const jobs = [1, 2, 3].map((n) => cluster.submit(n))
    expect(await faults.awaitPlaced(jobs[0]!)).toBe("node-1")
    await test.advance("20 seconds")
    expect(calls.size).toBe(0)
    await faults.thaw("node-1")
    expect(await Promise.all(jobs.map((job) => job.result()))).toEqual([1, 4, 9])
    expect([...calls.values()]).toEqual([1, 1, 1])
  })
})

describe("a node that is killed while it is frozen", () => {
  it("never starts what waited there, which runs elsewhere", async () => {
    const calls = startCounting()
    const gate = Promise.withResolvers<void>()
    Object.assign(calls, { gate: gate.promise })
    const work = async (n: number): Promise<number> => {
      const seen = (globalThis as unknown as { testCalls: Map<number, number> & { gate: Promise<void> } }).testCalls
      seen.set(n, (seen.get(n) ?? 0) + 1)
      if (n === 1) await seen.gate
      return n
    }
    await using test = await createTestCluster(work, { nodes: [{ name: "alpha", cpus: 1 }], reentrant: true, ...quiet })
    const { cluster, faults } = test
    // Jobs that were short so far are sent ahead.
    for (let n = 10; n < 15; n++) await cluster.run(n)
    const [running, waiting] = [cluster.submit(1), cluster.submit(2)]
    await faults.awaitRunning(running)
    await faults.awaitPlaced(waiting)
    await faults.freeze("alpha")
    gate.resolve()
    await test.advance("1 second")
    expect(calls.get(2)).toBeUndefined()
    await faults.kill("alpha")
    await test.advance("1 second")
    expect(calls.get(2)).toBeUndefined()
    await faults.start("beta")
    expect(await Promise.all([running.result(), waiting.result()])).toEqual([1, 2])
    expect([calls.get(1), calls.get(2)]).toEqual([2, 1])
  })
})

describe("a network", () => {
  it.each(["both", "toNode", "fromNode"] as const)(
    "that is parted (%s) and heals in time delivers every outcome once",
    async (direction) => {
      const calls = startCounting()
      await using test = await createTestCluster(counted, { nodes: 1, ...quiet })
      const { cluster, faults } = test
      await faults.hold("node-1")
      const job = cluster.submit(7)
      await faults.awaitRunning(job)
      await faults.partition("node-1", direction)
      await faults.release("node-1")
      const later = cluster.submit(8)
      await test.advance("20 seconds")
      expect([later.status, (await faults.nodes())[0]!.partition]).toEqual(["Running", direction])
      await faults.heal("node-1")
      await test.advance("10 seconds")
      expect(await Promise.all([job.result(), later.result()])).toEqual([49, 64])
      expect([...calls.values()]).toEqual([1, 1])
    }
  )

  it("that is parted for five pulses has lost the node, and has it again when it heals", async () => {
    await using test = await createTestCluster(() => new Promise<never>(() => {}), { nodes: 1, ...quiet })
    const { cluster, faults } = test
    const job = cluster.submit()
    await faults.awaitRunning(job)
    await faults.partition("node-1")
    await test.advance("1 minute")
    await expect(job.result()).rejects.toMatchObject({ _tag: "NodeLost" })
    await faults.heal()
    await test.advance("10 seconds")
    expect(cluster.status().nodes).toMatchObject([{ state: "ready" }])
  })

  it("that drops connections is not noticed", async () => {
    const calls = startCounting()
    await using test = await createTestCluster(counted, { nodes: 1, ...quiet })
    const { cluster, faults } = test
    for (let n = 0; n < 5; n++) {
      const jobs = [n, n + 100].map((one) => cluster.submit(one))
      await faults.drop("node-1")
      expect(await Promise.all(jobs.map((job) => job.result()))).toEqual([n ** 2, (n + 100) ** 2])
    }
    expect([...calls.values()]).toEqual(Array.from({ length: 10 }, () => 1))
  })

  it("that is slow has every message take its time, and no longer when it is healed", async () => {
    await using test = await createTestCluster(square, { nodes: 1 })
    const { cluster, faults } = test
    await faults.delay("node-1", "1 hour")
    const job = cluster.submit(4)
    await faults.awaitPlaced(job)
    expect((await faults.nodes())[0]!.running).toBe(0)
    await faults.heal("node-1")
    expect(await job.result()).toBe(16)
    await faults.delay("node-1", "8 seconds")
    const later = cluster.submit(5)
    await faults.awaitPlaced(later)
    await test.advance("1 second")
    expect((await faults.nodes())[0]!.running).toBe(0)
    expect(later.status).toBe("Running")
    await test.advance("20 seconds")
    expect(later.status).toBe("Finished")
  })

  it("that delivers twice has every job run once", async () => {
    const calls = startCounting()
    await using test = await createTestCluster(counted, { nodes: 2, ...quiet })
    await test.faults.duplicate("node-1")
    await test.faults.duplicate("node-2")
    const jobs = Array.from({ length: 20 }, (_, n) => test.cluster.submit(n))
    expect(await Promise.all(jobs.map((job) => job.result()))).toEqual(jobs.map((_, n) => n * n))
    expect([...calls.values()]).toEqual(jobs.map(() => 1))
  })
})

describe("a test", () => {
  it("cancels jobs that nodes hold", async () => {
    await using test = await createTestCluster(square, { nodes: 1 })
    await test.faults.hold("node-1")
    const job = test.cluster.submit(3)
    await test.faults.awaitRunning(job)
    expect(job.cancel()).toBe(true)
    await expect(job.result()).rejects.toMatchObject({ _tag: "JobCancelled" })
  })

  it("has timeouts and pauses over in no time", async () => {
    await using test = await createTestCluster(() => new Promise<never>(() => {}), { nodes: 1, timeout: "2 hours" })
    const job = test.cluster.submit()
    await test.faults.awaitRunning(job)
    await test.advance("2 hours")
    await expect(job.result()).rejects.toMatchObject({ _tag: "JobTimedOut" })
  })

  it("has another client take a node, and give it back", async () => {
    await using test = await createTestNodes({ nodes: 1 })
    await test.faults.occupy("node-1")
    const making = test.createJobCluster(square, quiet)
    const cluster = await making
    expect(cluster.status().nodes).toMatchObject([{ state: "busy", reason: expect.stringContaining("another client") }])
    await test.faults.vacate("node-1")
    await test.advance("1 second")
    expect(await cluster.run(3)).toBe(9)
    await expect(test.faults.occupy("node-1")).rejects.toMatchObject({ _tag: "NodeBusy" })
  })

  it("is told what is wrong with it", async () => {
    await using test = await createTestCluster(square, { nodes: ["alpha", "beta"], ...quiet })
    const { cluster, faults } = test
    await expect(faults.kill("alpa")).rejects.toThrow(
      "no node of this test is called \"alpa\"; did you mean alpha? the nodes are alpha, beta"
    )
    await faults.kill("beta")
    await expect(faults.freeze("beta")).rejects.toThrow("cannot freeze node beta: it is dead; restart it first")
    await expect(faults.start("not a name")).rejects.toThrow("\"not a name\" is not a host name")
    const job = cluster.submit(2)
    await job.result()
    await expect(faults.awaitRunning(job)).rejects.toThrow(
      "job 1 has ended (Finished) before it was seen at a node; hold or freeze the node before the job is submitted"
    )
    await expect(test.advance("soon" as never)).rejects.toMatchObject({ _tag: "InvalidOption" })
    for (const [nodes, reason] of [[-1, "-1"], [["a", "A"], "a is there twice"], ["x", "neither a number"]] as const) {
      await expect(createTestNodes({ nodes: nodes as never })).rejects.toThrow(reason)
    }
    await expect(createTestNodes({ node: 2 } as never)).rejects.toThrow("option node: there is no such option")
  })
})
