/** Clusters over real daemons on TCP: found, missing, shared, killed, frozen out, refused. */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createServer } from "node:net"
import { describe, expect, it } from "vitest"
import { createJobCluster } from "../../src/promise.ts"
import { eventually } from "../support/Eventually.ts"
import { running, untilIdle } from "../support/Leftovers.ts"
import * as Nodes from "../support/Nodes.ts"

const { cluster, daemon, directory, ofDaemons } = Nodes.forTests()

const spin = (millis: number): string => {
  const end = Date.now() + millis
  while (Date.now() < end);
  return (globalThis as unknown as { dispy: { nodeName: string } }).dispy.nodeName
}

describe("node lists", () => {
  it("uses all listed nodes at a time", async () => {
    const [a, b] = await Promise.all([daemon("--name", "a"), daemon("--name", "b")])
    const both = await cluster(spin, { nodes: [a.address, b.address] })
    await Nodes.settled(both)
    const names = await Promise.all(Array.from({ length: 4 }, () => both.run(300)))
    expect(names.toSorted()).toEqual(["a", "a", "b", "b"])
    expect(both.status().nodes.map((node) => [node.name, node.cpus, node.state, node.jobsDone])).toEqual([
      ["a", 2, "ready", 2],
      ["b", 2, "ready", 2]
    ])
    expect(both.statusTable()).toContain(`${a.address} (a)`)
  })

  it("starts with the nodes that answer, says which do not and why, and takes them when they appear", async () => {
    const here = await daemon("--name", "here")
    const later = await daemon("--name", "later")
    await later.stop()
    const made = await cluster(spin, { nodes: [here.address, later.address] })
    expect(await made.run(1)).toBe("here")
    expect(made.status().nodes[1]).toMatchObject({
      state: "missing",
      reason: expect.stringContaining("connection refused") as string
    })
    await daemon("--name", "later", "--port", String(later.port))
    await eventually(() => expect(made.status().nodes[1]!.state).toBe("ready"))
    const names = await Promise.all(Array.from({ length: 4 }, () => made.run(300)))
    expect(names).toContain("later")
  })

  it("keeps jobs for a node that is not there yet", async () => {
    const gone = await daemon()
    await gone.stop()
    const made = await cluster(spin, { nodes: gone.address })
    const job = made.submit(1)
    expect(made.status()).toMatchObject({ jobsPending: 1, nodes: [{ state: "missing" }] })
    await daemon("--port", String(gone.port), "--name", "late")
    expect(await job.result()).toBe("late")
  })

  it("takes one node that is listed twice as one", async () => {
    const one = await daemon("--name", "one")
    const made = await cluster(spin, { nodes: [one.address, `localhost:${one.port}`] })
    await made.run(1)
    await eventually(() =>
      expect(made.status().nodes.map((node) => node.state).toSorted()).toEqual(["missing", "ready"])
    )
    expect(made.status().nodes.find((node) => node.state === "missing")!.reason).toContain("same node")
  })

  it("says what is wrong with an entry before anything is started", async () => {
    for (
      const [nodes, message] of [
        ["a/*", "not a pattern"],
        ["", "empty"],
        ["host:99999", "99999"],
        [[], "empty"]
      ] as const
    ) {
      await expect(createJobCluster(spin, { nodes })).rejects.toMatchObject({
        _tag: "InvalidOption",
        message: expect.stringContaining(message) as string
      })
    }
  })

  it("says that a peer is no dispynode, or one of another version", async () => {
    const server = createServer((socket) => socket.on("error", () => {}).end("220 mail.example.org ESMTP\r\n"))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as { port: number }
    const made = await cluster(spin, { nodes: `127.0.0.1:${port}` })
    expect(made.status().nodes[0]).toMatchObject({ state: "missing" })
    expect(made.status().nodes[0]!.reason).toMatch(/dispy protocol|closed|does not answer/)
    server.close()
  })

  it("waits for a node that another client holds, and says who does", async () => {
    const node = await daemon()
    const program = new URL("../fixtures/integration/holder.ts", import.meta.url).pathname
    const holder = spawn(process.execPath, [program, node.address], { stdio: ["pipe", "pipe", "inherit"] })
    await new Promise((resolve) => holder.stdout.once("data", resolve))
    const made = await cluster(spin, { nodes: node.address })
    expect(made.status().nodes[0]).toMatchObject({
      state: "busy",
      reason: expect.stringContaining(`process ${holder.pid}`) as string
    })
    const job = made.submit(1)
    holder.stdin.end()
    expect(await job.result()).toEqual(expect.any(String))
  })
})

describe("refusals", () => {
  it("fails at once when no node can run the computation", async () => {
    const node = await daemon()
    await expect(createJobCluster("no-such-command-anywhere", { nodes: node.address, logLevel: "none" })).rejects
      .toMatchObject({
        _tag: "ComputationRefused",
        message: expect.stringContaining("no-such-command-anywhere") as string
      })
  })
})

describe("ends", () => {
  it("abandons what ran on a node that is killed, and leaves no process and no file of it", async () => {
    const node = await daemon()
    const made = await cluster(spin, { nodes: node.address })
    const jobs = [made.submit(600_000), made.submit(600_000), made.submit(1)]
    await eventually(() => expect(jobs[0]!.status).toBe("Running"))
    const before = running().length
    expect(before).toBeGreaterThanOrEqual(3)
    await node.kill()
    await expect(jobs[0]!.result()).rejects.toMatchObject({ _tag: "NodeLost" })
    expect([jobs[0]!.status, jobs[1]!.status, jobs[2]!.status]).toEqual(["Abandoned", "Abandoned", "Created"])
    await untilIdle()
    await eventually(() => expect(ofDaemons()).toEqual([]))
  })

  it("runs the jobs of a killed node elsewhere when they may run twice", async () => {
    const [a, b] = await Promise.all([daemon("--name", "a"), daemon("--name", "b")])
    const made = await cluster(spin, { nodes: [a.address, b.address], reentrant: true })
    const jobs = Array.from({ length: 4 }, () => made.submit(400))
    await eventually(() => expect(jobs.every((job) => job.status === "Running")).toBe(true))
    await a.kill()
    expect(await Promise.all(jobs.map((job) => job.result()))).toEqual(["b", "b", "b", "b"])
  })

  it("gets back the jobs that did not start from a node that is stopped, and finishes those that did", async () => {
    const [a, b] = await Promise.all([daemon("--name", "a", "--cpus", "1"), daemon("--name", "b", "--cpus", "1")])
    const made = await cluster(spin, { nodes: [a.address, b.address] })
    await Nodes.settled(made)
    const jobs = Array.from({ length: 6 }, () => made.submit(300))
    await eventually(() => expect(jobs[0]!.status).toBe("Running"))
    const stopped = a.stop()
    const names = await Promise.all(jobs.map((job) => job.result()))
    await stopped
    expect(names.filter((name) => name === "a")).toHaveLength(1)
  })

  it("kills the jobs of a client that is killed, and is free for the next", async () => {
    const node = await daemon("--msg-timeout", "1")
    const program = new URL("../fixtures/integration/holder.ts", import.meta.url).pathname
    const holder = spawn(process.execPath, [program, node.address, "spin"], { stdio: ["pipe", "pipe", "inherit"] })
    await new Promise((resolve) => holder.stdout.once("data", resolve))
    holder.kill("SIGKILL")
    const made = await cluster(spin, { nodes: node.address })
    expect(await made.run(1)).toEqual(expect.any(String))
  })

  it("ends the embedded node when its client is killed", async () => {
    const program = new URL("../fixtures/integration/holder.ts", import.meta.url).pathname
    const holder = spawn(process.execPath, [program, "local", "spin"], { stdio: ["pipe", "pipe", "inherit"] })
    await new Promise((resolve) => holder.stdout.once("data", resolve))
    expect(running().length).toBeGreaterThan(1)
    holder.kill("SIGKILL")
    await untilIdle()
  })

  it("removes the directory of a computation when its cluster is closed", async () => {
    const node = await daemon()
    const where = await cluster(() => process.cwd(), { nodes: node.address })
    const workingDirectory = await where.run()
    expect(workingDirectory.startsWith(directory())).toBe(true)
    expect(existsSync(workingDirectory)).toBe(true)
    await where.close()
    expect(existsSync(workingDirectory)).toBe(false)
  })
})
