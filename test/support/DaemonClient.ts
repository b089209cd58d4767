/** A client of a real daemon, in the words of a test. */
import { Effect, Queue, type Scope, Stream } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { NodeAddress } from "../../src/domain/NodeAddress.ts"
import type { NodeEvent } from "../../src/domain/NodeRpcs.ts"
import * as NodeLinkSocket from "../../src/layers/link/NodeLinkSocket.ts"
import { NodeLink } from "../../src/services/NodeLink.ts"
import * as Values from "../../src/slot/Values.ts"
import * as DaemonProcess from "./DaemonProcess.ts"
import { aComputation, outcomesOf, someJobs } from "./NodeClients.ts"

/** A client that holds the daemon and opened a computation on it. */
export const connect = Effect.fnUntraced(function*(address: NodeAddress, source: string) {
  const link = yield* NodeLink
  const connection = yield* link.connect(address)
  const { leaseId } = yield* connection.acquire({ clientId: `test-${process.pid}`, clientName: "test" }, "session")
  const events = yield* Queue.unbounded<NodeEvent>()
  yield* Effect.forkScoped(Stream.runForEach(connection.events(leaseId, 0), (event) => Queue.offer(events, event)))
  yield* connection.openComputation(leaseId, {
    ...aComputation("c"),
    code: { _tag: "FunctionCode", source, captures: Values.encode({}) }
  })
  const dispatch = (...jobIds: Array<number>) => connection.dispatch(leaseId, "c", someJobs(...jobIds), 0)
  const next = Queue.take(events).pipe(
    Effect.repeat({ while: (event) => event._tag === "Pulse" }),
    Effect.map((event) => event._tag === "Replies" ? outcomesOf(event.batch) : event._tag)
  )
  return { connection, leaseId, dispatch, next }
}, Effect.provide(NodeLinkSocket.layer))

/** Where a daemon that is ready listens. */
export const tcp = (ready: string | DaemonProcess.Ended): NodeAddress => ({
  _tag: "Tcp",
  host: "127.0.0.1",
  port: DaemonProcess.portOf(ready)
})

/** Starts a daemon with one cpu on a free port. */
export const startReady = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const daemon = yield* DaemonProcess.start(["--port", "0", "--cpus", "1", ...args])
  return { daemon, address: tcp(yield* daemon.ready) }
})

/** What a job prints nothing of, but a test waits for: that it runs. */
export const marking = (file: string, rest: string): string =>
  `async () => { (await import("node:fs")).writeFileSync(${JSON.stringify(file)}, String(process.pid)); ${rest} }`

/** Succeeds with the text of a file when it is there. */
export const awaitFile = (file: string): Effect.Effect<string, never, Scope.Scope> =>
  Effect.callback<string>((resume) => {
    const look = () => {
      const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : ""
      if (text !== "") resume(Effect.succeed(text))
    }
    const watcher = fs.watch(path.dirname(file), look)
    look()
    return Effect.sync(() => watcher.close())
  })
