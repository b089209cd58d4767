/** The console of `dispynode`: each command while a job runs, and when there is no console. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Queue } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { Outcome } from "../../src/domain/wire/Entries.ts"
import * as Built from "../support/Built.ts"
import * as DaemonClient from "../support/DaemonClient.ts"
import * as DaemonProcess from "../support/DaemonProcess.ts"

const { awaitFile, connect, marking, tcp } = DaemonClient

/** A daemon with a console on a pipe, and a job that runs until the file `go` is there. */
const aBusyConsole = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const directory = yield* DaemonProcess.aDirectory
  const [running, go] = [path.join(directory, "running"), path.join(directory, "go")]
  const daemon = yield* DaemonProcess.start(["--port", "0", "--cpus", "1", "--console", ...args])
  const lines = yield* Queue.unbounded<string>()
  const address = tcp(yield* daemon.ready)
  createInterface(daemon.child.stdout!).on("line", (line) => Queue.offerUnsafe(lines, line))
  const client = yield* connect(
    address,
    marking(
      running,
      `const fs = await import("node:fs"); while (!fs.existsSync(${JSON.stringify(go)}))` +
        " await new Promise((resolve) => setTimeout(resolve, 5))"
    )
  )
  yield* client.dispatch(1)
  const slot = Number(yield* awaitFile(running))
  const type = (line: string) => Effect.as(Effect.sync(() => daemon.child.stdin!.write(`${line}\n`)), undefined)
  /** Types a command and gives as many lines of its answer. */
  const ask = (line: string, answers = 1) =>
    Effect.andThen(
      type(line),
      Effect.map(Effect.all(Array.from({ length: answers }, () => Queue.take(lines))), (all) => all.join("\n"))
    )
  return { daemon, ask, slot, address, go: Effect.sync(() => fs.writeFileSync(go, "")), ...client }
})

describe("the console", () => {
  it.live("tells how the node is doing, of its commands, and what a wrong one may have meant", () =>
    Effect.gen(function*() {
      const { ask, dispatch, go, next } = yield* aBusyConsole()
      yield* dispatch(2)
      for (const line of ["status", "", "  STATUS "]) {
        expect(yield* ask(line, 4)).toMatch(
          /^Serving 1 cpu, up .*\nDone: 0 jobs of 1 computation, 0\.0 s cpu time\nClient test\n {2}compute-c \(test\): 1 running, 1 waiting$/
        )
      }
      expect(yield* ask("help", 8)).toMatch(/cpus N[^]*quit/)
      expect(yield* ask("sttaus")).toBe("there is no command \"sttaus\"; did you mean status?")
      expect(yield* ask("cpus many")).toContain("cpus needs one whole number")
      expect(yield* ask("cpus 1000")).toContain("more than there are")
      expect(yield* ask("release")).toBe("no client's connection is broken")
      yield* go
      yield* next
      yield* next
      expect(yield* ask("status", 4)).toMatch(/Done: 2 jobs of 1 computation/)
    }))

  it.live("stops and starts the node while a job runs", () =>
    Effect.gen(function*() {
      const { ask, dispatch, go, next } = yield* aBusyConsole()
      yield* dispatch(2)
      expect(yield* ask("stop")).toContain("no more jobs")
      expect(yield* next).toBe("CpusChanged")
      expect(yield* next).toEqual([[2, Outcome.returned]])
      yield* dispatch(3)
      expect(yield* next).toEqual([[3, Outcome.returned]])
      expect(yield* ask("status", 4)).toMatch(
        /^Starting no jobs \(stopped by its owner\), else 1 cpu[^]*1 running, 0 waiting$/
      )
      yield* go
      expect(yield* next).toEqual([[1, Outcome.succeeded]])
      expect(yield* ask("start")).toBe("starting jobs again")
      expect(yield* next).toBe("CpusChanged")
      yield* dispatch(4)
      expect(yield* next).toEqual([[4, Outcome.succeeded]])
    }))

  it.live("changes the number of cpus, which clients are told", () =>
    Effect.gen(function*() {
      const cores = os.availableParallelism()
      const { ask, next } = yield* aBusyConsole()
      expect(yield* ask("cpus 0")).toBe(`offering ${cores} of ${cores} cpus`)
      if (cores > 1) expect(yield* next).toBe("CpusChanged")
    }))

  it.live("with exit takes no new client and ends when the last one has gone", () =>
    Effect.gen(function*() {
      const { ask, connection, daemon, go, leaseId, next } = yield* aBusyConsole()
      expect(yield* ask("exit")).toBe("ending when test has gone")
      expect(yield* ask("status", 5)).toMatch(/Taking no new clients: its owner wants it to end/)
      yield* go
      expect(yield* next).toEqual([[1, Outcome.succeeded]])
      yield* connection.release(leaseId)
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      expect(DaemonProcess.leftovers(daemon)).toEqual([])
    }))

  it.live("with quit ends after the drain grace", () =>
    Effect.gen(function*() {
      const { ask, daemon, next, slot } = yield* aBusyConsole("--drain-grace", "100ms")
      expect(yield* ask("quit")).toBe("ending")
      expect(yield* next).toBe("Leaving")
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      yield* DaemonProcess.allGone([slot])
    }))

  it.live("is not missed when standard input ends: the node goes on", () =>
    Effect.gen(function*() {
      const { daemon, dispatch, go, next } = yield* aBusyConsole()
      daemon.child.stdin!.end()
      yield* go
      expect(yield* next).toEqual([[1, Outcome.succeeded]])
      yield* dispatch(2)
      expect(yield* next).toEqual([[2, Outcome.succeeded]])
    }))
})

describe("on a terminal", () => {
  const program = Built.program("dispynode")

  /** Runs a line of shell on a terminal of its own; gives what is on its screen, bit by bit. */
  const onTerminal = Effect.fnUntraced(function*(line: string) {
    const prefix = yield* DaemonProcess.aDirectory
    const command = `${process.execPath} ${program} --port 0 --cpus 1 --dest-path-prefix ${prefix}`
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn("script", ["-qec", line.replace("dispynode", command), "/dev/null"], {
          stdio: ["pipe", "pipe", "ignore"]
        })
      ),
      (spawned) => Effect.sync(() => spawned.kill("SIGKILL"))
    )
    let screen = ""
    const watchers = new Set<() => void>()
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      screen += text
      for (const watcher of watchers) watcher()
    })
    const shows = (pattern: RegExp) =>
      Effect.callback<string>((resume) => {
        const look = () => {
          const found = pattern.exec(screen)
          if (found !== null) resume(Effect.succeed(found[1] ?? found[0]))
        }
        watchers.add(look)
        look()
        return Effect.sync(() => watchers.delete(look))
      })
    const ended = Effect.callback<number | null>((resume) => {
      if (child.exitCode !== null) return resume(Effect.succeed(child.exitCode))
      child.on("exit", (code) => resume(Effect.succeed(code)))
    })
    return {
      command,
      type: (text: string) => Effect.sync(() => child.stdin.write(text)),
      shows,
      ended,
      screen: () => screen
    }
  })

  it.live("reads commands, and none with --daemon", () =>
    Effect.gen(function*() {
      const { ended, shows, type } = yield* onTerminal("exec dispynode")
      yield* shows(/ready on/)
      yield* type("status\n")
      yield* shows(/Serving 1 cpu/)
      yield* type("quit\n")
      expect(yield* ended).toBe(0)
      const daemon = yield* onTerminal("exec dispynode --daemon")
      yield* daemon.shows(/ready on/)
      yield* daemon.type("status\n\u0003")
      expect(yield* daemon.ended).toBe(0)
      expect(daemon.screen()).not.toContain("Serving")
    }))

  it.live("goes on in the background when it was stopped and sent there, and reads commands again in front", () =>
    Effect.gen(function*() {
      const { command, ended, shows, type } = yield* onTerminal("bash --norc -i")
      yield* type(`${command}\n`)
      yield* shows(/ready on/)
      yield* type("\u001a")
      yield* shows(/Stopped/)
      yield* type("bg\n")
      yield* type("echo front $((6 * 7))\n")
      yield* shows(/front 42/)
      yield* type("jobs\n")
      yield* shows(/Running/)
      yield* type("fg\n")
      yield* shows(/fg\r?\n[^]*dispynode\.js/)
      yield* type("status\n")
      yield* shows(/Serving 1 cpu/)
      yield* type("quit\n")
      yield* type("exit\n")
      expect(yield* ended).toBe(0)
    }))

  it.live("reads nothing in the background, where that would stop it", () =>
    Effect.gen(function*() {
      const { ended, screen, shows, type } = yield* onTerminal(
        "bash -c 'set -m; dispynode & echo pid $!; read word; echo got $word; read word; kill -s TERM $!; wait $!; echo status $?'"
      )
      const pid = yield* shows(/pid (\d+)/)
      yield* shows(/ready on/)
      yield* type("one\n")
      yield* shows(/got one/)
      expect(fs.readFileSync(`/proc/${pid}/stat`, "latin1")).toMatch(/\) [SR] /)
      yield* type("two\n")
      yield* shows(/status 0/)
      expect(yield* ended).toBe(0)
      expect(screen()).not.toContain("there is no command")
    }))
})
