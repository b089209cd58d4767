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
import { NodeControl } from "../../services/NodeControl.ts"
import type { NodeOptions } from "./NodeOptions.ts"
import type { NodeSignals } from "./NodeSignals.ts"
import * as NodeStatusText from "./NodeStatusText.ts"

/** How often a daemon in the background looks whether it was brought to the front. */
const lookMillis = 1000

/** Whether this process may read its terminal. (Where the kernel does not tell, it is taken to be in front.) */
const isInFront = (): boolean => {
  const stat = Result.getOrElse(Result.try(() => fs.readFileSync("/proc/self/stat", "latin1")), () => "")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  // Process group, and the one that the terminal listens to.
  return fields[2] === fields[5] || fields[5] === undefined
}

/** Whether there is anybody to talk to. */
export const isWanted = (options: NodeOptions): boolean =>
  options.console || (process.stdin.isTTY && !options.daemon && !options.embedded)

type End = { readonly _tag: "End" }

/** Lines from standard input while the scope is open; `isForced` says that it is no terminal. */
const lines = Effect.fnUntraced(function*(isForced: boolean) {
  const queue = yield* Queue.unbounded<string | End>()
  let isReading = false
  const reader = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const made = createInterface({ input: process.stdin, terminal: false })
      made.on("line", (line) => Queue.offerUnsafe(queue, line))
      made.on("close", () => Queue.offerUnsafe(queue, { _tag: "End" }))
      made.pause()
      return made
    }),
    (made) =>
      Effect.sync(() => {
        made.close()
        process.stdin.destroy()
      })
  )
  const look = (): void => {
    const mayRead = isForced || isInFront()
    if (mayRead === isReading) return
    isReading = mayRead
    if (mayRead) reader.resume()
    else reader.pause()
  }
  yield* Effect.acquireRelease(
    // The shell continues a stopped process before it goes on in the background.
    Effect.sync(() => {
      process.on("SIGCONT", look)
    }),
    () =>
      Effect.sync(() => {
        process.off("SIGCONT", look)
      })
  )
  look()
  yield* Effect.sync(look).pipe(Effect.delay(lookMillis), Effect.forever, Effect.forkScoped)
  return queue
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
    const control = yield* NodeControl
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
  const queue = yield* lines(environment.options.console)
  while (true) {
    const line = yield* Queue.take(queue)
    if (typeof line !== "string") return yield* Effect.logDebug("no more commands: standard input has ended")
    const parsed = ConsoleCommand.parse(line)
    yield* Console.log(Result.isSuccess(parsed) ? yield* perform(parsed.success, environment) : parsed.failure)
  }
})
