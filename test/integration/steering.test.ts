/** Users steer real nodes: node lists that choose, pinned jobs, cpus, leaving and taking nodes, events, explanations. */
import { existsSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, it, vi } from "vitest"
import { type AvailInfo, type ClusterEvent, type DispyJob, NodeAllocate } from "../../src/promise.ts"
import { eventually } from "../support/Eventually.ts"
import * as Nodes from "../support/Nodes.ts"

const { cluster, daemon, directory } = Nodes.forTests()

interface JobGlobals {
  readonly dispy: { readonly nodeName: string }
}

const spin = (millis: number): string => {
  const end = Date.now() + millis
  while (Date.now() < end);
  return (globalThis as unknown as JobGlobals).dispy.nodeName
}

/** Runs until the file is there; the first line of its output says that it has begun. */
const until = async (file: string): Promise<string> => {
  const fs = process.getBuiltinModule("node:fs")
  fs.writeFileSync(`${file}.begun`, "")
  while (!fs.existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 2))
  return (globalThis as unknown as JobGlobals).dispy.nodeName
}

/** A job that has begun, and the end of it. */
const gate = (name: string) => {
  const file = join(directory(), name)
  return {
    file,
    begun: () => eventually(() => expect(existsSync(`${file}.begun`)).toBe(true)),
    open: () => writeFile(file, "")
  }
}

/** Most jobs that ran at the same time. */
const most = (jobs: ReadonlyArray<DispyJob<unknown>>): number => {
  const spans = jobs.map((job) => [job.startTime!, job.endTime! - 3] as const)
  return Math.max(...spans.map(([at]) => spans.filter(([from, to]) => from <= at && at < to).length))
}

describe("node lists", () => {
  it("use nodes that patterns mean and that become known, by whole addresses and names", async () => {
    const [a, b] = await Promise.all([daemon("--name", "render-1"), daemon("--name", "render-10")])
    const made = await cluster(spin, { nodes: ["render-1"], nodePort: a.port })
    await made.discoverNodes([a.address, b.address])
    await made.close({ timeout: 0 })
    const named = await cluster(spin, { nodes: { host: "render-1*", cpus: 1 }, nodePort: a.port })
    await named.discoverNodes(b.address)
    const ready = () => named.status().nodes.filter((node) => node.state === "ready")
    await eventually(() =>
      expect(ready().map((node) => [node.name, node.cpus])).toEqual([["render-1", 1], ["render-10", 1]])
    )
    const exact = await cluster(spin, { nodes: { host: "*-1" }, nodePort: a.port })
    await exact.discoverNodes(b.address)
    expect(await exact.run(1)).toBe("render-1")
    await eventually(() => expect(exact.status().nodes.map((node) => node.name)).toEqual(["render-1"]))
  })

  it("find this machine's own dispynode for a pattern, and say what was tried when there is none", async () => {
    const own = await daemon("--name", "own")
    const made = await cluster(spin, { nodes: ["*"], nodePort: own.port })
    expect(await made.run(1)).toBe("own")
    await made.close()
    await own.stop()
    const written = vi.spyOn(process.stderr, "write").mockReturnValue(true)
    try {
      const none = await cluster(spin, { nodes: ["192.168.3.*"], nodePort: own.port, logLevel: "warning" })
      const job = none.submit(1)
      expect(job.explain()).toMatchObject({ code: "NoNodes", status: "Created" })
      await eventually(
        () => expect(written.mock.calls.flat().join("")).toContain(`tried 127.0.0.1:${own.port} (connection refused)`)
      )
      expect(written.mock.calls.flat().join("")).toContain("no node found for 192.168.3.*")
    } finally {
      written.mockRestore()
    }
  })

  it("ask subclasses of NodeAllocate what they use, with what the node has to spare, and leave them as they are", async () => {
    const [a, b] = await Promise.all([daemon("--name", "a"), daemon("--name", "b")])
    const asked = new Map<string, unknown>()
    class Filter extends NodeAllocate {
      override allocate(
        { name }: { readonly name: string },
        ipAddr: string,
        node: string,
        cpus: number,
        availInfo: AvailInfo,
        platform: string
      ): number {
        asked.set(node, [name, ipAddr, cpus, availInfo.memory > 2 ** 20, platform.startsWith(process.platform)])
        return node === "a" && availInfo.disk > 0 ? 1 : 0
      }
    }
    const entries = [new Filter(a.address), new Filter("127.0.0.1", { port: b.port, cpus: 1 })]
    const fieldsOf = () => entries.map((entry) => structuredClone(Object.entries(entry)))
    const before = fieldsOf()
    const made = await cluster(spin, { nodes: entries })
    await Nodes.settled(made)
    expect(Object.fromEntries(asked)).toEqual({
      a: ["spin", "127.0.0.1", 2, true, true],
      b: ["spin", "127.0.0.1", 2, true, true]
    })
    expect(made.status().nodes).toMatchObject([
      { name: "a", state: "ready", cpus: 1, availCpus: 2 },
      { name: "b", state: "unused", cpus: 0, reason: "allocate gave 0 cpus" }
    ])
    // A node that is not used is not held either.
    const other = await cluster(spin, { nodes: [b.address] })
    expect(await other.run(1)).toBe("b")
    await made.close()
    expect(fieldsOf()).toEqual(before)
  })

  it("do not use a node whose allocate throws or returns nonsense, and say why", async () => {
    const node = await daemon()
    const made = await cluster(spin, {
      nodes: [
        {
          host: node.address,
          allocate: () => {
            throw new RangeError("no idea")
          }
        },
        { host: "127.*", allocate: () => "all" as never }
      ]
    })
    expect(made.status().nodes).toMatchObject([{ state: "unused", reason: "allocate threw RangeError: no idea" }])
    expect(made.explain(made.submit(1))).toMatchObject({
      code: "NoUsableNode",
      text: expect.stringContaining("is not used: allocate threw RangeError: no idea") as string
    })
  })

  it("give each node files of its own", async () => {
    const [a, b] = await Promise.all([daemon("--name", "a"), daemon("--name", "b")])
    for (const name of ["a", "b"]) await writeFile(join(directory(), `part-${name}`), `the part of ${name}`)
    const made = await cluster(() => {
      const fs = process.getBuiltinModule("node:fs")
      return fs.readdirSync(".").map((name) => fs.readFileSync(name, "utf8"))
    }, {
      nodes: [a.address, b.address].map((host) => ({
        host,
        allocate: ({ cpus, name }) => ({ cpus, depends: [join(directory(), `part-${name}`)] })
      }))
    })
    expect([await made.submitNode("a").result(), await made.submitNode("b").result()]).toEqual([
      ["the part of a"],
      ["the part of b"]
    ])
    const missing = { host: a.address, allocate: () => ({ cpus: 1, depends: [join(directory(), "nothing")] }) }
    await expect(cluster(() => 1, { nodes: missing })).rejects.toMatchObject({
      _tag: "ComputationRefused",
      message: expect.stringContaining("nothing") as string
    })
  })

  it("take tuples: at most so many cpus, or all but so many", async () => {
    const [a, b, c] = await Promise.all([daemon(), daemon(), daemon()])
    const made = await cluster(spin, { nodes: [["127.0.0.1", a.port, 1], ["127.0.0.1", b.port, -1], [c.address]] })
    await Nodes.settled(made)
    expect(made.status().nodes.map((node) => node.cpus)).toEqual([1, 1, 2])
  })
})

describe("cpus of a node", () => {
  it("are a limit on the node itself, where short jobs are sent ahead", async () => {
    const node = await daemon()
    const made = await cluster(spin, { nodes: [[node.address, undefined, 1]] })
    // Short jobs first: they teach the client to send ahead.
    const jobs = [
      ...Array.from({ length: 200 }, () => made.submit(0)),
      ...Array.from({ length: 30 }, () => made.submit(25))
    ]
    await Promise.all(jobs.map((job) => job.result()))
    expect(most(jobs.slice(200))).toBe(1)
    expect(await made.setNodeCpus(node.address, 5)).toBe(2)
    const more = Array.from({ length: 24 }, () => made.submit(40))
    await Promise.all(more.map((job) => job.result()))
    expect(most(more)).toBe(2)
  })

  it("change as dispy's do, and a node without any gets nothing new", async () => {
    const node = await daemon("--cpus", "2")
    const made = await cluster(spin, { nodes: node.address })
    const used: Array<number> = []
    for (const cpus of [1, -1, 0, 5, -5, 2]) used.push(await made.setNodeCpus(node.address, cpus))
    expect(used).toEqual([1, 1, 0, 2, 2, 2])
    await made.setNodeCpus(node.address, 0)
    const job = made.submit(1)
    expect(job.explain()).toMatchObject({
      code: "NoUsableNode",
      text: expect.stringContaining("may use none of its cpus") as string
    })
    await made.setNodeCpus("127.0.0.1", 1)
    expect(typeof await job.result()).toBe("string")
    await expect(made.setNodeCpus(node.address, 0.5)).rejects.toMatchObject({ _tag: "InvalidOption" })
  })
})

describe("pinned jobs", () => {
  it("run on their node, however it is called, and before all others there", async () => {
    const [a, b] = await Promise.all([
      daemon("--name", "alpha", "--cpus", "1"),
      daemon("--name", "beta", "--cpus", "1")
    ])
    const made = await cluster(spin, { nodes: [a.address, b.address], nodePort: a.port })
    const nodes = made.status().nodes
    const refs = [nodes[1]!, b.address, "BETA", `[::ffff:127.0.0.1]:${b.port}`]
    const jobs = refs.map((ref) => made.submitNode(ref, 1))
    expect(await Promise.all(jobs.map((job) => job.result()))).toEqual(["beta", "beta", "beta", "beta"])
    expect(made.submitJobId(7, 1).id).toBe(7)
    const named = made.submitJobIdNode("mine", "alpha", 1)
    expect([named.id, await named.result()]).toEqual(["mine", "alpha"])
  })

  it("are refused for nodes that there are not, with those that there are, and for those that are away", async () => {
    const [a, gone] = await Promise.all([daemon("--name", "alpha"), daemon()])
    await gone.stop()
    const made = await cluster(spin, { nodes: [a.address, gone.address] })
    const refused = (node: string) => {
      try {
        return made.submitNode(node, 1)
      } catch (error) {
        return error
      }
    }
    expect(refused("alpah")).toMatchObject({
      _tag: "UnknownNode",
      suggestion: "alpha",
      known: [a.address, gone.address]
    })
    expect(String(refused("alpah"))).toContain("did you mean alpha?")
    expect(refused(gone.address)).toMatchObject({ _tag: "NodeNotReady", state: "missing" })
    await expect(made.closeNode("nowhere")).rejects.toMatchObject({ _tag: "UnknownNode" })
    await made.close()
    expect(refused("alpha")).toMatchObject({ _tag: "ClusterClosed" })
  })

  it("end when their node is lost, running or waiting, so that nobody waits for them for ever", async () => {
    const [a, b] = await Promise.all([daemon("--cpus", "1"), daemon("--name", "b")])
    const made = await cluster(spin, { nodes: [a.address, b.address], reentrant: true })
    const jobs = [made.submitNode(a.address, 600_000), made.submitNode(a.address, 1)]
    await eventually(() => expect(jobs[0]!.status).toBe("Running"))
    await a.kill()
    for (const job of jobs) await expect(job.result()).rejects.toMatchObject({ _tag: "NodeLost", node: a.address })
    expect(jobs.map((job) => job.status)).toEqual(["Abandoned", "Abandoned"])
    expect(await made.wait("5 seconds")).toBe(true)
  })
})

describe("leaving and taking nodes", () => {
  it("deallocates a node, whose jobs go on and whose pinned jobs wait, and allocates it again", async () => {
    const [a, b] = await Promise.all([daemon("--name", "a", "--cpus", "1"), daemon("--name", "b", "--cpus", "1")])
    const made = await cluster(until, { nodes: [a.address, b.address] })
    const [first, second, other] = [gate("first"), gate("second"), gate("other")]
    const running = made.submitNode(a.address, first.file)
    await first.begun()
    await made.deallocateNode(a.address)
    const pinned = made.submitNode(a.address, second.file)
    const free = made.submit(other.file)
    await Promise.all([first.open(), other.open()])
    expect([await running.result(), await free.result()]).toEqual(["a", "b"])
    expect(made.status().nodes[0]).toMatchObject({ state: "deallocated", cpus: 0 })
    expect(pinned.explain()).toMatchObject({
      code: "PinnedNodeUnusable",
      text: expect.stringContaining("deallocateNode was called") as string
    })
    await second.open()
    await made.allocateNode(a.address)
    expect(await pinned.result()).toBe("a")
    // Also by the name that it was deallocated by, at whatever port it is.
    await made.deallocateNode("b")
    await made.allocateNode("b")
    expect(made.status().nodes.map(({ address, state }) => [address, state])).toEqual([
      [a.address, "ready"],
      [b.address, "ready"]
    ])
  })

  it("closes a node when its jobs are done, frees it for others, and sends nothing there any more", async () => {
    const [a, b] = await Promise.all([daemon("--name", "a", "--cpus", "1"), daemon("--name", "b", "--cpus", "1")])
    const made = await cluster(until, { nodes: [a.address, b.address] })
    const [first, second] = [gate("first"), gate("second")]
    const running = made.submitNode(a.address, first.file)
    await first.begun()
    const pinned = made.submitNode(a.address, second.file)
    const closing = made.closeNode("a")
    await expect(pinned.result()).rejects.toMatchObject({ _tag: "JobCancelled", reason: "closeNode was called" })
    expect(made.status().nodes[0]!.state).toBe("closing")
    await first.open()
    await closing
    expect(await running.result()).toBe("a")
    expect([pinned.status, made.status().nodes[0]!.state]).toEqual(["Cancelled", "closed"])
    const next = await cluster(spin, { nodes: [a.address] })
    expect(await next.run(1)).toBe("a")
    await next.close()
    await second.open()
    expect(await made.run(second.file)).toBe("b")
    await made.closeNode("b")
    const waiting = made.submit(second.file)
    expect(waiting.explain().nodes.map((node) => node.state)).toEqual(["closed", "closed"])
    await made.allocateNode(a.address)
    expect(await waiting.result()).toBe("a")
  })

  it("ends what runs on a node that is closed at once, and the jobs say so", async () => {
    const [a, b] = await Promise.all([daemon("--name", "a", "--cpus", "1"), daemon("--name", "b", "--cpus", "1")])
    const made = await cluster(until, { nodes: [a.address, b.address] })
    const first = gate("first")
    const running = made.submitNode(a.address, first.file)
    await first.begun()
    await made.closeNode(a.address, { terminatePending: true })
    await expect(running.result()).rejects.toMatchObject({ _tag: "JobCancelled", reason: "closeNode was called" })
    expect(running.status).toBe("Terminated")
  })

  it("leaves no job Running when the cluster is closed at once", async () => {
    const a = await daemon()
    const made = await cluster(until, { nodes: a.address })
    const first = gate("first")
    const jobs = [made.submit(first.file), made.submitNode(a.address, gate("never").file)]
    await first.begun()
    expect(await made.close({ timeout: 0, terminate: true })).toBe(true)
    for (const job of jobs) await expect(job.result()).rejects.toMatchObject({ _tag: "JobCancelled" })
    expect(jobs.map((job) => job.status)).not.toContain("Running")
    expect(() => made.submit(first.file)).toThrow(expect.objectContaining({ _tag: "ClusterClosed" }))
    expect(() => made.submitNode(a.address, first.file)).toThrow(expect.objectContaining({ _tag: "ClusterClosed" }))
  })

  it("sets a node up again without giving it back, asks allocate again, and keeps pinned jobs", async () => {
    const a = await daemon()
    const given: Array<number> = []
    const made = await cluster((file: string) => `${process.cwd()} ${file}`, {
      nodes: { host: a.address, allocate: () => given.push(1) }
    })
    const [before] = (await made.run("x")).split(" ")
    expect(made.status().nodes[0]!.cpus).toBe(1)
    await made.deallocateNode(a.address)
    const pinned = made.submitNode(a.address, "pinned")
    await made.resetupNode(a.address)
    expect(made.status().nodes[0]).toMatchObject({ state: "deallocated" })
    await made.allocateNode({ host: a.address, cpus: 0 })
    const [after] = (await pinned.result()).split(" ")
    expect(after).not.toBe(before)
    expect(existsSync(before!)).toBe(false)
    expect([given.length, made.status().nodes[0]!.cpus]).toEqual([2, 2])
  })

  it("tells the jobs of a node, by its own word as well", async () => {
    const a = await daemon("--cpus", "1")
    const made = await cluster(until, { nodes: a.address })
    const first = gate("first")
    const job = made.submit(first.file)
    await first.begun()
    made.submitNode(a.address, first.file)
    expect(await made.nodeJobs(a.address)).toEqual([job])
    expect(await made.nodeJobs(a.address, { fromNode: true })).toEqual([job])
    await first.open()
    await made.wait()
    expect(await made.nodeJobs(a.address, { fromNode: true })).toEqual([])
  })
})

describe("events", () => {
  it("tell every status of nodes and jobs once and in order, and the cluster can be used in the callback", async () => {
    const node = await daemon("--name", "n", "--cpus", "1")
    const told: Array<string> = []
    const made = await cluster(function*(n: number) {
      if (n < 0) throw new Error("negative")
      yield n
      return n
    }, {
      nodes: node.address,
      clusterStatus: (status, at, job) => {
        told.push(`${status} ${at?.name ?? "-"} ${job === undefined ? "-" : String(job.id)}`)
        if (status === "Initialized") made.submitJobIdNode("first", at!, 1)
      }
    })
    await eventually(() => expect(told).toContain("Finished n first"))
    const bad = made.submitJobId("bad", -1)
    await bad.result().catch(() => {})
    await made.setNodeCpus("n", 0)
    made.submitJobId("late", 1).cancel()
    await made.wait()
    await made.close()
    expect(told).toEqual([
      "Initialized n -",
      "Created - first",
      "Running n first",
      "ProvisionalResult n first",
      "Finished n first",
      "Created - bad",
      "Running n bad",
      "Terminated n bad",
      "Created - late",
      "Cancelled - late",
      "Closed n -"
    ])
  })

  it("report what callbacks throw, and the cluster goes on", async () => {
    const node = await daemon()
    const written = vi.spyOn(process.stderr, "write").mockReturnValue(true)
    try {
      const made = await cluster(spin, {
        nodes: node.address,
        clusterStatus: (status) => {
          throw new Error(`cannot stand ${status}`)
        }
      })
      await made.run(1)
      expect(written.mock.calls.flat().join("")).toContain(
        "clusterStatus of a cluster threw Error: cannot stand Finished"
      )
      await made.close()
    } finally {
      written.mockRestore()
    }
  })

  it("come to readers from the nodes that are ready on, each pulse too, and end with the cluster", async () => {
    const node = await daemon("--name", "n")
    const made = await cluster(spin, { nodes: node.address, pulseInterval: "100 millis" })
    const events: Array<ClusterEvent<DispyJob<string>>> = []
    const reading = (async () => {
      for await (const event of made.events()) events.push(event)
    })()
    await made.run(1)
    await eventually(() => expect(events.filter((event) => event.status === "AvailInfo").length).toBeGreaterThan(1))
    const { availInfo, updateTime } = events.findLast((event) => event.status === "AvailInfo")!.node!
    expect([availInfo!.cpu >= 0, availInfo!.memory > 0, updateTime > 0]).toEqual([true, true, true])
    await made.close()
    await reading
    expect(events.map((event) => event.status).filter((status) => status !== "AvailInfo")).toEqual([
      "Initialized",
      "Created",
      "Running",
      "Finished",
      "Closed"
    ])
  })

  it("say that a node is gone and why, and abandon its jobs", async () => {
    const node = await daemon("--name", "n")
    const told: Array<string> = []
    const reasons: Array<string> = []
    const made = await cluster(until, {
      nodes: node.address,
      clusterStatus: (status, at) => {
        if (status !== "AvailInfo") told.push(`${status} ${at?.state ?? "-"}`)
        if (status === "Closed") reasons.push(`${at?.state}: ${at?.reason}`)
      }
    })
    const first = gate("first")
    const job = made.submit(first.file)
    await first.begun()
    await node.kill()
    await job.result().catch(() => {})
    await eventually(() => expect(told).toHaveLength(5))
    expect(told.slice(0, 3)).toEqual(["Initialized ready", "Created -", "Running ready"])
    expect(new Set(told.slice(3).map((one) => one.split(" ")[0]))).toEqual(new Set(["Abandoned", "Closed"]))
    expect(reasons).toEqual([expect.stringMatching(/^missing: \S/)])
  })
})

describe("explanations", () => {
  it("name what a job waits for, where it is, and what became of it", async () => {
    const [a, held] = await Promise.all([daemon("--cpus", "1"), daemon()])
    await cluster(spin, { nodes: held.address })
    const made = await cluster(until, { nodes: [a.address] })
    const first = gate("first")
    const [running, next] = [made.submitJobId("running", first.file), made.submitJobId("next", first.file)]
    await first.begun()
    expect(running.explain()).toMatchObject({ jobId: "running", status: "Running", code: "OnNode" })
    expect(running.explain().text).toContain(`is with node ${a.address}`)
    expect(next.explain()).toMatchObject({ code: "NoFreeSlot" })
    expect(next.explain().text).toContain(`no slot is free, it is next: ${a.address} has 1 job on 1 cpu`)
    await first.open()
    await made.wait()
    expect(made.explain(next)).toMatchObject({ code: "Ended", nodes: [] })
    expect(made.explain(next).text).toBe(`job next has ended: it returned a result on ${a.address}`)
  })

  it("count the bytes that went to a node and came from it", async () => {
    const a = await daemon()
    const made = await cluster((bytes: Uint8Array) => bytes.slice(0, bytes.length / 2), { nodes: a.address })
    await made.run(new Uint8Array(100_000))
    const [node] = made.status().nodes
    expect([node!.sentBytes > 100_000, node!.receivedBytes > 50_000, node!.receivedBytes < 60_000]).toEqual([
      true,
      true,
      true
    ])
    expect(made.statusTable()).toMatch(/Sent \|\s+Rcvd/)
    expect(made.statusTable()).toMatch(/97\.\d K/)
  })
})
