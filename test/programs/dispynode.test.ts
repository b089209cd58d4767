/** The program `dispynode` as a process of its own: what it says, how it ends, what it leaves. */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { Outcome } from "../../src/domain/wire/Entries.ts"
import { createJobCluster } from "../../src/promise.ts"
import * as DaemonClient from "../support/DaemonClient.ts"
import * as DaemonProcess from "../support/DaemonProcess.ts"
import * as HostileFrames from "../support/HostileFrames.ts"
import { besideKills } from "../support/Processes.ts"

const { run, start } = DaemonProcess
const { awaitFile, connect, marking, startReady, tcp } = DaemonClient

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([duration, value]) => [Duration.toMillis(duration), value] as const)

describe("starting", () => {
  it.live("prints one line when it is ready, and listens on loopback only", () =>
    Effect.gen(function*() {
      const daemon = yield* start(["--port", "0", "--name", "my node", "--cpus", "1"])
      const ready = yield* daemon.ready
      expect(ready).toMatch(
        /^dispynode 0\.1\.0 "my node" ready on 127\.0\.0\.1:(\d+)( and \[::1\]:\1)?: 1 cpu$/
      )
      daemon.child.kill("SIGTERM")
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      expect(daemon.stdout).toHaveLength(1)
      expect(DaemonProcess.leftovers(daemon)).toEqual([])
    }))

  it.live("tells its options and its version", () =>
    Effect.gen(function*() {
      const help = yield* run(["--help"])
      const text = help.stdout.join("\n")
      expect(help.code).toBe(0)
      for (
        const flag of [
          "cpus",
          "ip-addr",
          "port",
          "name",
          "dest-path-prefix",
          "daemon",
          "drain-grace",
          "config",
          "save-config",
          "clean",
          "serve",
          "service-start",
          "service-stop",
          "service-end",
          "msg-timeout",
          "max-connections",
          "max-strangers",
          "max-failures",
          "force-cleanup",
          "zombie-interval",
          "keep-results",
          "client-shutdown",
          "init",
          "debug",
          "version"
        ]
      ) expect(text).toContain(`--${flag}`)
      for (const hidden of ["embedded", "console"]) expect(text).not.toContain(`--${hidden}`)
      expect(text).toMatch(/^WORK\n[^]*^NETWORK\n[^]*^LIFE\n[^]*^CONFIGURATION\n/m)
      const version = yield* run(["--version"])
      expect([version.code, version.stdout.join()]).toEqual([0, "dispynode v0.1.0"])
    }))

  const cores = os.availableParallelism()
  const badArguments: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
    [["--prot", "1"], /Unrecognized flag: --prot.*--port/],
    [["--port", "x"], /--port.*"x"/],
    [["--port", "70000"], /--port 70000 is not a port/],
    [["--cpus", String(cores + 1)], /more than there are/],
    [["--cpus", String(-cores)], /leaves no core/],
    [["--cpus", "1.5"], /--cpus/],
    [["--ip-addr", "0.0.0.0"], /--insecure/],
    [["--secret-file", "/nowhere/secret"], /--secret-file \/nowhere\/secret cannot be used: there is no such file/],
    [["--certfile", import.meta.filename], /--certfile .*: it has no certificate in PEM form/],
    [["--keyfile", import.meta.filename], /--keyfile cannot be used: it needs certfile as well/],
    [["--drain-grace", "-1"], /--drain-grace "-1" is less than no time/],
    [["--drain-grace", "5x"], /--drain-grace "5x" is not a time span/],
    [["--zombie-interval", "0.5"], /--zombie-interval "0\.5" is too short: at least 1 minute, or 0/],
    [["--zombie-interval", "59s"], /--zombie-interval "59s" is too short/],
    [["--keep-results", "7 weeks"], /--keep-results "7 weeks" is not a time span; write days, or .* 7d/],
    [["--msg-timeout", "0"], /--msg-timeout 0 is too short/],
    [["--max-failures", "0"], /--max-failures 0 is not a number of handshakes; 1 to 1000000/],
    [["--serve", "-2"], /--serve -2 is not a number of computations/],
    [["--service-start", "9:00"], /--service-start needs --service-stop or --service-end/],
    [["--service-stop", "25:00"], /--service-stop "25:00" is not a time of the day/],
    [["--service-start", "9:00", "--service-stop", "18:00", "--service-end", "17:00"], /comes before --service-stop/],
    [["--config", "/nowhere/dispy.json"], /\/nowhere\/dispy.json cannot be read/],
    [["--save-config", "/nowhere/dispy.json"], /--save-config \/nowhere\/dispy.json cannot be written/],
    [["file.js"], /"file\.js"/]
  ]
  for (const [args, expected] of badArguments) {
    it.live(`refuses ${args.join(" ")} with one sentence and status 2`, () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run(args)
        expect([code, stdout, stderr.length]).toEqual([2, [], 1])
        expect(stderr[0]).toMatch(expected)
      }))
  }

  it.live("says that a port is in use and what to do, with status 1", () =>
    Effect.gen(function*() {
      const { address } = yield* startReady()
      const port = String(address._tag === "Tcp" && address.port)
      const { code, stderr, stdout } = yield* run(["--port", port])
      expect([code, stdout, stderr.length]).toEqual([1, [], 1])
      expect(stderr[0]).toContain(`127.0.0.1:${port} is in use, perhaps by another dispynode`)
    }))

  it.live("says that a directory cannot be used, with status 1", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const file = path.join(directory, "file")
      fs.writeFileSync(file, "")
      for (const prefix of [file, "/proc/none"]) {
        const daemon = yield* start([], { prefix })
        expect(yield* daemon.ended).toMatchObject({ code: 1 })
        expect(daemon.stderr).toEqual([expect.stringContaining("--dest-path-prefix")])
      }
    }))

  it.live("refuses a directory that others may write to", () =>
    Effect.gen(function*() {
      const prefix = yield* DaemonProcess.aDirectory
      const home = path.join(prefix, `dispy-${os.userInfo().username}`)
      fs.mkdirSync(home)
      fs.chmodSync(home, 0o777)
      const daemon = yield* start([], { prefix })
      expect(yield* daemon.ended).toMatchObject({ code: 1 })
      expect(daemon.stderr.join()).toContain("others may write to")
    }))

  // Root may use any file, unless it gives up the right to.
  const asOwner = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : []
  const isPossible = spawnSync("sh", ["-c", "exec \"$@\"", "sh", ...asOwner, "true"]).status === 0
  const itAsOwner = it.live.skipIf(!isPossible)
  for (const mask of ["377", "777"]) {
    itAsOwner(`can use its own files with umask ${mask}, and so can its jobs`, () =>
      Effect.gen(function*() {
        const command = ["sh", "-c", `umask ${mask} && exec "$@"`, "sh", ...asOwner]
        const daemon = yield* start(["--port", "0", "--cpus", "1"], { command })
        const ready = yield* daemon.ready
        expect(ready).toContain("ready on")
        const table = path.join(yield* DaemonProcess.aDirectory, "table")
        fs.writeFileSync(table, "1,2")
        yield* Effect.promise(async () => {
          await using cluster = await createJobCluster(async (bytes: Uint8Array) => {
            const { appendFileSync, mkdirSync, readFileSync } = await import("node:fs")
            mkdirSync("made")
            appendFileSync("table", ",3")
            appendFileSync("made/copy", bytes)
            return [readFileSync("table", "utf8"), readFileSync("made/copy")]
          }, { nodes: `127.0.0.1:${DaemonProcess.portOf(ready)}`, depends: [table] })
          const large = new Uint8Array(2_000_000)
          expect(await cluster.run(large)).toEqual(["1,2,3", Buffer.from(large)])
        })
        daemon.child.kill("SIGTERM")
        expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
        expect(DaemonProcess.leftovers(daemon)).toEqual([])
      }))
  }

  it.live("warns when it is open to other machines", () =>
    Effect.gen(function*() {
      const daemon = yield* start(["--port", "0", "--cpus", "1", "--ip-addr", "0.0.0.0", "--insecure"])
      expect(yield* daemon.ready).toContain("0.0.0.0:")
      daemon.child.kill("SIGTERM")
      yield* daemon.ended
      expect(daemon.stderr.join("\n")).toMatch(/warn .*any code.*0\.0\.0\.0/)
    }))

  it.live("with a secret is open to other machines without a warning, and says who was not let in", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const secretFile = path.join(directory, "secret")
      fs.writeFileSync(secretFile, "correct horse battery staple", { mode: 0o600 })
      const options = ["--port", "0", "--cpus", "1", "--secret-file", secretFile]
      const both = yield* run([...options, "--insecure"])
      expect([both.code, both.stderr.join()]).toEqual([
        2,
        expect.stringMatching(/--insecure with a secret makes no sense/)
      ])
      const daemon = yield* start(options)
      const ready = yield* daemon.ready
      expect(ready).toMatch(/ready on (\[::\]|0\.0\.0\.0):\d+/)
      const stranger = net.connect(DaemonProcess.portOf(ready), "127.0.0.1", () => stranger.write("let me in"))
      const [sentence] = yield* Effect.promise(() => once(stranger, "data") as Promise<[Buffer]>)
      expect(sentence.toString()).toContain("this node wants its secret")
      stranger.destroy()
      daemon.child.kill("SIGTERM")
      yield* daemon.ended
      expect(daemon.stderr.join("\n")).toMatch(/warn .*127\.0\.0\.1.*it has neither a secret nor a certificate/)
      expect(daemon.stderr.join("\n")).not.toMatch(/any code/)
    }))

  it.live("needs Node 22.19, and says so before it reads anything newer", () =>
    Effect.gen(function*() {
      const old = "data:text/javascript,Object.defineProperty(process,'versions',{value:{node:'22.18.0'}})"
      const { code, stderr, stdout } = yield* run([], ["--import", old])
      expect([code, stdout]).toEqual([1, []])
      expect(stderr).toEqual([expect.stringContaining("needs Node.js 22.19 or later, and this is 22.18.0")])
    }))

  it.live("removes what a killed daemon left, and nothing of one that runs", () =>
    Effect.gen(function*() {
      const prefix = yield* DaemonProcess.aDirectory
      const first = yield* start(["--port", "0", "--cpus", "1"], { prefix })
      yield* first.ready
      const [own] = DaemonProcess.leftovers(first)
      const stale = [`${first.child.pid}-1`, "999999999-123"]
      for (const name of stale) {
        fs.mkdirSync(path.join(first.root, name))
        fs.writeFileSync(path.join(first.root, name, "file"), "")
      }
      const second = yield* start(["--port", "0", "--cpus", "1"], { prefix })
      yield* second.ready
      const left = DaemonProcess.leftovers(second)
      expect(left).toHaveLength(2)
      expect(left).toContain(own)
      for (const name of stale) expect(left).not.toContain(name)
    }))
})

describe("ending", () => {
  it.live("lets running jobs end, gives back the rest, and leaves nothing", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const [running, go] = [path.join(directory, "running"), path.join(directory, "go")]
      const { address, daemon } = yield* startReady()
      const { dispatch, next } = yield* connect(
        address,
        marking(
          running,
          `const fs = await import("node:fs"); while (!fs.existsSync(${JSON.stringify(go)}))` +
            " await new Promise((resolve) => setTimeout(resolve, 5))"
        )
      )
      yield* dispatch(1)
      const slot = Number(yield* awaitFile(running))
      yield* dispatch(2, 3)
      const processes = DaemonProcess.descendants(daemon.child.pid!)
      expect(processes).toContain(slot)
      daemon.child.kill("SIGTERM")
      expect(yield* next).toBe("Leaving")
      expect(yield* next).toEqual([[2, Outcome.returned], [3, Outcome.returned]])
      fs.writeFileSync(go, "")
      expect(yield* next).toEqual([[1, Outcome.succeeded]])
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      yield* DaemonProcess.allGone(processes)
      expect(DaemonProcess.leftovers(daemon)).toEqual([])
    }))

  it.live("kills what still runs after the grace", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const running = path.join(directory, "running")
      const { address, daemon } = yield* startReady("--drain-grace", "0.3")
      const { dispatch } = yield* connect(address, marking(running, "for (;;);"))
      yield* dispatch(1)
      yield* awaitFile(running)
      const processes = DaemonProcess.descendants(daemon.child.pid!)
      daemon.child.kill("SIGINT")
      const [[millis, ended], noise] = yield* besideKills(timed(daemon.ended))
      expect(ended).toEqual({ code: 0, signal: null })
      expect(millis).toBeGreaterThan(290)
      expect(millis).toBeLessThan(2000 + 20 * noise)
      yield* DaemonProcess.allGone(processes)
      expect(DaemonProcess.leftovers(daemon)).toEqual([])
      expect(daemon.stderr.join("\n")).toMatch(/killing jobs that still run jobs=1/)
    }))

  it.live("kills at once at the second signal", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const running = path.join(directory, "running")
      const { address, daemon } = yield* startReady("--drain-grace", "60")
      const { dispatch, next } = yield* connect(address, marking(running, "for (;;);"))
      yield* dispatch(1)
      yield* awaitFile(running)
      const processes = DaemonProcess.descendants(daemon.child.pid!)
      daemon.child.kill("SIGTERM")
      expect(yield* next).toBe("Leaving")
      daemon.child.kill("SIGTERM")
      const [[millis, ended], noise] = yield* besideKills(timed(daemon.ended))
      expect(ended).toEqual({ code: 0, signal: null })
      expect(millis).toBeLessThan(2000 + 20 * noise)
      yield* DaemonProcess.allGone(processes)
      expect(DaemonProcess.leftovers(daemon)).toEqual([])
    }))

  it.live("outlives its terminal with --daemon, and drains without", () =>
    Effect.gen(function*() {
      const { daemon: attached } = yield* startReady()
      attached.child.kill("SIGHUP")
      expect(yield* attached.ended).toEqual({ code: 0, signal: null })
      const { address, daemon } = yield* startReady("--daemon")
      daemon.child.kill("SIGHUP")
      const { leaseId } = yield* connect(address, "() => 1")
      expect(leaseId).not.toBe("")
    }))

  it.live("leaves no process and no directory even when it is killed", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const running = path.join(directory, "running")
      const { address, daemon } = yield* startReady()
      const { dispatch } = yield* connect(address, marking(running, "for (;;);"))
      yield* dispatch(1)
      yield* awaitFile(running)
      const processes = DaemonProcess.descendants(daemon.child.pid!)
      daemon.child.kill("SIGKILL")
      const [[millis], noise] = yield* besideKills(timed(DaemonProcess.allGone(processes)))
      expect(millis).toBeLessThan(1000 + 20 * noise)
      expect(DaemonProcess.leftovers(daemon)).toEqual([])
    }))
})

describe("embedded in a client", () => {
  const startEmbedded = Effect.gen(function*() {
    const daemon = yield* start(["--embedded", "--cpus", "1"])
    const ready = yield* daemon.ready
    const told: Record<string, unknown> = JSON.parse(typeof ready === "string" ? ready : "{}")
    return { daemon, socket: String(told["socket"]), told }
  })

  it.live("serves a socket only, tells so in JSON, and ends with standard input", () =>
    Effect.gen(function*() {
      const { daemon, socket, told } = yield* startEmbedded
      expect(told).toEqual({
        ready: true,
        version: "0.1.0",
        pid: daemon.child.pid,
        name: os.hostname(),
        cpus: 1,
        socket
      })
      const { dispatch, next } = yield* connect({ _tag: "Unix", path: socket }, "() => 1")
      yield* dispatch(1)
      expect(yield* next).toEqual([[1, Outcome.succeeded]])
      daemon.child.stdin!.end()
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      expect(DaemonProcess.leftovers(daemon)).toEqual([])
      expect(fs.existsSync(socket)).toBe(false)
      expect([daemon.stdout.length, daemon.stderr]).toEqual([1, []])
    }))

  it.live("leaves Ctrl-C to its client", () =>
    Effect.gen(function*() {
      const { daemon, socket } = yield* startEmbedded
      daemon.child.kill("SIGINT")
      daemon.child.kill("SIGINT")
      daemon.child.kill("SIGINT")
      const { dispatch, next } = yield* connect({ _tag: "Unix", path: socket }, "() => 1")
      yield* dispatch(1)
      expect(yield* next).toEqual([[1, Outcome.succeeded]])
    }))
})

describe("under attack", () => {
  // What is held, since what V8 keeps for its nursery depends on how busy the machine is.
  const report = "process.on('SIGUSR2',()=>{gc();gc();const m=process.memoryUsage();" +
    "console.error('held '+(m.heapUsed+m.external))})"
  const nodeArgs = ["--expose-gc", "--import", `data:text/javascript,${report}`]
  const heldMebibytes = (daemon: DaemonProcess.Daemon) =>
    Effect.callback<number>((resume) => {
      const look = (text: Buffer) => {
        const held = /held (\d+)/.exec(text.toString())
        if (held !== null) resume(Effect.succeed(Number(held[1]) / 1024 ** 2))
      }
      daemon.child.stderr?.on("data", look)
      daemon.child.kill("SIGUSR2")
      return Effect.sync(() => daemon.child.stderr?.off("data", look))
    })

  it.live(
    "keeps serving its client, in the same memory, while thousands send it nonsense",
    () =>
      Effect.gen(function*() {
        const daemon = yield* start(["--port", "0", "--cpus", "1"], { nodeArgs })
        const address = tcp(yield* daemon.ready)
        const { dispatch, next } = yield* connect(address, "() => 1")
        const valid = yield* HostileFrames.validFrames
        const random = HostileFrames.makeRandom(7)
        const port = address._tag === "Tcp" ? address.port : 0
        // Messages that are only cut off wait for the deadline, so this end hangs up on them.
        const attack = (count: number) =>
          Effect.promise(() =>
            HostileFrames.inParallel(
              count,
              100,
              (n) => HostileFrames.sendAndHangUp(port, HostileFrames.hostileBytes(valid, random, n))
            )
          )
        yield* attack(5000)
        const before = yield* heldMebibytes(daemon)
        yield* attack(5000)
        const after = yield* heldMebibytes(daemon)
        yield* dispatch(1)
        expect(yield* next).toEqual([[1, Outcome.succeeded]])
        expect(after - before).toBeLessThan(4)
        expect(daemon.stderr.filter((line) => line.includes("does not follow the protocol"))).toHaveLength(1)
      }),
    240_000
  )
})
