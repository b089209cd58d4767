/** The examples, run as a user runs them: what they print, how they end, and that they leave nothing behind. */
import { Effect } from "effect"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { stripVTControlCharacters } from "node:util"
import { brotliCompressSync, constants } from "node:zlib"
import { PNG } from "pngjs"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { startDaemon } from "../support/Daemons.ts"
import { eventually } from "../support/Eventually.ts"
import { besideKills } from "../support/Processes.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Where the examples keep temporary files, and a mark in the environment of their processes. */
let temporary = ""
/** Where they are started. */
let directory = ""

interface Run {
  readonly child: ChildProcess
  /** What it wrote so far. */
  readonly stdout: () => string
  readonly stderr: () => string
  readonly ended: Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }>
}

const start = (
  example: string,
  args: ReadonlyArray<string> = [],
  options: { readonly nodeArgs?: ReadonlyArray<string>; readonly env?: Record<string, string> } = {}
): Run => {
  const { NO_COLOR: _, ...env } = process.env
  const child = spawn(process.execPath, [...options.nodeArgs ?? [], join(root, "examples", example), ...args], {
    cwd: directory,
    env: { ...env, TMPDIR: temporary, ...options.env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let [stdout, stderr] = ["", ""]
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
  const ended = new Promise<{ status: number | null; stdout: string; stderr: string }>((resolve) => {
    child.once("close", (status) => resolve({ status, stdout, stderr }))
  })
  return { child, stdout: () => stdout, stderr: () => stderr, ended }
}

const run = (...args: Parameters<typeof start>) => start(...args).ended

/** Processes that were started by an example or by what it started. */
const processesLeft = (): ReadonlyArray<string> =>
  fs.readdirSync("/proc").filter((pid) => /^\d+$/.test(pid)).flatMap((pid) => {
    try {
      const text = ["environ", "cmdline"].map((file) => fs.readFileSync(`/proc/${pid}/${file}`, "latin1")).join("\0")
      const isZombie = /^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, "latin1"))
      return text.includes(temporary) && !isZombie ? [text.replaceAll("\0", " ")] : []
    } catch {
      return []
    }
  })

/** Files and sockets in the temporary directory; the home of all daemons of a user stays, empty. */
const filesLeft = (): ReadonlyArray<string> =>
  fs.readdirSync(temporary, { recursive: true, encoding: "utf8" }).filter((name) =>
    !/^dispy-[^/]+(\/node)?$/.test(name)
  )

beforeEach(() => {
  temporary = fs.mkdtempSync(join(tmpdir(), "dispy-examples-tmp-"))
  directory = fs.mkdtempSync(join(tmpdir(), "dispy-examples-"))
})

afterEach(async () => {
  await eventually(() => expect([...processesLeft(), ...filesLeft()]).toEqual([]))
  fs.rmSync(temporary, { recursive: true })
  fs.rmSync(directory, { recursive: true })
})

describe("quickstart", () => {
  it("counts primes", async () => {
    expect(await run("quickstart.ts")).toEqual({ status: 0, stdout: "4\n168\n9592\n78498\n", stderr: "" })
  })
})

describe("testing", () => {
  it("tests a program, all of whose tests pass", async () => {
    const { status, stdout } = await run("testing.ts", [], { nodeArgs: ["--test", "--test-reporter=tap"] })
    expect([status, /^# tests (\d+)$/m.exec(stdout)?.[1], /^# pass (\d+)$/m.exec(stdout)?.[1]]).toEqual([0, "4", "4"])
  })
})

describe("sample", () => {
  it("prints where and when every job ran, in order, and the status of the cluster", async () => {
    const { status, stderr, stdout } = await run("sample.ts")
    expect([status, stderr]).toEqual([0, ""])
    const jobs = [...stdout.matchAll(/^\S+ executed job (\d) at \d{4}-\d\d-\d\dT\S+Z with 0\.\d\d$/gm)]
    expect(jobs.map(([, id]) => Number(id))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(stdout).toMatch(/^local .*\| +10 \|/m)
  })
})

describe("inMemory", () => {
  it("searches on all slots what setup made once, in memory of about one copy", async () => {
    const { status, stderr, stdout } = await run("inMemory.ts", ["64"])
    expect([status, stderr]).toEqual([0, ""])
    expect(stdout).toMatch(/^16,777,216 numbers made in \S+ s\n16,818 of them end in 007, found in \S+ s\n/)
    const memory = /^1 process with (\d+) MB searched 64 MB$/m.exec(stdout)?.[1]
    // A process with two threads and no data has some 90 MB, and two copies would be 128 MB.
    expect(Number(memory)).toBeLessThan(100 + 1.5 * 64)
  })
})

describe("sharedVariables", () => {
  it("loses no addition of jobs that add at the same time", async () => {
    const { status, stderr, stdout } = await run("sharedVariables.ts")
    expect([status, stderr]).toEqual([0, ""])
    expect(stdout).toMatch(/^5500000: nothing is lost$/m)
  })
})

describe("concurrency", () => {
  it("runs jobs that wait many times as fast on one cpu, and keeps apart what they print", async () => {
    const { status, stderr, stdout } = await run("concurrency.ts", ["20"])
    expect([status, stderr]).toEqual([0, ""])
    const lines =
      /^1 at a time: \S+ s, sum 2470, prints apart\n20 at a time: \S+ s, sum 2470, prints apart\n(\S+) times/
    expect(Number(lines.exec(stdout)?.[1])).toBeGreaterThan(3)
  })
})

describe("fileTransfer", () => {
  it("brings a file to the jobs and their files back", async () => {
    const { status, stderr, stdout } = await run("fileTransfer.ts")
    expect(stdout).toBe("3 with a: apple, avocado, apricot\n2 with b: banana, blueberry\n1 with c: cherry\n")
    expect([status, stderr.replaceAll(/^.*words-with-[abc]\.txt: \d+ bytes\n/gm, "")]).toEqual([0, ""])
  })
})

/** Two daemons for an example, gone after it. */
const withNodes = async (use: (addresses: ReadonlyArray<string>) => Promise<void>): Promise<void> => {
  const names = ["one", "two"]
  const daemons = await Promise.all(
    names.map((name) =>
      startDaemon(["--name", name, "--cpus", "1", "--msg-timeout", "1", "--dest-path-prefix", temporary])
    )
  )
  try {
    await use(daemons.map((daemon) => daemon.address))
  } finally {
    await Promise.all(daemons.map((daemon) => daemon.stop()))
  }
}

describe("jobScheduler", () => {
  it("gives every node its next job when it has done one, and does all of them", () =>
    withNodes(async (addresses) => {
      const { status, stderr, stdout } = await run("jobScheduler.ts", addresses)
      expect([status, stderr]).toEqual([0, ""])
      const lines = [...stdout.matchAll(/^(one|two): (\d+) primes below (\d+)$/gm)]
      expect(new Set(lines.map(([, node]) => node))).toEqual(new Set(["one", "two"]))
      expect(lines.map(([, , , limit]) => Number(limit) / 10_000).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 12 }, (_, i) => i + 1)
      )
      expect(lines.find(([, , , limit]) => limit === "100000")![2]).toBe("9592")
    }))
})

describe("boundedSubmit", () => {
  it("runs all jobs with no more than the bound in memory", async () => {
    const { status, stderr, stdout } = await run("boundedSubmit.ts")
    expect([status, stderr, stdout]).toEqual([
      0,
      "",
      "The longest way to 1 from below 100000 takes 350 steps; at most 2000 jobs were pending.\n"
    ])
  })
})

describe("nodeUpdate", () => {
  it("runs a program once on every node, and says which were not reached", () =>
    withNodes(async (addresses) => {
      const { status, stdout } = await run("nodeUpdate.ts", [...addresses, "127.0.0.1:1"])
      expect([status, ...stdout.trim().split("\n").toSorted((a, b) => a.localeCompare(b))]).toEqual([
        0,
        expect.stringMatching(/^127\.0\.0\.1:1: missing, connection refused$/),
        expect.stringMatching(/^one: Linux \w+ \(exit status 0\)$/),
        expect.stringMatching(/^two: Linux \w+ \(exit status 0\)$/)
      ])
    }))
})

describe("recover", () => {
  it("gets the results of a run that was killed when it is started again", () =>
    withNodes(async (addresses) => {
      const killed = start("recover.ts", addresses)
      await eventually(() => expect(killed.stdout()).toContain("0 squared is 0\n"))
      killed.child.kill("SIGKILL")
      await killed.ended
      const { status, stderr, stdout } = await run("recover.ts", addresses)
      expect([status, stderr]).toEqual([0, ""])
      expect(stdout).toMatch(/^(job \d: (\d) squared is \d+\n)+recovered \d jobs\nsubmitted 6 jobs\n/)
      expect(stdout).toMatch(/4 squared is 16\n5 squared is 25\n$/)
      expect(fs.readdirSync(directory)).toEqual([])
    }))
})

describe("longRunning", () => {
  it("shows progress, and what a cancelled job had found", async () => {
    const { status, stderr, stdout } = await run("longRunning.ts")
    expect([status, stderr]).toEqual([0, ""])
    expect(stdout).toContain("4000 numbers, 3 of them perfect\n")
    const [, upTo, found] = /^JobCancelled; perfect up to (\d+): (.*)$/m.exec(stdout) ?? []
    expect(Number(upTo)).toBeGreaterThanOrEqual(20_000)
    expect(found).toBe("[ 6, 28, 496, 8128 ]")
  })
})

describe("map", () => {
  it("takes from an endless source no more than is asked for, and keeps the order", async () => {
    const { status, stderr, stdout } = await run("map.ts")
    expect([status, stderr]).toEqual([0, ""])
    const lines = [...stdout.matchAll(/^0000[0-9a-f]{12} line (\d+) \d+$/gm)]
    expect(lines.map(([, number]) => Number(number))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  })
})

describe("objectInstances", () => {
  it("gives instances back, with what the jobs changed in them", async () => {
    expect(await run("objectInstances.ts")).toEqual({
      status: 0,
      stdout: "a disc of radius 1: 3.14\na disc of radius 2: 12.57\na disc of radius 3: 28.28\n",
      stderr: ""
    })
  })
})

describe("delegate", () => {
  it("runs the functions that jobs take along, and none of another job's", async () => {
    const { status, stderr, stdout } = await run("delegate.ts")
    expect([status, stderr]).toEqual([0, ""])
    expect(stdout.split("\n")).toEqual([
      "2 + 40 = 42",
      "6 * 7 = 42",
      "10! = 3628800",
      "job 4 failed on node local: Error: there is no function add",
      ""
    ])
  })
})

describe("nodeSetup", () => {
  it("reads the data once per node and looks it up in every job", async () => {
    const { status, stderr, stdout } = await run("nodeSetup.ts")
    expect([status, stderr, stdout]).toEqual([0, "", "the words have 399979 letters\n"])
  })
})

describe("provisionalResults", () => {
  it("cancels all jobs when one of them is good enough", async () => {
    const { status, stderr, stdout } = await run("provisionalResults.ts")
    expect([status, stderr]).toEqual([0, ""])
    expect(stdout).toMatch(/^3\.141(58|59|60)\d after \d+ darts of job \d$/m)
    expect(stdout.match(/^job \d (Terminated|Cancelled)$/gm)).toHaveLength(4)
  })
})

describe("program", () => {
  it("shows exit status and output of programs", async () => {
    const { status, stderr, stdout } = await run("program.ts")
    expect([status, stderr]).toEqual([0, ""])
    expect(stdout.split("\n")).toEqual([
      "exit status 0",
      "  stdout: looking for /usr",
      "exit status 3",
      "  stdout: looking for /no/such/place",
      "  stderr: /no/such/place is not there",
      ""
    ])
  })
})

describe("effect", () => {
  it("runs, maps, interrupts and times out", async () => {
    const { status, stderr, stdout } = await run("effect.ts")
    expect([status, stderr]).toEqual([0, ""])
    expect(stdout.split("\n")).toEqual([
      "27 takes 111 steps",
      "the longest way from below 100,000 takes 350 steps",
      "forever: interrupted after half a second",
      expect.stringMatching(/^job 2 ran longer than its timeout of 200 ms on node local/),
      ""
    ])
  })
})

/** As much of the example's module as is used here. */
interface TileModule {
  readonly render: (tile: object) => { readonly pixels: Uint8Array }
}

describe("mandelbrot", () => {
  it("renders the picture, every pixel of it, and says how fast", async () => {
    const { status, stderr, stdout } = await run("mandelbrot.ts", ["--size", "330x200"])
    expect(stderr).toMatch(/^Rendering: 6 tiles in [\d.]+ s, .*\nOne slot: 6 tiles in [\d.]+ s, .*\n$/)
    expect(status).toBe(0)
    expect(stdout).toMatch(
      /^Rendering 330 x 200 pixels, 4 points each, in 6 tiles\nDone in [\d.]+ s: mandelbrot\.png\n/
    )
    expect(stdout).toMatch(/^Node +\| CPUs \| Jobs \|.*\n[-|]+\nlocal .* \| +\d+ \| +6 \| /m)
    expect(stdout).toMatch(
      /One slot .* 6 of the tiles, which are 100\.0 % of the work .*\nabout .* \d+ slots? took .*: [\d.]+ times as fast\.\n$/
    )

    const picture = PNG.sync.read(fs.readFileSync(join(directory, "mandelbrot.png")))
    expect([picture.width, picture.height]).toEqual([330, 200])
    const centre = [-0.74364398, 0.13182595] as const
    const view = { centre, span: 6e-5, width: 330, height: 200, iterations: 3000, samples: 2 }
    const { render } = await import(join(root, "examples/mandelbrot/tile.ts")) as TileModule
    const { pixels } = render({ view, left: 0, top: 0, width: 330, height: 200 })
    const opaque = Buffer.alloc(picture.data.length, 255)
    for (let i = 0; i < 330 * 200; i++) opaque.set(pixels.subarray(i * 3, i * 3 + 3), i * 4)
    expect(picture.data.equals(opaque)).toBe(true)
  })

  it("writes where it is told", async () => {
    const { status, stdout } = await run("mandelbrot.ts", ["a b.png", "--size", "10x10"])
    expect(status).toBe(0)
    expect(stdout).toContain(": a b.png\n")
    expect(PNG.sync.read(fs.readFileSync(join(directory, "a b.png"))).width).toBe(10)
  })

  const terminal = (columns: number) =>
    `data:text/javascript,Object.assign(process.stderr, { isTTY: true, columns: ${columns} })`

  for (const columns of [40, 80, 200]) {
    it(`draws a bar that fits ${columns} columns`, async () => {
      const { stderr } = await run("mandelbrot.ts", ["--size", "640x270"], {
        nodeArgs: ["--import", terminal(columns)]
      })
      expect(stderr).toContain("\u001b[36m")
      const lines = stripVTControlCharacters(stderr).split(/[\r\n]/)
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(columns)
      expect(lines.join("\n")).toMatch(/Rendering [█░]{8,} +\d+ % {2}ETA/)
    })
  }

  it("has no colours when NO_COLOR is set, and no bar on a dumb terminal", async () => {
    const nodeArgs = ["--import", terminal(80)]
    const plain = await run("mandelbrot.ts", ["--size", "10x10"], { nodeArgs, env: { NO_COLOR: "1" } })
    expect(plain.stderr).toMatch(/[█░]/)
    expect(plain.stderr.replaceAll("\u001b[2K", "")).not.toContain("\u001b")
    const dumb = await run("mandelbrot.ts", ["--size", "10x10"], { nodeArgs, env: { TERM: "dumb" } })
    expect(dumb.stderr).not.toMatch(/[█░]/)
    expect(dumb.stderr).not.toContain("\u001b")
  })

  it("ends at Ctrl-C, at once and without a stack trace", async () => {
    const example = start("mandelbrot.ts")
    await eventually(() => expect(example.stdout()).toContain("Rendering"))
    const since = performance.now()
    // To the example alone: the terminal sends it to the node as well, which leaves it to the example.
    example.child.kill("SIGINT")
    const [{ status, stderr }, noise] = await Effect.runPromise(besideKills(Effect.promise(() => example.ended)))
    expect(performance.now() - since).toBeLessThan(2500 + 20 * noise)
    expect([status, stderr.split("\n").at(-2)]).toEqual([130, "interrupted"])
    expect(stderr).not.toContain("    at ")
    expect(fs.readdirSync(directory)).toEqual([])
  })

  it("leaves nothing behind when it is killed", async () => {
    const example = start("mandelbrot.ts")
    await eventually(() => expect(example.stdout()).toContain("Rendering"))
    await eventually(() => expect(processesLeft().length).toBeGreaterThan(2))
    example.child.kill("SIGKILL")
    await example.ended
  })

  it("goes on when nobody reads what it prints", async () => {
    const example = start("mandelbrot.ts", ["--size", "10x10"])
    example.child.stdout!.destroy()
    const { status, stderr } = await example.ended
    expect([status, stderr.includes("EPIPE")]).toEqual([0, false])
    expect(fs.existsSync(join(directory, "mandelbrot.png"))).toBe(true)
  })

  for (
    const [args, sentence] of [
      [["--size", "12"], "--size 12 is not a size; write it like 3840x2160"],
      [["--size", "0x0"], "--size 0x0 is not a size"],
      [["--colour"], "Unknown option '--colour'"],
      [["a", "b"], "it writes one file, not 2"]
    ] as const
  ) {
    it(`refuses ${args.join(" ")} with one sentence and the usage`, async () => {
      const { status, stderr, stdout } = await run("mandelbrot.ts", args)
      expect([status, stdout]).toEqual([2, ""])
      expect(stderr).toContain(`examples/mandelbrot.ts: ${sentence}`)
      expect(stderr).toMatch(/\nusage: node examples\/mandelbrot\.ts \[FILE\].*\n$/)
    })
  }

  it("says before it begins that it cannot write the picture", async () => {
    const { status, stderr, stdout } = await run("mandelbrot.ts", [join(directory, "missing/picture.png")])
    expect([status, stdout]).toEqual([2, ""])
    expect(stderr).toMatch(/^examples\/mandelbrot\.ts: .*no such file or directory.*missing'\n$/)
  })
})

/** A file of zeros that takes no room on the disk. */
const sparse = (path: string, bytes: number): void => {
  fs.writeFileSync(path, "")
  fs.truncateSync(path, bytes)
}

const compressed = (content: Buffer): Buffer =>
  brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 8 } })

describe("compress", () => {
  const fill = (): ReadonlyMap<string, Buffer> => {
    const files = new Map<string, Buffer>([
      ["empty", Buffer.alloc(0)],
      ["-rf *", Buffer.from("a name like an option")],
      ["new\nline", Buffer.from("two lines")],
      ["ünïcödé ✓ 🎉", Buffer.from("more than ASCII")],
      ["deep/er/and/deeper", Buffer.from("deep")],
      ["deep/large.bin", Buffer.alloc(3_000_000, "compressible ")],
      ["deep/random.bin", createHash("shake256", { outputLength: 500_000 }).update("seed").digest()],
      [" ", Buffer.from("a blank")]
    ])
    for (let i = 0; i < 200; i++) files.set(`many/${i}.txt`, Buffer.from(`file ${i} `.repeat(i)))
    for (const [name, content] of files) {
      fs.mkdirSync(join(directory, "tree", name, ".."), { recursive: true })
      fs.writeFileSync(join(directory, "tree", name), content)
    }
    // A name that is not UTF-8, as old archives and other systems leave them.
    fs.writeFileSync(Buffer.from(join(directory, "tree/latin-\u00e9"), "latin1"), "bytes")
    files.set("latin-\ufffd", Buffer.from("bytes"))
    return files
  }

  it("agrees with zlib on every file, whatever its name and size", async () => {
    const files = fill()
    const { status, stderr, stdout } = await run("compress.ts", ["tree"])
    expect(stderr).toMatch(/^On the nodes: 209 files in .*\nIn this process: 209 files in .*\n$/)
    expect([status, stdout.split("\n").at(-2)]).toEqual([0, "The totals agree."])
    const bytesIn = [...files.values()].reduce((sum, content) => sum + content.length, 0)
    const bytesOut = [...files.values()].reduce((sum, content) => sum + compressed(content).length, 0)
    const [, onNodes, inProcess] = stdout.split("\n").map((line) => line.trim().split(/ {2,}/))
    expect(onNodes!.slice(0, 4)).toEqual(["on the nodes", String(files.size), String(bytesIn), String(bytesOut)])
    expect(inProcess!.slice(0, 4)).toEqual(["in this process", ...onNodes!.slice(1, 4)])
    expect(onNodes![5]).toMatch(/^[0-9a-f]{16}$/)
  })

  it("skips what it cannot take, by name and with the reason", async () => {
    const tree = join(directory, "tree")
    fs.mkdirSync(join(tree, "locked"), { recursive: true })
    fs.writeFileSync(join(tree, "file"), "content")
    fs.symlinkSync("file", join(tree, "link"))
    fs.symlinkSync("nowhere", join(tree, "dangling\u001b[31m"))
    execFileSync("mkfifo", [join(tree, "pipe")])
    sparse(join(tree, "huge"), 49 * 1024 * 1024)
    const { status, stderr, stdout } = await run("compress.ts", [tree])
    expect(status).toBe(0)
    expect(stderr.split("\n").filter((line) => line.startsWith("skipped")).map((line) => line.replace(tree, "")))
      .toEqual([
        "skipped /dangling\\u001b[31m: it is a link",
        "skipped /huge: 51380224 bytes are more than the 50330624 that fit into a job",
        "skipped /link: it is a link",
        "skipped /pipe: it is not a file"
      ])
    expect(stdout).toMatch(/^on the nodes +1 +7 /m)
  })

  it("takes the largest file that fits into a job", async () => {
    fs.mkdirSync(join(directory, "tree"))
    sparse(join(directory, "tree/large"), 50_330_624)
    const { status, stdout } = await run("compress.ts", ["tree"])
    expect([status, stdout.split("\n").at(-2)]).toEqual([0, "The totals agree."])
  })

  it("ends with status 1 when the totals differ", async () => {
    // Files that are never the same twice.
    const { status, stdout } = await run("compress.ts", ["/proc/sys/kernel/random"])
    expect(status).toBe(1)
    expect(stdout).toContain("The totals differ!")
  })

  it("has nothing to do in an empty directory", async () => {
    fs.mkdirSync(join(directory, "tree"))
    const { status, stdout } = await run("compress.ts", ["tree"])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^on the nodes +0 +0 +0 /m)
  })

  it("shows the usage when no directory is given", async () => {
    const { status, stderr } = await run("compress.ts")
    expect(status).toBe(2)
    expect(stderr).toBe(
      "examples/compress.ts: which directory?\nusage: node examples/compress.ts DIRECTORY [--node HOST[:PORT] ...]\n"
    )
  })

  it("says in one sentence what is wrong with the directory", async () => {
    fs.writeFileSync(join(directory, "file"), "")
    expect(await run("compress.ts", ["missing"])).toEqual({
      status: 2,
      stdout: "",
      stderr: `examples/compress.ts: there is no directory ${join(directory, "missing")}\n`
    })
    expect((await run("compress.ts", ["file"])).stderr).toMatch(/file is not a directory\n$/)
  })

  it("says in one sentence what is wrong with a node", async () => {
    const { status, stderr } = await run("compress.ts", [directory, "--node", "host:99999"])
    expect([status, stderr]).toEqual([
      2,
      "examples/compress.ts: option nodes: \"host:99999\" has port \"99999\"; ports are 1 to 65535\n"
    ])
  })

  it("ends at Ctrl-C", async () => {
    fill()
    for (let i = 0; i < 300; i++) {
      fs.copyFileSync(join(directory, "tree/deep/large.bin"), join(directory, `tree/copy${i}`))
    }
    const example = start("compress.ts", ["tree"])
    await eventually(() => expect(processesLeft().length).toBeGreaterThan(3))
    example.child.kill("SIGINT")
    const { status, stderr } = await example.ended
    expect([status, stderr.split("\n").at(-2)]).toEqual([130, "interrupted"])
  })
})
