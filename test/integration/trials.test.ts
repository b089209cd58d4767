import { Effect, Exit } from "effect"
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { JobCluster } from "../../src/index.ts"
import type { ClusterEvent } from "../../src/programs/client/ClusterEvents.ts"
import { eventually } from "../support/Eventually.ts"
import * as Nodes from "../support/Nodes.ts"

const { cluster, daemon } = Nodes.forTests()

let directory = ""
let file = ""

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "dispy-trials-test-"))
  file = join(directory, "attempts")
  appendFileSync(file, "")
})

afterEach(() => {
  rmSync(directory, { recursive: true })
})

/** Does as it is told at each attempt: "throw", "crash", "hang", or return the number of the attempt. */
const stubborn = async (log: string, ...deeds: ReadonlyArray<string>): Promise<number> => {
  const fs = await import("node:fs")
  const attempt = fs.readFileSync(log, "utf8").length
  fs.appendFileSync(log, ".")
  console.log(`attempt ${attempt}`)
  const deed = deeds[Math.min(attempt, deeds.length - 1)]
  if (deed === "throw") throw new RangeError(`attempt ${attempt} threw`)
  if (deed === "crash") process.kill(process.pid, "SIGKILL")
  if (deed === "hang" || deed === "crash") await new Promise((resolve) => setTimeout(resolve, 600_000))
  return attempt
}

const attemptsMade = (): number => readFileSync(file, "utf8").length

describe("a job with retries", () => {
  it("that threw, ran too long and crashed has the result, the output and the provisional results of its last attempt", async () => {
    const made = await cluster(stubborn, { cpus: 2 })
    const statuses: Array<string> = []
    const reading = (async () => {
      for await (const { job, status } of made.events()) {
        if (job !== undefined) statuses.push(status)
        if (status === "Finished") return
      }
    })()
    const patient = made.with({ retries: { times: 3, delay: 1 }, timeout: 400 })
    const job = patient.submit(file, "throw", "hang", "crash", "return")
    expect(await job.result()).toBe(3)
    expect([job.stdout, job.status]).toEqual(["attempt 3\n", "Finished"])
    expect(job.attempts).toMatchObject([
      { attempt: 1, node: "local", error: { _tag: "JobFailed", errorMessage: "attempt 0 threw" } },
      { attempt: 2, node: "local", error: { _tag: "JobTimedOut", kind: "running" } },
      { attempt: 3, node: "local", error: { _tag: "JobCrashed", signal: "SIGKILL" } }
    ])
    expect(job.explain().attempts.map(({ reason }) => reason)).toEqual([
      expect.stringContaining("attempt 0 threw"),
      expect.stringContaining("ran longer"),
      expect.stringContaining("took its process down")
    ])
    await reading
    expect(statuses).toEqual([
      "Created",
      "Running",
      "Created",
      "Running",
      "Created",
      "Running",
      "Created",
      "Running",
      "Finished"
    ])
  })

  it("fails with the error of its last attempt, which says how many there were; other jobs have one", async () => {
    const made = await cluster(stubborn, { cpus: 1, retries: { times: 2, delay: 1 } })
    const error = await made.run(file, "throw").catch((cause: unknown) => cause)
    expect(error).toMatchObject({ _tag: "JobFailed", attempts: 3, errorMessage: "attempt 2 threw" })
    expect((error as Error).message).toContain("attempt 3")
    const before = attemptsMade()
    const single = made.with({ retries: 0 }).submit(file, "throw")
    await expect(single.result()).rejects.toMatchObject({ _tag: "JobFailed" })
    expect([attemptsMade(), single.attempts.length]).toEqual([before + 1, 1])
  })

  it("says when it is tried again, and can be cancelled meanwhile", async () => {
    const made = await cluster(stubborn, { cpus: 1, retries: { times: 2, delay: "1 hour" } })
    const job = made.submit(file, "throw")
    await eventually(() => expect(job.explain().code).toBe("WaitingForRetry"))
    expect(job.explain()).toMatchObject({
      status: "Created",
      text: expect.stringMatching(/attempt 0 threw.*tried again in \d+/s)
    })
    expect(job.explain().retryMillis).toBeGreaterThan(1_000_000)
    expect(job.cancel()).toBe(true)
    await expect(job.result()).rejects.toMatchObject({ _tag: "JobCancelled" })
    expect(job.stdout).toBe("attempt 0\n")
  })

  it("goes to the nodes item by item in a map, each with its own attempts", async () => {
    const made = await cluster((n: number) => {
      const seen = globalThis as { seen?: Set<number> }
      seen.seen ??= new Set()
      const isFirst = !seen.seen.has(n)
      seen.seen.add(n)
      if (n % 3 === 0 && isFirst) throw new Error(`the first time of ${n}`)
      return n * 2
    }, { cpus: 1, retries: { times: 1, delay: 1 } })
    const results: Array<number> = []
    for await (const result of made.map(Array.from({ length: 20 }, (_, i) => i))) results.push(result)
    expect(results).toEqual(Array.from({ length: 20 }, (_, i) => i * 2))
  })
})

describe("a poison job", () => {
  it("ends after three slots that it took down, with the evidence, and can be submitted again", async () => {
    const made = await cluster(stubborn, { cpus: 2, retries: { times: 50, delay: 1 } })
    const job = made.submit(file, "crash", "crash", "crash", "return")
    const error = await job.result().catch((cause: unknown) => cause)
    expect(error).toMatchObject({
      _tag: "JobPoisoned",
      attempts: 3,
      evidence: Array.from({ length: 3 }, () => ({ node: "local", signal: "SIGKILL", exitCode: null }))
    })
    expect(attemptsMade()).toBe(3)
    const again = made.resubmit(job)
    expect(await again.result()).toBe(3)
    expect(again.number).toBe(2)
    expect(() => made.resubmit(job)).toThrow(expect.objectContaining({ _tag: "NotResubmittable" }))
    expect(() => made.resubmit(again)).toThrow(expect.objectContaining({ _tag: "NotResubmittable" }))
  })

  it("keeps its large arguments, too, with the Effect API", async () => {
    const program = Effect.gen(function*() {
      const made = yield* JobCluster.make(
        (bytes: Uint8Array, log: string) => {
          const fs = process.getBuiltinModule("node:fs")
          fs.appendFileSync(log, ".")
          if (fs.readFileSync(log, "utf8").length < 4) process.kill(process.pid, "SIGKILL")
          return bytes.length
        },
        { cpus: 1, retries: { times: 9, delay: 1 } }
      )
      const job = yield* made.submit(new Uint8Array(3_000_000), file)
      const exit = yield* Effect.exit(job.result)
      const again = yield* made.resubmit(job)
      return { exit, attempts: job.attempts.length, size: yield* again.result }
    }).pipe(Effect.scoped)
    const { attempts, exit, size } = await Effect.runPromise(program)
    expect(Exit.isFailure(exit)).toBe(true)
    expect([attempts, size]).toEqual([3, 3_000_000])
  })
})

describe("timeouts", () => {
  it("tell apart what was over: the running time, the wait for a node, the time in all", async () => {
    const made = await cluster(stubborn, { cpus: 1 })
    const running = made.submit(file, "hang")
    await eventually(() => expect(attemptsMade()).toBe(1))
    const waited = made.with({ queueTimeout: 50 }).submit(file, "return")
    await expect(waited.result()).rejects.toMatchObject({ _tag: "JobTimedOut", kind: "queue", timeoutMillis: 50 })
    expect([waited.status, waited.exception?.message]).toEqual(["Cancelled", expect.stringContaining("queueTimeout")])
    running.cancel()
    const whole = made.with({ totalTimeout: 300, retries: { times: 1000, delay: 20, maxDelay: 20 } }).submit(
      file,
      "hang"
    )
    await expect(whole.result()).rejects.toMatchObject({ _tag: "JobTimedOut", kind: "total", timeoutMillis: 300 })
    expect(whole.exception?.message).toContain("totalTimeout")
    await expect(made.with({ timeout: 50 }).run(file, "hang")).rejects.toMatchObject({
      _tag: "JobTimedOut",
      kind: "running"
    })
  })
})

describe("a node on which everything fails", () => {
  it("is set aside, tried again, and used once it is well", async () => {
    const [bad, good] = await Promise.all([daemon("--cpus", "1"), daemon("--cpus", "1")])
    const made = await cluster(async (n: number) => {
      const fs = await import("node:fs")
      const { dispy } = globalThis as unknown as { dispy: { shared: string } }
      if (dispy.shared !== "" && fs.existsSync(dispy.shared)) throw new Error("no room here")
      await new Promise((resolve) => setTimeout(resolve, 20))
      return n
    }, {
      nodes: [{ host: bad.address, setupArgs: [file] }, { host: good.address, setupArgs: [""] }],
      setup: (sick: string) => sick,
      retries: { times: 20, delay: 1 }
    })
    await Nodes.settled(made)
    const told: Array<Pick<ClusterEvent, "status" | "node">> = []
    const reading = (async () => {
      for await (const { node, status } of made.events()) {
        if (status === "Benched" || status === "Unbenched") told.push({ node, status })
        if (status === "Unbenched") return
      }
    })()
    const jobs = Array.from({ length: 200 }, (_, n) => made.submit(n))
    await eventually(() => expect(told.map(({ status }) => status)).toEqual(["Benched"]))
    expect(told[0]?.node).toMatchObject({
      address: bad.address,
      state: "benched",
      reason: expect.stringContaining("JobFailed")
    })
    expect(await Promise.all(jobs.map((job) => job.result()))).toHaveLength(200)
    expect(jobs.flatMap((job) => job.attempts).length).toBeLessThanOrEqual(30)
    rmSync(file)
    const more = Array.from({ length: 400 }, (_, n) => made.submit(n))
    await reading
    expect(told.at(-1)).toMatchObject({ status: "Unbenched", node: { address: bad.address, state: "ready" } })
    expect(await Promise.all(more.map((job) => job.result()))).toHaveLength(400)
  })
})
