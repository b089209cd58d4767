/**
 * The console of a daemon: reads commands from the terminal that it was started
 * on. Lines are the terminal's own (no raw mode), and nothing is read while the
 * daemon is in the background: the kernel would stop it for that.
 */
import { Console, DateTime, Deferred, Effect, Queue, Result } from "effect"
import * as fs from "node:fs"
import { createInterface } from "node:readline"
import * as ConsoleCommand from "../../domain/node/ConsoleCommand.ts"
import * as CpuCount from "../../domain/node/CpuCount.ts"
import * as ServiceHours from "../../domain/node/ServiceHours.ts"
import { NodeOwner } from "../../services/NodeOwner.ts"
import type { NodeOptions } from "./NodeOptions.ts"
import type { NodeSignals } from "./NodeSignals.ts"
import * as NodeStatusText from "./NodeStatusText.ts"

/** How often the terminal is looked at. */
const lookMillis = 200

/** Whether this process may read its terminal. (Where the kernel does not tell, it is taken to be in front.) */
const isInFront = (): boolean => {
  const stat = Result.getOrElse(Result.try(() => fs.readFileSync("/proc/self/stat", "latin1")), () => "")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  // Process group, and the one that the terminal listens to.
  return fields[2] === fields[5] || fields[5] === undefined
}

/** Whether there is anybody to talk to. */
export const isWanted = (options: NodeOptions): boolean =>
  options.console || (!options.daemon && !options.embedded && process.stdin.isTTY)

/** A line, or the end of standard input. */
type Input = string | { readonly _tag: "End" }

/** Lines from a pipe. */
const fromPipe = Effect.fnUntraced(function*(queue: Queue.Queue<Input>) {
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const reader = createInterface({ input: process.stdin, terminal: false })
      reader.on("line", (line) => Queue.offerUnsafe(queue, line))
      reader.on("close", () => Queue.offerUnsafe(queue, { _tag: "End" }))
      return reader
    }),
    (reader) =>
      Effect.sync(() => {
        reader.close()
        process.stdin.destroy()
      })
  )
})

const chunk = new Uint8Array(4096)

/** What was typed since the last look; empty for nothing, undefined when there will be nothing any more. */
const typedSince = (terminal: number): string | undefined => {
  const read = Result.try({
    try: () => fs.readSync(terminal, chunk),
    catch: (error) => (error as NodeJS.ErrnoException).code
  })
  if (Result.isSuccess(read)) {
    return read.success === 0
      ? undefined
      : Buffer.from(chunk.subarray(0, read.success)).toString()
  }
  return read.failure === "EAGAIN" ? "" : undefined
}

/**
 * Lines from the terminal, which is looked at now and then instead of awaited: right before each read it is certain
 * that this process is in front. With a read that waits, what is typed for another program would stop this one.
 */
const fromTerminal = Effect.fnUntraced(function*(queue: Queue.Queue<Input>) {
  const opened = yield* Effect.acquireRelease(
    // Opened anew: the shell's own descriptor must go on to block. Without a controlling terminal it cannot be.
    Effect.sync(() => Result.try(() => fs.openSync("/dev/tty", fs.constants.O_RDONLY | fs.constants.O_NONBLOCK))),
    (descriptor) => Effect.sync(() => Result.map(descriptor, (one) => fs.closeSync(one)))
  )
  if (Result.isFailure(opened)) return yield* Queue.offer(queue, { _tag: "End" })
  const terminal = opened.success
  let rest = ""
  const look = Effect.suspend(() => {
    const typed = isInFront() ? typedSince(terminal) : ""
    if (typed === undefined) return Effect.as(Queue.offer(queue, { _tag: "End" }), false)
    const lines = (rest + typed).split("\n")
    rest = lines.pop() ?? ""
    return Effect.as(Queue.offerAll(queue, lines), true)
  })
  yield* look.pipe(
    Effect.delay(lookMillis),
    Effect.repeat({ while: (goesOn) => goesOn }),
    Effect.forkScoped
  )
})

/** What a console acts on. */
export interface Environment {
  readonly options: NodeOptions
  readonly signals: NodeSignals
  readonly cores: number
  readonly hours: ServiceHours.ServiceHours | undefined
}

const perform = Effect.fnUntraced(
  function*(command: ConsoleCommand.ConsoleCommand, { cores, hours, signals }: Environment) {
    const control = yield* NodeOwner
    switch (command._tag) {
      case "Help":
        return ConsoleCommand.help()
      case "Status": {
        const now = DateTime.toEpochMillis(yield* DateTime.now)
        return NodeStatusText.format(
          yield* control.report,
          hours === undefined ? "" : ServiceHours.describe(hours),
          now
        )
      }
      case "Cpus": {
        const cpus = CpuCount.resolve(command.cpus, cores)
        if (Result.isFailure(cpus)) return `cpus ${cpus.failure}`
        yield* control.setCpus(cpus.success)
        const { closedBecause } = yield* control.report
        const later = closedBecause === "" ? "" : `, when it starts jobs again (now it is ${closedBecause})`
        return `offering ${cpus.success} of ${cores} cpus${later}`
      }
      case "Stop":
        yield* control.stop
        return "starting no more jobs; running ones go on"
      case "Start":
        yield* control.start
        return "starting jobs again"
      case "Release": {
        const names = yield* control.release
        return names.length === 0 ? "no client's connection is broken" : `released from ${names.join(", ")}`
      }
      case "Exit": {
        yield* control.refuseClients("its owner wants it to end")
        yield* control.untilFree.pipe(
          Effect.andThen(Deferred.succeed(signals.end, "exit")),
          Effect.forkScoped
        )
        const { clients } = yield* control.report
        return clients.length === 0 ? "ending" : `ending when ${clients.map(({ name }) => name).join(", ")} has gone`
      }
      case "Quit":
        yield* Deferred.succeed(signals.end, "quit")
        return "ending"
    }
  }
)

/** Reads commands until standard input ends; what ends the daemon ends in `signals`. */
export const run = Effect.fnUntraced(function*(environment: Environment) {
  const queue = yield* Queue.unbounded<Input>()
  yield* environment.options.console ? fromPipe(queue) : fromTerminal(queue)
  while (true) {
    const line = yield* Queue.take(queue)
    if (typeof line !== "string") return yield* Effect.logDebug("no more commands: standard input has ended")
    const parsed = ConsoleCommand.parse(line)
    yield* Console.log(Result.isSuccess(parsed) ? yield* perform(parsed.success, environment) : parsed.failure)
  }
})
