/** Jobs through the whole system: facade, scheduler, a real daemon, real slot processes. */
import { existsSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Computation, createJobCluster, type PromiseJobCluster } from "../../src/promise.ts"
import { eventually } from "../support/Eventually.ts"
import { untilIdle } from "../support/Leftovers.ts"

// Functions that jobs run are sent as source, so they must not use anything of this file.

const withCluster = async <C extends Parameters<typeof createJobCluster>[0], R>(
  computation: C,
  use: (
    cluster: PromiseJobCluster<Computation.Args<C>, Computation.Success<C>, Computation.Provisional<C>>
  ) => Promise<R>,
  options: Parameters<typeof createJobCluster>[1] = {}
): Promise<R> => {
  const cluster = await createJobCluster(computation, { cpus: 2, ...options })
  try {
    return await use(cluster)
  } finally {
    await cluster.close({ timeout: 0, terminate: true })
  }
}

afterAll(untilIdle)

describe("provisional results", () => {
  it("leave while a loop runs that never gives up the event loop", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dispy-provisional-"))
    const heard = join(folder, "heard")
    try {
      await withCluster((file: string) => {
        const fs = process.getBuiltinModule("node:fs")
        dispy.provisionalResult({ file })
        // Ends only when the client has heard of it.
        while (!fs.existsSync(file)) { /* busy */ }
        return "done"
      }, async (cluster) => {
        const job = cluster.submit(heard)
        for await (const value of job.provisional()) {
          expect(value).toEqual({ file: heard })
          expect([job.status, job.provisionalResult]).toEqual(["ProvisionalResult", { file: heard }])
          await writeFile(heard, "")
        }
        expect([await job.result(), job.status]).toEqual(["done", "Finished"])
      }, { timeout: "20 seconds" })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it("come in order, before the result, to the callback and to every listener", async () => {
    const heard: Array<unknown> = []
    await withCluster(function*(n: number) {
      for (let i = 0; i < n; i++) yield i
      return "done"
    }, async (cluster) => {
      const job = cluster.submit(2000)
      const collect = async () => {
        const values: Array<unknown> = []
        for await (const value of job.provisional()) values.push(value)
        return values
      }
      const all = Array.from({ length: 2000 }, (_, i) => i)
      expect(await Promise.all([collect(), collect()])).toEqual([all, all])
      expect(await job.result()).toBe("done")
      expect(heard).toEqual([...all, "Finished"])
      // The last thousand are kept for those who come late.
      expect(await collect()).toEqual(all.slice(-1000))
    }, {
      callback: (job) => void heard.push(job.status === "ProvisionalResult" ? job.provisionalResult : job.status)
    })
  })

  it("keep a cluster busy until their callbacks are done", async () => {
    let done = 0
    await withCluster(function*() {
      yield 1
      yield 2
    }, async (cluster) => {
      cluster.submit()
      expect(await cluster.wait()).toBe(true)
      expect(done).toBe(3)
    }, {
      callback: async () => {
        await new Promise((resolve) => setImmediate(resolve))
        done++
      }
    })
  })

  it("throw in the job when they cannot be sent, and are ignored in a map", () =>
    withCluster((what: number) => {
      if (what === 0) dispy.provisionalResult({ call: () => 1 })
      if (what === 1) dispy.provisionalResult(new Uint8Array(17 * 2 ** 20))
      dispy.provisionalResult(what)
      return what
    }, async (cluster) => {
      await expect(cluster.run(0)).rejects.toThrow("provisional result.call is a function")
      await expect(cluster.run(1)).rejects.toThrow("more than the 16777216 that can be sent")
      const values: Array<number> = []
      for await (const value of cluster.map([2, 3])) values.push(value)
      expect(values).toEqual([2, 3])
    }))

  it("stop coming when the others are cancelled because one is good enough", () =>
    withCluster(async function*(n: number) {
      const { setTimeout: sleep } = await import("node:timers/promises")
      for (let i = 0;; i++) {
        yield n === 0 ? i : -1
        await sleep(1)
      }
    }, async (cluster) => {
      const jobs = [cluster.submit(0), cluster.submit(1)]
      for await (const value of jobs[0]!.provisional()) {
        if (value < 5) continue
        for (const job of jobs) job.cancel()
      }
      for (const job of jobs) await expect(job.result()).rejects.toMatchObject({ _tag: "JobCancelled" })
    }))
})

describe("a cancelled job that listens", () => {
  it("answers with a partial result and keeps its output", () =>
    withCluster(async () => {
      let n = 0
      // Before anybody can cancel it: a job that does not ask for its signal is killed without a grace.
      const { signal } = dispy
      console.log("working")
      dispy.provisionalResult("started")
      while (!signal.aborted) {
        n++
        await new Promise((resolve) => setImmediate(resolve))
      }
      return { n }
    }, async (cluster) => {
      for (const end of ["JobCancelled", "JobTimedOut"] as const) {
        const job = cluster.with(end === "JobTimedOut" ? { timeout: 200 } : {}).submit()
        for await (const _ of job.provisional()) if (end === "JobCancelled") job.cancel()
        const error = await job.result().catch((caught: unknown) => caught)
        expect(error).toMatchObject({ _tag: end, partialResult: { n: expect.any(Number) as number } })
        expect([job.status, job.stdout]).toEqual(["Terminated", "working\n"])
      }
    }, { grace: "10 seconds" }))
})

describe("results", () => {
  it("runs a function and fills in the job", () =>
    withCluster((n: number) => {
      console.log(`squaring ${n}`)
      return n * n
    }, async (cluster) => {
      const before = Date.now()
      const job = cluster.with({ id: "first" }).submit(12)
      expect([job.id, job.status, job.stdout, job.endTime]).toEqual(["first", "Created", undefined, undefined])
      expect(await job.result()).toBe(144)
      expect([job.status, job.stdout, job.stderr, job.exception]).toEqual([
        "Finished",
        "squaring 12\n",
        "",
        undefined
      ])
      expect(job.ipAddr).toBe("local")
      expect(job.submitTime).toBeGreaterThanOrEqual(before)
      expect(job.startTime).toBeGreaterThan(job.submitTime - 50)
      expect(job.endTime).toBeGreaterThanOrEqual(job.startTime!)
    }))

  it("awaits asynchronous functions and keeps outputs apart", () =>
    withCluster(async (n: number) => {
      const { setTimeout: sleep } = await import("node:timers/promises")
      await sleep(1)
      console.error(`job ${n}`)
      return n
    }, async (cluster) => {
      const jobs = Array.from({ length: 50 }, (_, n) => cluster.submit(n))
      expect(await Promise.all(jobs.map((job) => job.result()))).toEqual(jobs.map((_, n) => n))
      expect(jobs.map((job) => job.stderr)).toEqual(jobs.map((_, n) => `job ${n}\n`))
    }))

  it("carries every structured-cloneable value both ways, byte for byte", () =>
    withCluster((value: unknown) => value, async (cluster) => {
      const cycle: { self?: unknown; readonly list: Array<unknown> } = { list: [1] }
      cycle.list[2] = "after a hole"
      cycle.self = cycle
      const values: ReadonlyArray<unknown> = [
        undefined,
        null,
        -0,
        Number.NaN,
        2n ** 200n,
        "lone \ud800 surrogate",
        new Date(0),
        new Date(Number.NaN),
        /a+/giu,
        new Map<unknown, unknown>([[{ a: 1 }, new Set([1, "two"])]]),
        new Uint8Array([0, 127, 255]),
        new Float64Array([Math.PI, -0, Number.NaN]),
        new BigUint64Array([2n ** 64n - 1n]),
        new ArrayBuffer(3),
        new Error("kept", { cause: new TypeError("inner") }),
        cycle
      ]
      for (const value of values) expect(await cluster.run(value)).toEqual(structuredClone(value))
      const back = await cluster.run(cycle) as typeof cycle
      expect(back.self).toBe(back)
      expect(1 in back.list).toBe(false)
    }))

  it("sends captured values along", async () => {
    const factor = new Map([["by", 3]])
    const scale = Computation.fromFunction((n: number) => n * factor.get("by")!, { captures: { factor } })
    expect(await withCluster(scale, (cluster) => cluster.run(14))).toBe(42)
  })

  it("bundles a module with its imports", async () => {
    const module = new URL("../fixtures/integration/shapes.ts", import.meta.url)
    const area = Computation.fromModule<(n: number) => string>(module, "describeArea")
    expect(await withCluster(area, (cluster) => cluster.run(2))).toBe("area 12.57")
  })

  it("runs programs with arguments, exit status and output", async () => {
    const script = new URL("../fixtures/integration/echo.sh", import.meta.url).pathname
    await withCluster(script, async (cluster) => {
      const job = cluster.submit("a b", "3")
      expect(await job.result()).toBe(3)
      expect([job.status, job.stdout, job.stderr]).toEqual(["Finished", "<a b>\n", "to stderr\n"])
    })
    await withCluster("true", async (cluster) => expect(await cluster.run()).toBe(0))
  })

  it("calls back for every job, and waits for the callbacks", async () => {
    const seen: Array<string> = []
    await withCluster((n: number) => {
      if (n === 1) throw new Error("odd one")
      return n
    }, async (cluster) => {
      for (let n = 0; n < 3; n++) cluster.with({ id: n }).submit(n)
      expect(await cluster.wait()).toBe(true)
      expect(seen.toSorted()).toEqual(["0 Finished", "1 Terminated", "2 Finished"])
      expect(cluster.pending).toBe(0)
    }, {
      callback: async (job) => {
        await Promise.resolve()
        seen.push(`${String(job.id)} ${job.status}`)
      }
    })
  })
})

describe("failures of a job", () => {
  let cluster: PromiseJobCluster<[string], unknown>

  beforeAll(async () => {
    cluster = await createJobCluster((how: string): unknown => {
      switch (how) {
        case "throw":
          throw Object.assign(new TypeError("no such luck"), { code: 42 })
        case "throw a string":
          throw "just text"
        case "exit":
          console.error("about to leave")
          return process.exit(3)
        case "segfault":
          process.kill(process.pid, "SIGSEGV")
          for (;;);
        case "uncaught":
          setImmediate(() => {
            throw new Error("from a timer")
          })
          return new Promise(() => {})
        case "unhandled":
          void Promise.reject(new Error("nobody listens"))
          return new Promise(() => {})
        case "function":
          return () => 1
        default:
          return how
      }
    }, { cpus: 2 })
  })

  afterAll(() => cluster.close({ timeout: 0, terminate: true }))

  it("tells what was thrown, with the user's stack and the error itself as cause", async () => {
    const job = cluster.submit("throw")
    await expect(job.result()).rejects.toMatchObject({
      _tag: "JobFailed",
      errorName: "TypeError",
      errorMessage: "no such luck",
      cause: { name: "TypeError", message: "no such luck", code: 42 }
    })
    expect(job.status).toBe("Terminated")
    expect(job.exception).toMatchObject({ userStack: expect.stringContaining("dispy:") as string })
    await expect(cluster.run("throw a string")).rejects.toMatchObject({ cause: "just text" })
  })

  it.each([
    ["exit", { exitCode: 3, reason: "process.exit(3) was called" }],
    ["segfault", { signal: "SIGSEGV" }],
    ["uncaught", { reason: expect.stringContaining("from a timer") as string }],
    ["unhandled", { reason: expect.stringContaining("nobody listens") as string }]
  ])("reports a job that takes its slot down (%s), and only that job", async (how, expected) => {
    const others = Array.from({ length: 20 }, (_, i) => cluster.submit(`other ${i}`))
    const job = cluster.submit(how)
    const more = Array.from({ length: 20 }, (_, i) => cluster.submit(`more ${i}`))
    await expect(job.result()).rejects.toMatchObject({ _tag: "JobCrashed", ...expected })
    await expect(Promise.all(others.concat(more).map((one) => one.result()))).resolves.toHaveLength(40)
  })

  it("keeps what a job printed before it took its slot down", async () => {
    const job = cluster.submit("exit")
    await expect(job.result()).rejects.toMatchObject({ message: expect.stringContaining("about to leave") as string })
    expect(job.stderr).toBe("about to leave\n")
  })

  it("says that a result cannot be sent", () =>
    expect(cluster.run("function")).rejects.toMatchObject({
      _tag: "ResultNotSendable",
      message: expect.stringContaining("function") as string
    }))

  it("does not end the program when nobody awaits a failure", async () => {
    void cluster.submit("throw").result()
    expect(await cluster.run("fine")).toBe("fine")
  })
})

describe("ending jobs", () => {
  const spin = (millis: number): string => {
    const end = Date.now() + millis
    while (Date.now() < end);
    return "done"
  }

  it("cancels a running and a queued job", async () => {
    const started = join(await mkdtemp(join(tmpdir(), "dispy-jobs-test-")), "started")
    await withCluster((file: string) => {
      process.getBuiltinModule("node:fs").writeFileSync(file, "")
      for (;;);
    }, async (cluster) => {
      const running = cluster.submit(started)
      const queued = cluster.submit(started)
      await eventually(() => expect(existsSync(started)).toBe(true))
      expect(cluster.cancel(queued)).toBe(true)
      await expect(queued.result()).rejects.toMatchObject({ _tag: "JobCancelled", node: "" })
      expect(queued.status).toBe("Cancelled")
      cluster.cancel(running)
      await expect(running.result()).rejects.toMatchObject({ _tag: "JobCancelled", node: "local" })
      expect(running.status).toBe("Terminated")
      expect(cluster.cancel(running)).toBe(false)
    }, { cpus: 1 })
    await rm(dirname(started), { recursive: true })
  })

  it("cancels by a signal, before and after the start", () =>
    withCluster(spin, async (cluster) => {
      const controller = new AbortController()
      const job = cluster.with({ signal: controller.signal }).submit(600_000)
      controller.abort()
      await expect(job.result()).rejects.toMatchObject({ _tag: "JobCancelled" })
      const late = cluster.with({ signal: controller.signal }).submit(600_000)
      await expect(late.result()).rejects.toMatchObject({ _tag: "JobCancelled" })
    }))

  it("kills a job that runs longer than its timeout, and no other", () =>
    withCluster(spin, async (cluster) => {
      const slow = cluster.with({ timeout: "150 millis" }).submit(600_000)
      const quick = cluster.submit(20)
      await expect(slow.result()).rejects.toMatchObject({ _tag: "JobTimedOut", timeoutMillis: 150 })
      expect(await quick.result()).toBe("done")
    }))

  it("lets a job that listens answer for itself", () =>
    withCluster(async () => {
      const { signal } = (globalThis as unknown as { dispy: { signal: AbortSignal } }).dispy
      console.log("listening")
      await new Promise((resolve) => signal.addEventListener("abort", resolve))
      console.log("cleaned up")
    }, async (cluster) => {
      const job = cluster.with({ timeout: "300 millis" }).submit()
      await expect(job.result()).rejects.toMatchObject({ _tag: "JobTimedOut" })
      expect(job.stdout).toBe("listening\ncleaned up\n")
    }))

  it("waits with a bound, closes only when nothing is pending, and takes no jobs afterwards", async () => {
    const cluster = await createJobCluster(spin, { cpus: 1 })
    const job = cluster.submit(600_000)
    expect(await cluster.wait("50 millis")).toBe(false)
    expect(await cluster.close({ timeout: "50 millis" })).toBe(false)
    expect(await cluster.close({ timeout: "50 millis", terminate: true })).toBe(true)
    await expect(job.result()).rejects.toMatchObject({ _tag: "JobCancelled" })
    expect(() => cluster.submit(1)).toThrow(expect.objectContaining({ _tag: "ClusterClosed" }))
  })
})

describe("map", () => {
  it("keeps the order of 100,000 items in constant memory", () =>
    withCluster((n: number) => n * 2, async (cluster) => {
      let most = 0
      let taken = 0
      let given = 0
      const inputs = function*() {
        for (let n = 0; n < 100_000; n++) {
          taken++
          most = Math.max(most, taken - given)
          yield n
        }
      }
      for await (const result of cluster.map(inputs(), { window: 5000 })) {
        if (result !== given * 2) expect(result).toBe(given * 2)
        given++
      }
      expect(given).toBe(100_000)
      expect(most).toBeLessThanOrEqual(5000)
    }))

  it("takes asynchronous inputs and gives results as they are done", () =>
    withCluster(async (millis: number) => {
      const { setTimeout: sleep } = await import("node:timers/promises")
      await sleep(millis)
      return millis
    }, async (cluster) => {
      const inputs = async function*() {
        yield 400
        yield 1
        yield 2
      }
      const results: Array<number> = []
      for await (const result of cluster.map(inputs(), { ordered: false, chunkSize: 1 })) results.push(result)
      expect(results).toEqual([1, 2, 400])
    }))

  it.each([true, false])(
    "carries items that get large among small ones, and large results (ordered: %s)",
    (ordered) =>
      withCluster(
        (item: number | Uint8Array) => typeof item === "number" ? new Uint8Array(item) : item.length,
        async (c) => {
          const inputs = function*() {
            for (let n = 0; n < 2000; n++) yield 1
            for (let n = 0; n < 12; n++) yield new Uint8Array(10_000_000)
            for (let n = 0; n < 2000; n++) yield 2
            for (let n = 0; n < 20; n++) yield 5_000_000
          }
          const sizes = new Map<number, number>()
          const order: Array<number> = []
          for await (const result of c.map(inputs(), { ordered })) {
            const size = typeof result === "number" ? result : result.length
            if (size !== order.at(-1)) order.push(size)
            sizes.set(size, (sizes.get(size) ?? 0) + 1)
          }
          expect(sizes).toEqual(new Map([[1, 2000], [10_000_000, 12], [2, 2000], [5_000_000, 20]]))
          if (ordered) expect(order).toEqual([1, 10_000_000, 2, 5_000_000])
        }
      )
  )

  it("ends with the first item that fails, naming it", () =>
    withCluster((n: number) => {
      if (n === 777) throw new RangeError("not this one")
      return n
    }, async (cluster) => {
      const results: Array<number> = []
      const all = async () => {
        for await (const n of cluster.map(Array.from({ length: 2000 }, (_, i) => i))) results.push(n)
      }
      await expect(all()).rejects.toMatchObject({ _tag: "JobFailed", jobId: "item 777", errorName: "RangeError" })
      expect(results).toEqual(results.map((_, i) => i))
      expect(results.length).toBeLessThanOrEqual(777)
    }))

  it("cancels the rest when the loop is left, and by a signal", () =>
    withCluster((millis: number) => {
      const end = Date.now() + millis
      while (Date.now() < end);
      return millis
    }, async (cluster) => {
      for await (const _ of cluster.map([1, 600_000, 600_000])) break
      expect(await cluster.wait("20 seconds")).toBe(true)
      const controller = new AbortController()
      const mapped = cluster.map([600_000], { signal: controller.signal })
      const next = mapped.next()
      controller.abort(new Error("enough"))
      await expect(next).rejects.toThrow("enough")
      expect(await cluster.wait("20 seconds")).toBe(true)
    }))
})

describe("a result that does not fit into a message", () => {
  it("comes with what the job printed", () =>
    withCluster((size: number) => {
      console.log("made")
      return new Uint8Array(size)
    }, async (cluster) => {
      const job = cluster.submit(3_000_000)
      expect((await job.result()).length).toBe(3_000_000)
      expect(job.stdout).toBe("made\n")
    }))
})
