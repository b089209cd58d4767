/** Connections that break, fall silent and come back: no job is lost, none runs twice, and the dead are noticed. */
import { appendFileSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import { eventually } from "../support/Eventually.ts"
import * as FaultyLink from "../support/FaultyLink.ts"
import * as Nodes from "../support/Nodes.ts"

const links: Array<FaultyLink.FaultyLink> = []
// Registered first, run last: clusters end over their links.
afterEach(() => links.splice(0).forEach((one) => one.close()))

const { cluster, daemon, directory } = Nodes.forTests()

const link = async (port: number): Promise<FaultyLink.FaultyLink> => {
  const started = await FaultyLink.start(port)
  links.push(started)
  return started
}

/** Says in a file that it ran, and takes a while. */
const noting = async (id: number, file: string, millis: number): Promise<number> => {
  const fs = await import("node:fs")
  fs.appendFileSync(file, `${id}\n`)
  if (millis > 0) await new Promise((resolve) => setTimeout(resolve, millis))
  return id
}

const notesOf = (file: string): ReadonlyArray<number> =>
  readFileSync(file, "utf8").split("\n").filter(Boolean).map(Number)

const aFile = (): string => {
  const file = join(directory(), "notes")
  appendFileSync(file, "")
  return file
}

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

describe("a connection", () => {
  it("may be reset again and again: every job runs once and has one outcome", async () => {
    const node = await daemon()
    const between = await link(node.port)
    const file = aFile()
    let outcomes = 0
    const made = await cluster(noting, {
      nodes: between.address,
      callback: () => {
        if (++outcomes % 40 === 0) between.reset()
      }
    })
    const jobs = upTo(1000).map((id) => made.submit(id, file, 0))
    expect(await Promise.all(jobs.map((job) => job.result()))).toEqual(upTo(1000))
    expect(notesOf(file).toSorted((a, b) => a - b)).toEqual(upTo(1000))
    expect(outcomes).toBe(1000)
    expect(between.connections()).toBeGreaterThan(8)
    expect(jobs.every((job) => job.status === "Finished")).toBe(true)
  })

  it("that carries nothing any more is noticed and made again, while jobs go on", async () => {
    const node = await daemon()
    const between = await link(node.port)
    const file = aFile()
    const made = await cluster(noting, { nodes: between.address, pulseInterval: "1 second" })
    const jobs = upTo(6).map((id) => made.submit(id, file, 500))
    await eventually(() => expect(jobs.filter((job) => job.status === "Finished").length).toBeGreaterThanOrEqual(2))
    between.swallow()
    expect(await Promise.all(jobs.map((job) => job.result()))).toEqual(upTo(6))
    expect(notesOf(file)).toHaveLength(6)
  })

  it("that cannot be made again costs its node after five pulses, and jobs run elsewhere where they may", async () => {
    const [far, near] = await Promise.all([daemon("--name", "far"), daemon("--name", "near")])
    const between = await link(far.port)
    const file = aFile()
    const made = await cluster(noting, {
      nodes: [between.address, near.address],
      pulseInterval: "1 second",
      reentrant: true,
      // Else the far node keeps what nobody will ask for.
      recoverFile: false
    })
    await Nodes.settled(made)
    const jobs = upTo(4).map((id) => made.submit(id, file, 300))
    await eventually(() => expect(notesOf(file)).toHaveLength(4))
    const startedAt = performance.now()
    between.cut()
    expect(await Promise.all(jobs.map((job) => job.result()))).toEqual(upTo(4))
    expect(performance.now() - startedAt).toBeGreaterThan(4000)
    const lost = made.status().nodes.find(({ address }) => address === between.address)
    expect(lost?.reason).toContain("no sign of life")
  })
})

describe("a node that stands still", () => {
  it("is dead after five pulses; what it says of its jobs later is not heard", async () => {
    const [frozen, other] = await Promise.all([daemon("--name", "frozen"), daemon("--name", "other")])
    const file = aFile()
    const ended = new Map<object, number>()
    const made = await cluster(noting, {
      nodes: [frozen.address, other.address],
      pulseInterval: "1 second",
      reentrant: true,
      callback: (job) => {
        ended.set(job, (ended.get(job) ?? 0) + 1)
      }
    })
    await Nodes.settled(made)
    const jobs = upTo(4).map((id) => made.submit(id, file, 100))
    await eventually(() => expect(notesOf(file).length).toBeGreaterThan(1))
    process.kill(frozen.pid, "SIGSTOP")
    expect(await Promise.all(jobs.map((job) => job.result()))).toEqual(upTo(4))
    process.kill(frozen.pid, "SIGCONT")
    await eventually(() => expect(made.status().nodes.map(({ state }) => state)).toEqual(["ready", "ready"]))
    expect(await Promise.all(upTo(4).map((id) => made.submit(id, file, 0).result()))).toEqual(upTo(4))
    expect([...ended.values()]).toEqual(upTo(8).map(() => 1))
  })
})
