/** Options of `dispynode` beyond those that every start has: each by its effect. */
import { describe, expect, it } from "@effect/vitest"
import { DateTime, Effect } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import * as ServiceHours from "../../src/domain/node/ServiceHours.ts"
import { Outcome } from "../../src/domain/wire/Entries.ts"
import { Computation, createJobCluster } from "../../src/promise.ts"
import * as DaemonClient from "../support/DaemonClient.ts"
import * as DaemonProcess from "../support/DaemonProcess.ts"

const { awaitFile, connect, marking, tcp } = DaemonClient
const { run, start } = DaemonProcess

const readyPort = Effect.fnUntraced(function*(daemon: DaemonProcess.Daemon) {
  const address = tcp(yield* daemon.ready)
  return { address, port: String(address._tag === "Tcp" ? address.port : 0) }
})

describe("--config and --save-config", () => {
  it.live("write every option to a file of the owner's alone, from which the next start has them", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const file = path.join(directory, "dispy.json")
      const saved = yield* run([
        "--port",
        "0",
        "--cpus",
        "1",
        "--name",
        "saved",
        "--drain-grace",
        "500ms",
        "--zombie-interval",
        "2h",
        "--save-config",
        file
      ])
      expect(saved).toMatchObject({ code: 0, stdout: [], stderr: [] })
      expect(fs.statSync(file).mode & 0o777).toBe(0o600)
      expect(JSON.parse(fs.readFileSync(file, "utf8"))).toMatchObject({
        cpus: 1,
        port: 0,
        name: "saved",
        "drain-grace": 0.5,
        "zombie-interval": 120,
        "keep-results": 7,
        "client-shutdown": false,
        "ip-addr": null,
        "service-start": null
      })
      const daemon = yield* start(["--config", file])
      expect(yield* daemon.ready).toMatch(/"saved" ready on .*: 1 cpu$/)
      const named = yield* start(["--config", file, "--name", "told"])
      expect(yield* named.ready).toContain("\"told\"")
    }))

  it.live("count less than the environment, and that less than the command line", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const file = path.join(directory, "dispy.json")
      fs.writeFileSync(file, JSON.stringify({ name: "file", port: 0, cpus: 1 }))
      const env = { DISPYNODE_CONFIG: file, DISPYNODE_NAME: "variable" }
      expect(yield* (yield* start([], { env })).ready).toContain("\"variable\"")
      expect(yield* (yield* start(["--name", "flag"], { env })).ready).toContain("\"flag\"")
    }))

  const mistakes: ReadonlyArray<readonly [json: string, RegExp]> = [
    ["{\"cpu\": 1}", /dispy\.json: there is no option "cpu"; did you mean cpus\?/],
    ["{\"client_shutdown\": true}", /there is no option "client_shutdown"; did you mean client-shutdown\?/],
    ["{\"client-shutdown\": \"False\"}", /dispy\.json: client-shutdown "False" is neither true nor false/],
    ["{\"cpus\": \"2\"}", /dispy\.json: cpus "2" is not a whole number/],
    ["{\"port\": 70000}", /dispy\.json: port 70000 is not a port/],
    ["{\"cpus\": 100000}", /dispy\.json: cpus 100000 is more than there are/],
    ["[1]", /dispy\.json has no options/],
    ["{", /dispy\.json is not JSON/]
  ]
  for (const [json, expected] of mistakes) {
    it.live(`refuse ${json} with one sentence and status 2`, () =>
      Effect.gen(function*() {
        const directory = yield* DaemonProcess.aDirectory
        const file = path.join(directory, "dispy.json")
        fs.writeFileSync(file, json)
        const { code, stderr, stdout } = yield* run(["--config", file])
        expect([code, stdout, stderr.length]).toEqual([2, [], 1])
        expect(stderr[0]).toMatch(expected)
      }))
  }
})

describe("--clean", () => {
  it.live("ends the dispynode that has the port, and what it runs; without it, that one is named", () =>
    Effect.gen(function*() {
      const prefix = yield* DaemonProcess.aDirectory
      const running = path.join(prefix, "running")
      const first = yield* start(["--port", "0", "--cpus", "1"], { prefix })
      const { address, port } = yield* readyPort(first)
      const { dispatch } = yield* connect(address, marking(running, "for (;;);"))
      yield* dispatch(1)
      const slot = Number(yield* awaitFile(running))
      const refused = yield* start(["--port", port, "--cpus", "1"], { prefix })
      expect(yield* refused.ended).toEqual({ code: 1, signal: null })
      expect(refused.stderr).toEqual([
        expect.stringContaining(
          `port ${port} is in use by another dispynode of yours (pid ${first.child.pid}); end that with --clean`
        )
      ])
      const second = yield* start(["--port", port, "--cpus", "1", "--clean", "--drain-grace", "0.2"], { prefix })
      expect(yield* second.ready).toContain(`127.0.0.1:${port}`)
      expect(yield* first.ended).toEqual({ code: 0, signal: null })
      yield* DaemonProcess.allGone([slot])
      expect(DaemonProcess.leftovers(second)).toHaveLength(1)
    }))

  it.live("kills one that does not end when it is asked, with what it started, though its record is damaged", () =>
    Effect.gen(function*() {
      const prefix = yield* DaemonProcess.aDirectory
      const first = yield* start(["--port", "0", "--cpus", "1"], { prefix })
      const { port } = yield* readyPort(first)
      const record = path.join(first.root, DaemonProcess.leftovers(first)[0]!, "node.json")
      expect(JSON.parse(fs.readFileSync(record, "utf8"))).toMatchObject({ ports: [Number(port)] })
      const processes = DaemonProcess.descendants(first.child.pid!)
      for (const damaged of ["", "{", "null", "{\"ports\": \"x\"}"]) fs.writeFileSync(record, damaged)
      // A stopped process handles no signal.
      first.child.kill("SIGSTOP")
      const second = yield* start(["--port", port, "--cpus", "1", "--clean", "--drain-grace", "0"], { prefix })
      expect(yield* second.ready).toContain(`127.0.0.1:${port}`)
      expect(yield* first.ended).toEqual({ code: null, signal: "SIGKILL" })
      yield* DaemonProcess.allGone(processes)
      expect(DaemonProcess.leftovers(second)).toHaveLength(1)
    }))

  it.live("with --serve 0 only ends the other, and succeeds where there is none, or one that was killed", () =>
    Effect.gen(function*() {
      const prefix = yield* DaemonProcess.aDirectory
      const first = yield* start(["--port", "0", "--cpus", "1"], { prefix })
      const { port } = yield* readyPort(first)
      const endIt = Effect.gen(function*() {
        const cleaner = yield* start(["--port", port, "--clean", "--serve", "0", "--drain-grace", "1"], { prefix })
        expect(yield* cleaner.ended).toEqual({ code: 0, signal: null })
        expect([cleaner.stdout, DaemonProcess.leftovers(cleaner)]).toEqual([[], []])
      })
      yield* endIt
      expect(yield* first.ended).toEqual({ code: 0, signal: null })
      const second = yield* start(["--port", port, "--cpus", "1"], { prefix })
      yield* second.ready
      second.child.kill("SIGKILL")
      yield* second.ended
      yield* endIt
    }))

  it.live("leaves alone who has another port", () =>
    Effect.gen(function*() {
      const prefix = yield* DaemonProcess.aDirectory
      const first = yield* start(["--port", "0", "--cpus", "1"], { prefix })
      const { address } = yield* readyPort(first)
      const second = yield* start(["--port", "0", "--cpus", "1", "--clean"], { prefix })
      yield* second.ready
      const { leaseId } = yield* connect(address, "() => 1")
      expect(leaseId).not.toBe("")
    }))
})

describe("--serve", () => {
  it.live("ends the node when so many computations were opened and closed", () =>
    Effect.gen(function*() {
      const daemon = yield* start(["--port", "0", "--cpus", "1", "--serve", "2"])
      const { port } = yield* readyPort(daemon)
      for (const n of [1, 2]) {
        const result = yield* Effect.promise(async () => {
          await using cluster = await createJobCluster((x: number) => x * 2, { nodes: [`127.0.0.1:${port}`] })
          return await cluster.run(n)
        })
        expect(result).toBe(2 * n)
      }
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      expect(DaemonProcess.leftovers(daemon)).toEqual([])
    }))
})

describe("--force-cleanup", () => {
  it.live("removes what clients want kept when their clusters are closed, and what they had kept there before", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const [prefix, table] = [path.join(directory, "node"), path.join(directory, "table")]
      fs.writeFileSync(table, "1,2")
      const filesAfter = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
        const daemon = yield* start(["--port", "0", "--cpus", "1", ...args], { prefix })
        const { port } = yield* readyPort(daemon)
        yield* Effect.promise(async () => {
          const options = { nodes: `127.0.0.1:${port}`, depends: [table], destPath: "mine", cleanup: false }
          await using cluster = await createJobCluster(async (text: string) => {
            const { readFileSync, writeFileSync } = await import("node:fs")
            writeFileSync("made by a job", text)
            return readFileSync("table", "utf8")
          }, options)
          expect(await cluster.run("made")).toBe("1,2")
        })
        return fs.readdirSync(prefix, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile() && entry.parentPath.endsWith("/mine")).map((entry) => entry.name).toSorted()
      })
      expect(yield* filesAfter()).toEqual(["made by a job", "table"])
      expect(yield* filesAfter("--force-cleanup")).toEqual([])
    }))

  it.live("leaves alone what another dispynode of the owner still uses", () =>
    Effect.gen(function*() {
      const prefix = yield* DaemonProcess.aDirectory
      const startWith = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
        return (yield* readyPort(yield* start(["--port", "0", "--cpus", "1", ...args], { prefix }))).port
      })
      const [keeping, cleaning] = [yield* startWith(), yield* startWith("--force-cleanup")]
      yield* Effect.promise(async () => {
        const open = async (port: string) => {
          const options = { nodes: `127.0.0.1:${port}`, destPath: "mine", cleanup: false }
          const cluster = await createJobCluster(() => process.cwd(), options)
          return { cluster, directory: await cluster.run() }
        }
        const [kept, cleaned] = [await open(keeping), await open(cleaning)]
        expect(cleaned.directory).toBe(kept.directory)
        await cleaned.cluster.close()
        expect(fs.existsSync(kept.directory)).toBe(true)
        await kept.cluster.close()
        expect(fs.existsSync(kept.directory)).toBe(true)
      })
    }))
})

describe("--client-shutdown", () => {
  it.live("lets a client end the node when it has left it, and without it nobody does", () =>
    Effect.gen(function*() {
      const open = yield* start(["--port", "0", "--cpus", "1", "--client-shutdown"])
      const shut = yield* start(["--port", "0", "--cpus", "1"])
      const [openPort, shutPort] = [(yield* readyPort(open)).port, (yield* readyPort(shut)).port]
      const nodes = [openPort, shutPort].map((port) => `127.0.0.1:${port}`)
      yield* Effect.promise(async () => {
        await using cluster = await createJobCluster((x: number) => x + 1, { nodes })
        await expect(cluster.shutdownNode(nodes[1]!)).rejects.toMatchObject({ _tag: "ShutdownRefused" })
        await cluster.shutdownNode(nodes[0]!)
        expect(await cluster.run(1)).toBe(2)
        expect(await Effect.runPromise(open.ended)).toEqual({ code: 0, signal: null })
      })
      expect(shut.child.exitCode).toBeNull()
      expect(open.stderr.join("\n")).toMatch(/a client shuts the node down/)
    }))
})

describe("service hours", () => {
  it.live("outside of them a node takes clients and runs nothing", () =>
    Effect.gen(function*() {
      const now = ServiceHours.minuteOf(
        yield* Effect.provide(DateTime.nowInCurrentZone, DateTime.layerCurrentZoneLocal)
      )
      const at = (minutes: number) => ServiceHours.formatTime((now + minutes + 1440) % 1440)
      const daemon = yield* start(["--port", "0", "--cpus", "1", "--service-start", at(60), "--service-stop", at(-60)])
      const { address } = yield* readyPort(daemon)
      const { dispatch, next } = yield* connect(address, "() => 1")
      expect(yield* next).toBe("CpusChanged")
      yield* dispatch(1)
      expect(yield* next).toEqual([[1, Outcome.returned]])
    }))
})

describe("--msg-timeout", () => {
  it.live("is how long a connection may say nothing", () =>
    Effect.gen(function*() {
      const daemon = yield* start(["--port", "0", "--cpus", "1", "--msg-timeout", "200ms"])
      const { port } = yield* readyPort(daemon)
      const since = performance.now()
      yield* Effect.callback<void>((resume) => {
        net.connect(Number(port), "127.0.0.1").on("error", () => {}).on("close", () => resume(Effect.void))
      })
      expect(performance.now() - since).toBeGreaterThan(150)
      // It is 5 s by default.
      expect(performance.now() - since).toBeLessThan(5000)
    }))
})

describe("--init", () => {
  const aModule = Effect.fnUntraced(function*(source: string) {
    const directory = yield* DaemonProcess.aDirectory
    const file = path.join(directory, "init.mjs")
    fs.writeFileSync(file, source)
    return file
  })

  it.live("gives what it returns and leaves to all jobs, texts and numbers to programs too, and closes at the end", () =>
    Effect.gen(function*() {
      const file = yield* aModule(`
        import { writeFileSync } from "node:fs"
        export const init = async () => { globalThis.left = 7; return { table: new Map([["a", 1]]), label: "here" } }
        export const close = () => writeFileSync(new URL("closed", import.meta.url), "yes")`)
      const daemon = yield* start(["--port", "0", "--cpus", "2", "--init", file])
      const { port } = yield* readyPort(daemon)
      const nodes = [`127.0.0.1:${port}`]
      const seen = yield* Effect.promise(async () => {
        await using cluster = await createJobCluster(() => {
          const { label, left, table } = globalThis as unknown as Record<string, unknown>
          return { label, left, table }
        }, { nodes })
        return await cluster.run()
      })
      expect(seen).toEqual({ label: "here", left: 7, table: new Map([["a", 1]]) })
      const printed = yield* Effect.promise(async () => {
        await using cluster = await createJobCluster(Computation.program("printenv"), { nodes })
        const job = cluster.submit("label", "left")
        expect(await job.result()).toBe(0)
        return job.stdout
      })
      expect(printed).toBe("here\n7\n")
      expect(fs.existsSync(path.join(path.dirname(file), "closed"))).toBe(false)
      daemon.child.kill("SIGTERM")
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      expect(fs.readFileSync(path.join(path.dirname(file), "closed"), "utf8")).toBe("yes")
      expect(DaemonProcess.leftovers(daemon)).toEqual([])
    }))

  const failures: ReadonlyArray<readonly [title: string, source: string, status: number, RegExp]> = [
    ["returns 3", "export const init = () => 3", 3, /init returned 3/],
    ["throws", "export const init = () => { throw new RangeError('no disk') }", 1, /RangeError: no disk/],
    ["exits", "export const init = () => process.exit(4)", 1, /ended its process with exit status 4/],
    ["returns what cannot be sent", "export const init = () => ({ f: () => 1 })", 1, /f is a function/],
    ["returns a global", "export const init = () => ({ process: 1 })", 1, /init returns process, which is a global/],
    ["is not there", "export const start = 1", 1, /exports neither init nor close/]
  ]
  for (const [title, source, status, expected] of failures) {
    it.live(`keeps the node from starting when it ${title}, with status ${status}`, () =>
      Effect.gen(function*() {
        const file = yield* aModule(source)
        const { code, stderr, stdout } = yield* run(["--port", "0", "--cpus", "1", "--init", file])
        expect([code, stdout]).toEqual([status, []])
        expect(stderr.join("\n")).toMatch(expected)
      }))
  }

  it.live("that hangs is killed when the node is asked to end, with what it started", () =>
    Effect.gen(function*() {
      const file = yield* aModule(`
        import { spawn } from "node:child_process"
        import { writeFileSync } from "node:fs"
        export const init = () => {
          const child = spawn("sleep", ["1000"])
          writeFileSync(new URL("pids", import.meta.url), process.pid + " " + child.pid)
          for (;;);
        }`)
      const daemon = yield* start(["--port", "0", "--cpus", "1", "--init", file])
      const pids = (yield* awaitFile(path.join(path.dirname(file), "pids"))).split(" ").map(Number)
      daemon.child.kill("SIGTERM")
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      yield* DaemonProcess.allGone(pids)
    }))
})
