/** What goes along with a computation, on real nodes: classes, modules, setup, setupSlot, cleanup, depends of single jobs. */
import * as fs from "node:fs"
import * as os from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Computation, createJobCluster, Depends, JobFailed } from "../../src/promise.ts"
import { isRunning } from "../support/Processes.ts"

declare const dispy: { readonly shared: any; readonly nodeName: string }
declare const stats: { readonly mean: (sample: ReadonlyArray<number>) => number }

let directory = ""
beforeEach(() => {
  directory = fs.mkdtempSync(join(os.tmpdir(), "dispy-depends-"))
})
afterEach(() => fs.rmSync(directory, { recursive: true }))

const linesOf = (name: string): ReadonlyArray<string> =>
  fs.readFileSync(join(directory, name), "utf8").trim().split("\n").filter((line) => line !== "")

/** Appends a line to a file of the test: in setup, slots and cleanup. */
const note = async (file: string, line: string): Promise<void> => {
  ;(await import("node:fs")).appendFileSync(file, `${line}\n`)
}

class Shape {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}
class Square extends Shape {
  readonly side: number
  constructor(side: number) {
    super("square")
    this.side = side
  }
  get area() {
    return this.side ** 2
  }
}
class Refused extends RangeError {
  readonly square: Square
  override readonly name = "Refused"
  constructor(square: Square) {
    super(`no square of ${square.side}`)
    this.square = square
  }
}

const double = (square: Square): Square => {
  if (square.side < 0) throw new Refused(square)
  return new Square(square.side * 2)
}

describe("classes", () => {
  it("arrive as instances in arguments, results, maps and errors", async () => {
    await using cluster = await createJobCluster(double, { cpus: 1, depends: [new Square(1), Refused] })
    const result = await cluster.run(new Square(3))
    expect(result).toBeInstanceOf(Square)
    expect([result.area, result.name]).toEqual([36, "square"])
    const all = []
    for await (const square of cluster.map([new Square(1), new Square(2)])) all.push(square)
    expect(all.map((square) => [square instanceof Square, square.area])).toEqual([[true, 4], [true, 16]])
    const error = await cluster.submit(new Square(-1)).result().catch((failed: unknown) => failed)
    expect(error).toBeInstanceOf(JobFailed)
    const { cause } = error as JobFailed
    expect(cause).toBeInstanceOf(Refused)
    expect((cause as Refused).square).toBeInstanceOf(Square)
  })

  it("are those of the bundle in the jobs of a module", async () => {
    const file = join(directory, "squares.ts")
    fs.writeFileSync(
      file,
      `export class Shape { readonly name: string; constructor(name: string) { this.name = name } }
       export class Square extends Shape {
         readonly side: number
         constructor(side: number) { super("bundled"); this.side = side }
       }
       export const grow = (square: Square) => {
         if (!(square instanceof Square)) throw new Error("another class")
         return new Square(square.side + 1)
       }`
    )
    const grow = Computation.fromModule<(square: Square) => Square>(pathToFileURL(file), "grow")
    await using cluster = await createJobCluster(grow, { cpus: 1, depends: [Square] })
    const square = await cluster.run(new Square(1))
    expect(square).toBeInstanceOf(Square)
    expect([square.side, square.name, square.area]).toEqual([2, "bundled", 4])
  })

  it("of a single job are there for that job, and for it alone", async () => {
    const has = (value: unknown, name: string) => [
      Object.getPrototypeOf(value) === Object.prototype,
      typeof Reflect.get(globalThis, name)
    ]
    await using cluster = await createJobCluster(has, { cpus: 1 })
    expect(await cluster.with({ depends: [Square] }).run(new Square(1), "Square")).toEqual([false, "function"])
    expect(await cluster.run(new Square(1), "Square")).toEqual([true, "undefined"])
    expect(() => cluster.with({ depends: [() => 1] })).toThrow(/an anonymous function cannot be in depends/)
    expect(cluster.pending).toBe(0)
  })
})

describe("functions of single jobs", () => {
  it("are each job's own as long as it runs alone, and gone when all that have them are done", async () => {
    const wait = async (millis: number) => {
      await new Promise((done) => setTimeout(done, millis))
      return typeof Reflect.get(globalThis, "square")
    }
    const square = (n: number) => n * n
    await using cluster = await createJobCluster(wait, { cpus: 1, concurrency: 3 })
    const withSquare = cluster.with({ depends: [square] })
    const [long, short, other] = [withSquare.submit(300), withSquare.submit(50), withSquare.submit(100)]
    expect(await Promise.all([short.result(), other.result(), long.result()])).toEqual([
      "function",
      "function",
      "function"
    ])
    expect(await cluster.run(0)).toBe("undefined")
  })
})

describe("modules", () => {
  it("are variables of a function and can be imported in a module", async () => {
    fs.writeFileSync(join(directory, "add.ts"), "export const add = (a: number, b: number): number => a + b")
    fs.writeFileSync(
      join(directory, "stats.ts"),
      `import { add } from "./add.ts"
       export const mean = (sample: ReadonlyArray<number>) => sample.reduce(add, 0) / sample.length`
    )
    fs.writeFileSync(
      join(directory, "main.ts"),
      `export const run = async (sample: ReadonlyArray<number>) => (await import("stats")).mean(sample)`
    )
    const depends = [Depends.module(pathToFileURL(join(directory, "stats.ts")), "stats")]
    const inline = async (sample: ReadonlyArray<number>) => {
      const imported: typeof stats = await import(["stats"].join(""))
      return [stats.mean(sample), imported.mean === stats.mean]
    }
    await using cluster = await createJobCluster(inline, { cpus: 1, depends })
    expect(await cluster.run([1, 2, 6])).toEqual([3, true])
    const main = Computation.fromModule<(sample: ReadonlyArray<number>) => Promise<number>>(
      pathToFileURL(join(directory, "main.ts")),
      "run"
    )
    await using bundled = await createJobCluster(main, { cpus: 1, depends })
    expect(await bundled.run([1, 2, 3])).toBe(2)
  })

  it("lie in the working directory of programs", async () => {
    fs.writeFileSync(join(directory, "stats.ts"), "export const mean = 4")
    const depends = [Depends.module(join(directory, "stats.ts"), "stats")]
    await using cluster = await createJobCluster("node", { cpus: 1, depends })
    const job = cluster.submit("-e", "import(process.cwd() + '/stats.mjs').then((m) => console.log(m.mean))")
    expect([await job.result(), job.stdout]).toEqual([0, "4\n"])
  })
})

describe("setup", () => {
  it("runs once for each node and cluster, in the jobs' directory, before the jobs of all slots", async () => {
    const log = join(directory, "log")
    const setup = async (file: string) => {
      await note(file, `setup in ${process.cwd()}`)
      ;(globalThis as any).table = new Map([["answer", 42]])
      return { square: new Square(3), pid: process.pid }
    }
    const setupSlot = () => {
      ;(globalThis as any).look = (key: string) => (globalThis as any).table.get(key)
    }
    const job = async (n: number) => {
      await new Promise((done) => setTimeout(done, 30))
      return [n, dispy.shared.square.area, (globalThis as any).look("answer"), process.cwd(), dispy.shared.pid]
    }
    const options = { cpus: 2, depends: [Square, note], setup, setupSlot, setupArgs: [log] }
    for (let round = 1; round <= 2; round++) {
      await using cluster = await createJobCluster(job, options)
      const results = await Promise.all([1, 2, 3, 4, 5].map((n) => cluster.run(n)))
      expect(results.map(([n, area, answer]) => [n, area, answer])).toEqual([1, 2, 3, 4, 5].map((n) => [n, 9, 42]))
      expect(linesOf("log")).toHaveLength(round)
      expect(linesOf("log").at(-1)).toBe(`setup in ${String(results[0]![3])}`)
      expect(new Set(results.map((result) => result[4])).size).toBe(1)
    }
  })

  it("is there in a slot that replaces one that died", async () => {
    const job = (how: string) => {
      if (how === "die") process.exit(1)
      return [dispy.shared.base, (globalThis as any).cache.get(1), (globalThis as any).add(1)]
    }
    await using cluster = await createJobCluster(job, {
      cpus: 1,
      setup: () => {
        ;(globalThis as any).cache = new Map([[1, "one"]])
        return { base: 10 }
      },
      setupSlot: () => {
        ;(globalThis as any).add = (n: number) => n + dispy.shared.base
      }
    })
    for (let i = 0; i < 3; i++) {
      expect((await cluster.run("die").catch((error: Error) => error) as any)._tag).toBe("JobCrashed")
      expect(await cluster.run("look")).toEqual([10, "one", 11])
    }
  })

  it("may take longer than loading may, and a slot's too", async () => {
    await using cluster = await createJobCluster(() => dispy.shared, {
      cpus: 1,
      setup: async () => {
        await new Promise((done) => setTimeout(done, 500))
        return "done"
      }
    })
    expect(await cluster.run()).toBe("done")
  })

  it("names what failed with what it printed, and a node that dies of it does no harm", async () => {
    const refusal = async (setup: () => unknown) => {
      const error = await createJobCluster(() => 1, { cpus: 1, setup, setupTimeout: "500 millis", logLevel: "none" })
        .catch((refused: unknown) => refused)
      expect(error).toMatchObject({ _tag: "ComputationRefused" })
      return (error as Error).message
    }
    expect(
      await refusal(() => {
        console.log("reading data")
        throw new Error("there is none")
      })
    ).toMatch(/setup failed: Error: there is none \(at .*\); stdout: reading data$/)
    expect(await refusal(() => process.exit(0))).toMatch(/exited with code 0 before it was done/)
    expect(await refusal(() => process.kill(process.pid, "SIGKILL"))).toMatch(/killed by SIGKILL/)
    expect(
      await refusal(() => {
        for (;;);
      })
    ).toMatch(/did not end within 500 ms/)
    expect(await refusal(() => new Promise(() => {}))).toMatch(/can never settle/)
  })

  it("leaves no process behind when it hangs with children", async () => {
    const file = join(directory, "pid")
    const setup = Computation.fromFunction(async () => {
      const { spawn } = await import("node:child_process")
      const child = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" })
      ;(await import("node:fs")).writeFileSync(file, String(child.pid))
      for (;;);
    }, { captures: { file } })
    const options = { cpus: 1, setup, setupTimeout: "1 second", logLevel: "none" } as const
    await createJobCluster(() => 1, options).catch(() => {})
    const pid = Number(fs.readFileSync(file, "utf8"))
    expect(isRunning(pid)).toBe(false)
  })
})

describe("setup with threads", () => {
  it("gives them instances of classes, and the same shared memory", async () => {
    const file = join(directory, "threads")
    const count = async (n: number) => {
      const { counter, square } = dispy.shared
      await new Promise((done) => setTimeout(done, 20))
      return [square.area, Atomics.add(counter, 0, n) >= 0]
    }
    const cluster = await createJobCluster(count, {
      cpus: 2,
      executor: "thread",
      depends: [Square],
      setup: () => ({ square: new Square(5), counter: new Int32Array(new SharedArrayBuffer(4)) }),
      cleanup: Computation.fromFunction(async () => {
        ;(await import("node:fs")).writeFileSync(file, `area ${dispy.shared.square.area}`)
      }, { captures: { file } })
    })
    const results = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => cluster.run(n)))
    expect(results).toEqual(results.map(() => [25, true]))
    const total = await cluster.with({ id: "total" }).run(0)
    expect(total[0]).toBe(25)
    await cluster.close()
    expect(linesOf("threads")).toEqual(["area 25"])
  })

  it("shares one memory among all threads", async () => {
    await using cluster = await createJobCluster((n: number) => Atomics.add(dispy.shared.counter, 0, n), {
      cpus: 2,
      executor: "thread",
      depends: [Square],
      setup: () => ({ square: new Square(5), counter: new Int32Array(new SharedArrayBuffer(4)) })
    })
    await Promise.all([1, 2, 3, 4].map((n) => cluster.run(n)))
    expect(await cluster.run(0)).toBe(10)
  })
})

describe("cleanup", () => {
  it("runs once after the last job with what setup left, while the files are there", async () => {
    const file = join(directory, "cleanup")
    const cluster = await createJobCluster(async () => (await import("node:fs")).writeFileSync("result", "kept"), {
      cpus: 2,
      setup: () => ({ greeting: "hello" }),
      cleanup: Computation.fromFunction(async () => {
        const { appendFileSync, readFileSync } = await import("node:fs")
        appendFileSync(file, `${dispy.shared.greeting} ${readFileSync("result", "utf8")}\n`)
      }, { captures: { file } })
    })
    await Promise.all([cluster.run(), cluster.run()])
    expect(fs.existsSync(file)).toBe(false)
    await cluster.close()
    expect(linesOf("cleanup")).toEqual(["hello kept"])
  })

  it("that hangs or fails does not keep the cluster from closing", async () => {
    for (
      const cleanup of [
        () => {
          for (;;);
        },
        () => {
          throw new Error("no way")
        }
      ]
    ) {
      const cluster = await createJobCluster(() => 1, { cpus: 1, cleanup, setupTimeout: "500 millis" })
      expect(await cluster.run()).toBe(1)
      expect(await cluster.close()).toBe(true)
    }
  })

  it("runs for programs, too, with setup before", async () => {
    const file = join(directory, "program")
    const say = (text: string) =>
      Computation.fromFunction(async () => (await import("node:fs")).appendFileSync(file, `${text}\n`), {
        captures: { file, text }
      })
    const cluster = await createJobCluster("true", { cpus: 1, setup: say("setup"), cleanup: say("cleanup") })
    expect(await cluster.run()).toBe(0)
    await cluster.close()
    expect(linesOf("program")).toEqual(["setup", "cleanup"])
  })
})
